"""What can go wrong inside a job, at a place and time that a test knows.

A job whose environment names its rule in FAULT_RULE meets the fault FAULT; FAULT_FOLDER holds the
files by which job and test tell each other how far they are.
"""

import mmap
import os
import resource
import time
from pathlib import Path

MEMORY_MB = 5000
PAGES_MB = 64
DISK_BYTES = 8000
WAIT_S = 300.0


def strike(rule: str) -> None:
    """Let the fault happen, if this is its job."""
    if rule == os.environ.get("FAULT_RULE"):
        folder = Path(os.environ["FAULT_FOLDER"])
        FAULTS[os.environ["FAULT"]](folder)


def is_first(folder: Path) -> bool:
    """Whether no job met this fault before."""
    try:
        (folder / "struck").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def hang(folder: Path) -> None:
    """The first job stops between two of its products, the second written and not yet renamed."""
    if not is_first(folder):
        return
    rename, done = os.replace, []

    def wait_and_rename(source: str, destination: str) -> None:
        if "results/" in str(destination):
            done.append(destination)
            if len(done) == 2:
                wait_for_release(folder)
        rename(source, destination)

    os.replace = wait_and_rename


def wait_for_release(folder: Path) -> None:
    (folder / "reached").touch()
    deadline = time.monotonic() + WAIT_S
    while not (folder / "release").exists() and time.monotonic() < deadline:
        time.sleep(0.2)


def need_memory(folder: Path) -> None:
    """Every job holds 5 GB for some seconds; the same few pages many times over, to be quick."""
    file = os.memfd_create("pages")
    os.truncate(file, PAGES_MB << 20)
    flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
    maps = [mmap.mmap(file, 0, flags=flags) for _ in range(MEMORY_MB // PAGES_MB)]
    time.sleep(8)
    for pages in maps:
        pages.close()


def fill_disk(folder: Path) -> None:
    """No file of the first job can grow beyond a few kB."""
    if is_first(folder):
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, most))


FAULTS = {"hang": hang, "need_memory": need_memory, "fill_disk": fill_disk}
