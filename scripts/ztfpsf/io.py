"""Reading and writing of the formats in use: FITS, parquet, JSON. Nothing half-written stays."""

import json
import os
import re
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

import ztfpsf
from ztfpsf.errors import InputError

PROVENANCE_KEY = "ztfpsf"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it when the block ends without an error.

    Two writers of one file (a job requeued while its ghost still runs) cannot mix their bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
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


def make_provenance(inputs: Sequence[str | Path], settings: Mapping[str, Any]) -> dict[str, Any]:
    """How a product was made: names of the inputs, version of the code, settings of the rule."""
    return {
        "version": ztfpsf.__version__,
        "inputs": [str(path) for path in inputs],
        "settings": dict(settings),
    }


def read_image(path: str | Path) -> tuple[np.ndarray, fits.Header]:
    """First image of a FITS file.

    Returns the pixels, shape (ny, nx), native byte order and C-contiguous (integers stay
    integers, floats become float32), and the header. Raises InputError when the file is missing,
    truncated or holds no two-dimensional image.
    """
    try:
        # No memory map: a truncated file must fail here, not at the first use of a pixel.
        with (
            warnings.catch_warnings(
                record=True, action="always", category=AstropyUserWarning
            ) as told,
            fits.open(path, memmap=False, ignore_missing_simple=False) as hdus,
        ):
            # A truncated file warns, and then fails where its pixels are read: that is enough.
            for hdu in hdus:
                if hdu.header.get("NAXIS") == 2 and hdu.is_image:
                    header, data = hdu.header.copy(), hdu.data
                    break
            else:
                raise InputError(f"{path}: holds no two-dimensional image; give a FITS image.")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; correct its path in the image sheet.") from None
    except (PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path}: {error.strerror}; give a FITS file that you may read.") from None
    except (OSError, TypeError, ValueError, EOFError, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        reason = _count_bytes(told) or first_sentence(error)
        raise InputError(f"{path}: not a complete FITS file ({reason}); fetch it again.") from None
    if data is None or 0 in data.shape:
        raise InputError(f"{path}: the image is empty; fetch it again.")
    dtype = np.float32 if data.dtype.kind == "f" else data.dtype.newbyteorder("=")
    return np.ascontiguousarray(data, dtype=dtype), header


def _count_bytes(told: Sequence[warnings.WarningMessage]) -> str:
    """How much of a truncated file is there, from astropy's warnings; "" if they do not say."""
    said = " ".join(str(warning.message) for warning in told)
    sizes = re.search(r"actual file length \((\d+)\) .* expected size \((\d+)\)", said)
    return f"{sizes[1]} of {sizes[2]} bytes are there" if sizes else ""


def first_sentence(error: Exception) -> str:
    """What an error says first: the advice that follows is for programmers."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].partition(". ")[0].rstrip(". ")


def require_keyword(header: fits.Header, key: str, path: str | Path) -> float:
    """A finite number from a header. Raises InputError naming file and keyword."""
    value = header.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise InputError(
            f"{path}: header keyword {key} is {'missing' if value is None else repr(value)}; "
            "a finite number is needed: add it to the header."
        )
    return float(value)


def record_provenance(header: fits.Header, provenance: Mapping[str, Any]) -> None:
    """Put a provenance record into a primary header."""
    header["ORIGIN"] = ("ztfpsf", "software that wrote this file")
    header["VERSION"] = (provenance["version"], "its version")
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


def write_table(table: "Any", path: str | Path, provenance: Mapping[str, Any]) -> None:
    """Write a pandas DataFrame as parquet with its provenance in the file metadata, atomically."""
    import pyarrow
    import pyarrow.parquet

    arrow = pyarrow.Table.from_pandas(table, preserve_index=False)
    metadata = {
        **(arrow.schema.metadata or {}),
        PROVENANCE_KEY.encode(): json.dumps(provenance).encode(),
    }
    with atomic_path(path) as temporary:
        pyarrow.parquet.write_table(arrow.replace_schema_metadata(metadata), temporary)


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Provenance of a parquet table or a FITS file of ours."""
    if str(path).endswith(".parquet"):
        import pyarrow.parquet

        return json.loads(pyarrow.parquet.read_schema(path).metadata[PROVENANCE_KEY.encode()])
    header = fits.getheader(path)
    return {
        "version": header["VERSION"],
        "inputs": json.loads(header["INPUTS"]),
        "settings": json.loads(header["SETTINGS"]),
    }


def write_text(text: str, path: str | Path) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def write_json(record: Mapping[str, Any], path: str | Path) -> None:
    """Write a JSON record atomically."""
    write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", path)
