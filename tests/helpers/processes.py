"""Processes that belong to a scratch folder: they name it in their command or environment.

As a program, `processes.py FOLDER` waits until its standard input closes, which the death of the
process that started it does too, then ends all processes of the folder and removes it.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    pid: int
    parent: int
    command: str
    environment: dict[str, str]

    def names(self, folder: Path) -> bool:
        return any(str(folder) in text for text in (self.command, *self.environment.values()))


def list_processes() -> list[Process]:
    """All processes that may be looked at, but this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        pid = int(path.name)
        if pid == os.getpid():
            continue
        try:
            words = (path / "environ").read_bytes().decode(errors="replace").split("\0")
            command = (path / "cmdline").read_bytes().decode(errors="replace")
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # ended meanwhile, or another user's
        environment = dict(word.split("=", 1) for word in words if "=" in word)
        found.append(Process(pid, parent, command, environment))
    return found


def end_processes(belongs: Callable[[Process], bool], timeout_s: float = 20) -> None:
    """Kill processes until none is left: one may start another meanwhile."""
    deadline = time.monotonic() + timeout_s
    while found := [process.pid for process in list_processes() if belongs(process)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {found} do not end")
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)


def main(folder: Path) -> None:
    sys.stdin.buffer.read()
    end_processes(lambda process: process.names(folder))
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
