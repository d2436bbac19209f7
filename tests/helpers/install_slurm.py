"""Install the programs of SLURM from Debian's packages, without starting or configuring one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from private_slurm import PACKAGES, missing_programs

# Debian asks this program whether the daemons of a new package may start.
POLICY = Path("/usr/sbin/policy-rc.d")


def main() -> None:
    missing = missing_programs()
    if not missing:
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        sys.exit(
            f"The tests on a cluster need {', '.join(missing)}; have them installed, on Debian or "
            f"Ubuntu with: sudo apt-get install --no-install-recommends {' '.join(PACKAGES)}"
        )
    print("Installing", *PACKAGES, flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ("apt-get", "--quiet=2", "--option=Dpkg::Use-Pty=0")
    with no_daemons():
        subprocess.run([*apt, "update"], env=environment, check=True)
        command = [*apt, "install", "--yes", "--no-install-recommends", *PACKAGES]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    if missing := missing_programs():
        sys.exit(f"{', '.join(missing)} are still missing after the installation of SLURM.")


@contextmanager
def no_daemons() -> Iterator[None]:
    """No daemon starts meanwhile; a policy that is there stays."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"SLURM could not be installed: {' '.join(error.cmd)} failed.")
