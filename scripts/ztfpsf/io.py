"""Products of our own: FITS, parquet, JSON. Nothing half-written stays, nothing damaged is read.

Every product records the format that it is written in, and a checksum. FITS files of others, and
images, are opened by ztfpsf.fits_files.
"""

import glob
import json
import os
import platform
import tempfile
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

import ztfpsf
from ztfpsf.cards import get_value
from ztfpsf.errors import InputError
from ztfpsf.fits_files import SOFTWARE, Checksum, check_file, damage_named, open_fits

if TYPE_CHECKING:
    import pandas as pd

PROVENANCE_KEY = "ztfpsf"
_HOST = platform.node().replace(".", "-")
_ABANDONED_S = 3600.0
# Of the products' layout: one more wherever an older file would be misread.
FORMAT = 3


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it when the block ends without an error.

    Two writers of one file (a job requeued while its ghost still runs) cannot mix their bytes. What
    a writer that was killed has left is removed by the next one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(path)
    prefix = f".{path.name}.{_HOST}.{os.getpid()}."
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; products follow the user's umask.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_orphans(path: Path) -> None:
    """Remove the temporary files of writers of `path` that are gone."""
    for orphan in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        host, pid = orphan.name.removeprefix(f".{path.name}.").split(".")[:2]
        with suppress(FileNotFoundError):
            # Of another host nobody can tell; a writer that is alive writes more often than that.
            is_old = time.time() - orphan.stat().st_mtime > _ABANDONED_S
            if is_old or (host == _HOST and not _is_running(int(pid))):
                orphan.unlink()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def make_provenance(inputs: Sequence[str | Path], settings: Mapping[str, Any]) -> dict[str, Any]:
    """How a product was made: names of the inputs, version of the code, settings of the rule."""
    return {
        "version": ztfpsf.__version__,
        "inputs": [str(path) for path in inputs],
        "settings": dict(settings),
    }


def record_provenance(header: fits.Header, provenance: Mapping[str, Any]) -> None:
    """Put a provenance record into a primary header."""
    header["ORIGIN"] = (SOFTWARE, "software that wrote this file")
    header["VERSION"] = (provenance["version"], "its version")
    header["FORMAT"] = (FORMAT, "version of the layout of this file")
    header["INPUTS"] = json.dumps(provenance["inputs"])
    header["SETTINGS"] = json.dumps(provenance["settings"], sort_keys=True)


def write_fits(hdus: fits.HDUList, path: str | Path, provenance: Mapping[str, Any]) -> None:
    """Write HDUs with their provenance in the primary header, atomically."""
    record_provenance(hdus[0].header, provenance)
    with atomic_path(path) as temporary:
        hdus.writeto(temporary, overwrite=True, checksum=True)


def big_endian(pixels: np.ndarray) -> np.ndarray:
    """Pixels in the byte order of FITS, without a copy: the array given must not be used again.

    astropy swaps native pixels and swaps them back, for the checksum and again for the file.
    """
    swapped = pixels.dtype.newbyteorder(">")
    if pixels.dtype == swapped:
        return pixels
    return pixels.byteswap(inplace=True).view(swapped)


def open_product(path: str | Path, rule: str, names: Collection[str] = ()) -> fits.HDUList:
    """A FITS file that the rule wrote; columns and pixels are to be read in `damage_named`.

    `names`: the HDUs whose checksums are compared, which takes reading them; all if empty. Raises
    InputError that names the rule when the file is missing, damaged or of another format.
    """
    check_file(path, make(rule))
    hdus = open_fits(path, make_again(rule), Checksum("CHECKSUM", names))
    try:
        check_format(path, get_value(hdus[0].header, "FORMAT"), rule)
    except InputError:
        hdus.close()
        raise
    return hdus


def make(rule: str) -> str:
    """What to do about a product that is not there."""
    return f"make it with the rule {rule}"


def make_again(rule: str) -> str:
    """What to do about a product that is damaged."""
    return f"delete it and make it again with the rule {rule}"


def check_format(path: str | Path, found: Any, rule: str) -> None:
    """Raise InputError for a file whose layout is not that of this version's products."""
    if found != FORMAT:
        raise InputError(
            f"{path}: has format {found}, expected {FORMAT}: another version or program wrote it; "
            f"{make_again(rule)}."
        )


def write_table(table: "pd.DataFrame", path: str | Path, provenance: Mapping[str, Any]) -> None:
    """Write a table as parquet with its provenance in the file metadata, atomically."""
    write_parts([table], path, provenance)


def write_parts(
    tables: "Iterable[pd.DataFrame]", path: str | Path, provenance: Mapping[str, Any]
) -> None:
    """Write a table of which not all is in memory: parts of the same columns, one or more."""
    import pyarrow
    import pyarrow.parquet

    parts = (pyarrow.Table.from_pandas(table, preserve_index=False) for table in tables)
    first = next(parts)
    metadata = {
        **(first.schema.metadata or {}),
        PROVENANCE_KEY.encode(): json.dumps({**provenance, "format": FORMAT}).encode(),
    }
    schema = first.schema.with_metadata(metadata)
    with (
        atomic_path(path) as temporary,
        pyarrow.parquet.ParquetWriter(temporary, schema, write_page_checksum=True) as writer,
    ):
        for part in chain([first], parts):
            writer.write_table(part.replace_schema_metadata(metadata))


def read_table(
    path: str | Path,
    rule: str,
    columns: Sequence[str] = (),
    where: Sequence[tuple[str, str, float]] | None = None,
) -> "pd.DataFrame":
    """A table of `write_table`, checked to have these columns.

    `where`: column, comparison and value that rows must fulfil to be read.

    Raises InputError that names the rule when it is missing, damaged or of another format.
    """
    import pandas as pd

    check_file(path, make(rule))
    with damage_named(path, make_again(rule)):
        found = _read_record(path).get("format")
        table = pd.read_parquet(path, page_checksum_verification=True, filters=where)
    check_format(path, found, rule)
    missing = [name for name in columns if name not in table]
    if missing:
        raise InputError(f"{path}: has no column {', '.join(missing)}; {make_again(rule)}.")
    return table


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Provenance of a parquet table or a FITS file of ours. Raises InputError for anything else."""
    check_file(path)
    with damage_named(path, "give a product of ztfpsf"):
        if str(path).endswith(".parquet"):
            return _read_record(path)
        with open_fits(path) as hdus:
            header = hdus[0].header
        return {
            "version": header["VERSION"],
            "format": header["FORMAT"],
            "inputs": json.loads(header["INPUTS"]),
            "settings": json.loads(header["SETTINGS"]),
        }


def _read_record(path: str | Path) -> dict[str, Any]:
    """Provenance of a parquet table."""
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_schema(path).metadata or {}
    return json.loads(metadata.get(PROVENANCE_KEY.encode(), b"{}"))


def write_text(text: str, path: str | Path) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(record: Mapping[str, Any], path: str | Path) -> None:
    """Write a JSON record atomically, with its format and checksum under the key `ztfpsf`."""
    # As it will be read: keys that are numbers become text.
    record = json.loads(json.dumps(record, allow_nan=False))
    head = {"format": FORMAT, "crc32": _sum_record(record)}
    write_text(json.dumps({PROVENANCE_KEY: head, **record}, indent=2) + "\n", path)


def read_json(path: str | Path, rule: str) -> dict[str, Any]:
    """A record of `write_json`.

    Raises InputError that names the rule when it is missing, damaged or of another format.
    """
    check_file(path, make(rule))
    with damage_named(path, make_again(rule)):
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        head = record.pop(PROVENANCE_KEY, {})
        check_format(path, head.get("format"), rule)
        if head.get("crc32", _sum_record(record)) != _sum_record(record):
            raise InputError(f"{path}: was changed after it was written; {make_again(rule)}.")
    return record


def _sum_record(record: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())
