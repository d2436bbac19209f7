"""What a process that was killed leaves in the cache of compiled code."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

from ztfpsf.compile_cache import remove_damaged

COMPILE = """
import sys
import jax
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
jax.jit(lambda x: 2 * x)(1.0)
"""


def test_damaged_entries_go_and_others_stay(tmp_path: Path) -> None:
    entry = zlib.compress(b"code" * 100)
    for name, content in (("good", entry), ("cut", entry[:-7]), ("empty", b""), ("zstd", b"\x28")):
        (tmp_path / f"{name}-cache").write_bytes(content)
    assert {path.name for path in remove_damaged(tmp_path)} == {"cut-cache", "empty-cache"}
    assert {path.name for path in tmp_path.glob("*-cache")} == {"good-cache", "zstd-cache"}
    assert remove_damaged(tmp_path / "new") == []


def test_old_entries_are_not_read_again(tmp_path: Path) -> None:
    remove_damaged(tmp_path)
    old, new = tmp_path / "old-cache", tmp_path / "new-cache"
    for path in (old, new):
        path.touch()
    os.utime(old, (1.0, 1.0))
    assert remove_damaged(tmp_path) == [new]


def test_entry_of_jax_that_was_cut_off_is_made_again(tmp_path: Path) -> None:
    def compile_once() -> dict[str, bytes]:
        command = [sys.executable, "-W", "error", "-c", COMPILE, tmp_path]
        subprocess.run(command, check=True)
        return {path.name: path.read_bytes() for path in tmp_path.glob("*-cache")}

    names = compile_once().keys()
    for name in names:
        os.truncate(tmp_path / name, 100)
    assert {path.name for path in remove_damaged(tmp_path)} == names
    assert compile_once().keys() == names
    assert remove_damaged(tmp_path) == []
