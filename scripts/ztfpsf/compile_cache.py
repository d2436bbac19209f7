"""The folder in which JAX keeps compiled code, free of entries that were cut off.

JAX writes an entry in place, never replaces one, and warns in every later job that cannot read it:
what a process that was killed has left is removed here.
"""

import os
import time
import zlib
from pathlib import Path

# JAX compresses with zlib, which ends with a checksum, unless zstandard is installed.
_ZLIB = b"\x78"


def remove_damaged(folder: Path) -> list[Path]:
    """Remove the damaged entries among those that are new since the last call; returns them."""
    checked = folder / ".checked"
    since = checked.stat().st_mtime if checked.exists() else 0.0
    # The clock of files may be behind that of processes.
    now = time.time() - 1.0
    damaged = [path for path in folder.glob("*-cache") if _is_damaged(path, since)]
    for path in damaged:
        path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    checked.touch()
    os.utime(checked, (now, now))
    return damaged


def _is_damaged(path: Path, since: float) -> bool:
    try:
        entry = path.read_bytes() if path.stat().st_mtime >= since else _ZLIB
        if entry.startswith(_ZLIB) and len(entry) > 1:
            zlib.decompress(entry)
    except FileNotFoundError:  # another job removed it
        return False
    except zlib.error:
        return True
    return not entry
