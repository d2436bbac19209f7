"""Opening of FITS files, the one guarded way: whatever is wrong with a file is one sentence.

A file may have any name; what it is, its first bytes say. Compressed files (gzip, bzip2, xz) are
unpacked to their end, so that their own checksums count. Before pixels are read, the sizes that
the headers announce are compared with what is there, and the bytes of our own files with their
checksums.
"""

import bz2
import gzip
import io
import lzma
import os
import stat
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from ztfpsf.cards import get_number, repair_cards
from ztfpsf.errors import InputError, first_sentence
from ztfpsf.fits_structure import Hdu, has_sum, read_structure

SOFTWARE = "ztfpsf"  # ORIGIN of our own files
FETCH = "fetch it again"

# What a file that FITS or a table was packed into begins with.
_UNPACKERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
# Some twenty raw CCD frames of ZTF.
_MAX_UNPACKED_BYTES = 4 * 1024**3


class Checksum(NamedTuple):
    """What is compared with the bytes of our own files."""

    keyword: str = "DATASUM"  # the card; CHECKSUM, that covers the header as well
    names: Collection[str] = ()  # of the HDUs; all if empty


DATASUM = Checksum()


def open_fits(
    path: str | Path, advice: str = FETCH, checksum: Checksum = DATASUM, **options: Any
) -> fits.HDUList:
    """An open FITS file whose structure, sizes and checksums were looked at.

    `advice`: what the user is to do about a damaged file. `options`: those of
    astropy.io.fits.open. Pixels and columns are to be read inside of `damage_named`. Raises
    InputError for what is no file, not FITS, truncated, or changed since we wrote it.
    """
    check_file(path)
    with damage_named(path, advice):
        content = read_packed(path)
        length = os.path.getsize(path) if content is None else len(content)
        with _as_file(path, content) as file:
            hdus = read_structure(file, length)
            if not hdus:
                raise InputError(f"{path}: not a FITS file; {advice}.")
            is_ours, last = hdus[0].cards.get("ORIGIN") == SOFTWARE, hdus[-1]
            # Files of others may lack the end of their last block, which holds nothing.
            needed = last.stop if is_ours else last.data_start + last.n_bytes
            if needed > length:
                raise InputError(
                    f"{path}: not a complete FITS file ({length} of {needed} bytes are there); "
                    f"{advice}."
                )
            for hdu in hdus if is_ours else []:
                if hdu.name in (checksum.names or [hdu.name]):
                    _check_sum(path, file, hdu, checksum.keyword, advice)
        return _open(path, content, **options)


def check_file(path: str | Path, advice: str = "correct its path") -> None:
    """Raise InputError for what is no file that can be read: nothing, a folder, a pipe, a URL.

    `advice`: what the user is to do about one that is not there.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            with open(path, "rb"):
                return
    except (OSError, ValueError) as error:
        if "://" in str(path):
            raise InputError(f"{path}: an address, not a file; fetch the file first.") from None
        if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
            raise InputError(f"{path}: no such file; {advice}.") from None
        raise InputError(f"{path}: {error.strerror}; give a file that you may read.") from None
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
    raise InputError(f"{path}: {kind}, not a file; give a file that holds the data.")


@contextmanager
def damage_named(path: str | Path, advice: str = FETCH) -> Iterator[None]:
    """What a reader raises in this block becomes an InputError: only reading belongs in it."""
    try:
        with warnings.catch_warnings(action="ignore", category=AstropyUserWarning):
            yield
    except InputError:
        raise
    except Exception as error:  # astropy and its decompressors promise no kind
        raise InputError(f"{path}: damaged ({first_sentence(error)}); {advice}.") from error


def read_packed(path: str | Path) -> bytes | None:
    """All bytes that a compressed file unpacks to; None of a file that is not compressed."""
    with open(path, "rb") as file:
        start = file.read(max(map(len, _UNPACKERS)))
    for magic, unpack in _UNPACKERS.items():
        if start.startswith(magic):
            with unpack(path) as file:
                content = file.read(_MAX_UNPACKED_BYTES)
            if len(content) == _MAX_UNPACKED_BYTES:
                raise InputError(f"{path}: unpacks to {len(content)} bytes or more; {FETCH}.")
            return content
    return None


def read_image(path: str | Path) -> tuple[np.ndarray, fits.Header]:
    """First image of a FITS file.

    Returns the pixels, shape (ny, nx), native byte order and C-contiguous (integers stay
    integers, or become float32 where BLANK marks some as without a value, these NaN; floats
    become float32), and the header, in which a value that cannot be parsed is text. Raises
    InputError when the file is missing, damaged or holds no two-dimensional image.
    """
    with open_fits(path) as hdus, damage_named(path):
        for hdu in hdus:
            if hdu.is_image and hdu.header.get("NAXIS") == 2:
                header, data = hdu.header.copy(), hdu.data
                break
        else:
            raise InputError(f"{path}: holds no two-dimensional image; give a FITS image.")
        repair_cards(header)
    if data is None or 0 in data.shape:
        raise InputError(f"{path}: the image is empty; {FETCH}.")
    dtype = np.float32 if data.dtype.kind == "f" else data.dtype.newbyteorder("=")
    return _blank(np.ascontiguousarray(data, dtype=dtype), header), header


def _blank(pixels: np.ndarray, header: fits.Header) -> np.ndarray:
    """astropy makes NaN of BLANK pixels, but not where BZERO makes integers unsigned."""
    blank = get_number(header, "BLANK") + get_number(header, "BZERO")
    if pixels.dtype.kind != "u" or not np.isfinite(blank):
        return pixels
    return np.where(pixels == blank, np.float32(np.nan), pixels.astype(np.float32))


def _open(path: str | Path, content: bytes | None, **options: Any) -> fits.HDUList:
    """All HDUs."""
    with ExitStack() as stack:
        # Opened here, as astropy leaves the file open where it fails.
        file = stack.enter_context(_as_file(path, content))
        hdus = fits.open(file, **{"memmap": False, "lazy_load_hdus": False, **options})
        stack.pop_all()
        return hdus


def _as_file(path: str | Path, content: bytes | None) -> BinaryIO:
    return open(path, "rb") if content is None else io.BytesIO(content)


def _check_sum(path: str | Path, file: BinaryIO, hdu: Hdu, keyword: str, advice: str) -> None:
    if not has_sum(file, hdu, keyword):
        raise InputError(
            f"{path}: was changed after it was written ({keyword} of HDU {hdu.name} does not "
            f"agree); {advice}."
        )
