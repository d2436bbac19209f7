"""A SLURM of its own on this machine: two htc nodes, two gpu nodes with invented V100s, licences.

Nothing of a SLURM that may already run here is touched: key, sockets, ports, configuration, state
and data base live in one scratch folder, and everything listens on the loopback interface only.
What was started ends with the `with` block, and also when the process that holds it is killed.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from processes import Process, end_processes
from slurm_files import COMMANDS, NODES, USER, ports_needed, write_files

# What must be installed, and Debian's packages that hold it.
PROGRAMS = (
    "munged",
    "mariadbd",
    "mariadb-install-db",
    "my_print_defaults",
    "slurmdbd",
    "slurmctld",
    "slurmd",
    *COMMANDS,
)
PACKAGES = (
    "munge",
    "mariadb-server-core",
    "mariadb-client-core",
    "slurmdbd",
    "slurmctld",
    "slurmd",
    "slurm-client",
)
# Where Debian keeps daemons, on no ordinary user's PATH.
SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
ACCOUNT = "ztf"
N_V100 = 4


def missing_programs() -> list[str]:
    """Programs of SLURM that are not installed."""
    return [name for name in PROGRAMS if not shutil.which(name, path=SEARCH)]


class CommandError(Exception):
    """A command failed."""


def why_not() -> str:
    """Why no SLURM can be started here, in a sentence; "" if it can."""
    if missing := missing_programs():
        return f"SLURM is not installed ({', '.join(missing)}): make test-cluster does that"
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        return f"this machine's name, {name}, has no address: add it to /etc/hosts"
    if not address.startswith("127."):
        return f"SLURM would listen on {address}: let the name {name} mean 127.0.1.1 in /etc/hosts"
    return ""


@dataclass
class PrivateSlurm:
    """A running SLURM. `environment` is that of a login node: its commands come first on PATH."""

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen] = field(default_factory=dict)

    def call(self, *command: str) -> str:
        """Output of a command, mostly one of SLURM's. Raises CommandError with what it said."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode:
            raise CommandError(f"{' '.join(command)}: {done.stderr or done.stdout}")
        return done.stdout

    def start(self, name: str, *command: str) -> None:
        """Start a daemon; it stays in the foreground and writes <folder>/<name>.out."""
        program = shutil.which(command[0], path=SEARCH)
        with open(self.folder / f"{name}.out", "ab") as out:
            self.daemons[name] = subprocess.Popen(
                [program, *command[1:]],
                env=self.environment
                | {
                    "SLURM_CONF": str(self.folder / "slurm.conf"),
                    "MYSQL_UNIX_PORT": str(self.folder / "mariadb.socket"),
                    "DAEMON": name,
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def start_head(self) -> None:
        """Start the accounting and the controller."""
        self.start("slurmdbd", "slurmdbd", "-D")
        self.wait_for("slurmdbd", lambda: "" in self.call("sacctmgr", "list", "cluster"))
        self.start("slurmctld", "slurmctld", "-D")
        self.wait_for("slurmctld", lambda: "UP" in self.call("scontrol", "ping"))

    def start_nodes(self) -> None:
        for node in NODES:
            self.start(node, "slurmd", "-D", "-N", node)
        self.wait_for("slurmd", lambda: self.node_states() == ["idle"] * len(NODES))

    def node_states(self) -> list[str]:
        return self.call("sinfo", "--noheader", "--Node", "--format=%T").split()

    def kill_head(self) -> None:
        self._kill("slurmctld")
        self._kill("slurmdbd")

    def kill_node(self, node: str) -> None:
        """The machine of a node loses its power: daemons and jobs are gone and say no word."""
        self._kill(node)
        end_processes(lambda process: self._has(process, "SLURMD_NODENAME", node))

    def _kill(self, name: str) -> None:
        """Kill a daemon and the daemons that it started."""
        daemon = self.daemons.pop(name)
        daemon.kill()
        daemon.wait()
        end_processes(lambda process: self._has(process, "DAEMON", name))

    def _has(self, process: Process, variable: str, value: str) -> bool:
        """Whether it is one of ours with that in its environment."""
        return process.names(self.folder) and process.environment.get(variable) == value

    def wait_for(self, what: str, condition: Callable[[], bool], timeout_s: float = 30) -> None:
        """Wait until a condition holds; a command that fails means not yet."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if condition():
                    return
                said = ""
            except (CommandError, subprocess.TimeoutExpired) as error:
                said = str(error)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} in {timeout_s} s: {said}\n{self.logs()}")
            time.sleep(0.1)

    def logs(self) -> str:
        """The last lines of every daemon."""
        files = sorted(self.folder.glob("*.out"))
        return "\n".join(f"{file.name}: {file.read_text()[-500:]}" for file in files)


@contextmanager
def private_slurm() -> Iterator[PrivateSlurm]:
    """Start a SLURM; everything ends with the block."""
    # Unix sockets have short names.
    folder = Path(tempfile.mkdtemp(prefix="ztfpsf-slurm-", dir="/tmp"))
    guard = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("processes.py"), folder],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    slurm = PrivateSlurm(folder, login_environment(folder))
    try:
        write_files(folder, free_ports(ports_needed()), N_V100)
        start_services(slurm)
        slurm.start_head()
        add_account(slurm)
        slurm.start_nodes()
        yield slurm
    finally:
        guard.stdin.close()
        guard.wait()
        for daemon in slurm.daemons.values():
            daemon.wait()


def login_environment(folder: Path) -> dict[str, str]:
    """Our environment without what belongs to another SLURM or a profile of the user."""
    others = ("SLURM_", "SBATCH_", "SRUN_", "SNAKEMAKE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return kept | {"PATH": f"{folder}/bin{os.pathsep}{kept['PATH']}"}


def start_services(slurm: PrivateSlurm) -> None:
    """Authentication and data base."""
    folder = slurm.folder
    slurm.start(
        "munged",
        "munged",
        "--foreground",
        "--force",
        f"--socket={folder}/munge.socket",
        f"--key-file={folder}/munge.key",
        f"--pid-file={folder}/munge.pid",
        f"--log-file={folder}/munge.log",
        f"--seed-file={folder}/munge.seed",
    )
    database = ("--no-defaults", f"--user={USER}", f"--datadir={folder}/mariadb")
    slurm.call("mariadb-install-db", *database, "--skip-test-db", "--skip-name-resolve")
    slurm.start(
        "mariadbd",
        "mariadbd",
        *database,
        f"--socket={folder}/mariadb.socket",
        f"--pid-file={folder}/mariadb.pid",
        # Nobody else reaches the socket.
        "--skip-networking",
        "--skip-grant-tables",
        "--innodb-log-file-size=8M",
        "--innodb-buffer-pool-size=32M",
        "--innodb-flush-log-at-trx-commit=0",
    )
    slurm.wait_for("munged", (folder / "munge.socket").exists)
    slurm.wait_for("mariadbd", (folder / "mariadb.socket").exists)


def add_account(slurm: PrivateSlurm) -> None:
    """The one account, and us as its user."""
    sacctmgr = ("sacctmgr", "--immediate", "--quiet", "add")
    slurm.call(*sacctmgr, "account", ACCOUNT)
    slurm.call(*sacctmgr, "user", USER, f"account={ACCOUNT}")


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """A port for each name that nobody listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return dict(zip(names, ports, strict=True))
