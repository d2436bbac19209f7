"""What a writer that was killed leaves beside its product."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from ztfpsf.io import write_text

HOST = platform.node().replace(".", "-")


@pytest.fixture
def dead_pid() -> int:
    """Of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_orphans_of_a_product_go_with_the_next_writing(tmp_path: Path, dead_pid: int) -> None:
    """Not those of writers that may be alive, nor of other products."""
    gone = [f".a.txt.{HOST}.{dead_pid}.x1.part", ".a.txt.elsewhere.1.x2.part"]
    kept = [
        f".a.txt.{HOST}.{os.getpid()}.x3.part",
        ".a.txt.elsewhere.2.x4.part",
        f".b.txt.{HOST}.{dead_pid}.x5.part",
    ]
    for name in (*gone, *kept):
        (tmp_path / name).touch()
    os.utime(tmp_path / gone[1], (1.0, 1.0))
    write_text("done", tmp_path / "a.txt")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", *kept}
