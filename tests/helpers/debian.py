"""Packages of Debian that some tests need, installed without starting a service."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# Debian asks this program whether the daemons of a new package may start.
POLICY = Path("/usr/sbin/policy-rc.d")
# Forbids it while the installing process lives; after one that was killed, it removes itself.
RULES = """#!/bin/sh
# Of the tests of ztfpsf.
kill -0 {pid} 2>/dev/null && exit 101
rm -f "$0"
"""


def install(packages: Sequence[str], name: str, purpose: str) -> None:
    """Install packages, or end the process with the sentence that says how.

    `name`: of the program; `purpose`: what needs it, the beginning of a sentence.
    """
    if not shutil.which("apt-get") or os.geteuid() != 0:
        sys.exit(
            f"{purpose} needs {name}; have it installed, on Debian or Ubuntu with: "
            f"sudo apt-get install --no-install-recommends {' '.join(packages)}"
        )
    print("Installing", *packages, flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ("apt-get", "--quiet=2", "--option=Dpkg::Use-Pty=0")
    command = [*apt, "install", "--yes", "--no-install-recommends", *packages]
    try:
        with no_daemons():
            subprocess.run([*apt, "update"], env=environment, check=True)
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{name} could not be installed: {' '.join(error.cmd)} failed.")


@contextmanager
def no_daemons() -> Iterator[None]:
    """No daemon starts meanwhile; a policy of somebody else stays."""
    if POLICY.exists() and not POLICY.read_text().startswith(RULES.partition("kill")[0]):
        yield
        return
    POLICY.write_text(RULES.format(pid=os.getpid()))
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
