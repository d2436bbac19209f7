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
import math
import os
import stat
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from ztfpsf.cards import get_number, get_text, repair_cards
from ztfpsf.errors import InputError

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
# Of the algorithms of tile compression PLIO packs best, 4095 equal pixels in 16 bits.
_MAX_PIXELS_PER_PACKED_BYTE = 4095 / 2
_ALL_ONES = 0xFFFFFFFF


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
        n_bytes = os.path.getsize(path) if content is None else len(content)
        _check_beginning(path, content, advice)
        # Compressed images as the tables that they are: only so sizes and checksums are seen.
        with _open(path, content, disable_image_compression=True) as hdus:
            for hdu in hdus:
                _check_size(path, hdu, n_bytes, advice)
            if get_text(hdus[0].header, "ORIGIN") == SOFTWARE:
                _check_sums(path, hdus, checksum, advice)
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


def first_sentence(error: Exception) -> str:
    """What an error says first, on one line: the advice that follows is for programmers."""
    lines = str(error).splitlines() or [""]
    return lines[0].partition(". ")[0].rstrip(". ") or type(error).__name__


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
    file = path if content is None else io.BytesIO(content)
    return fits.open(file, **{"memmap": False, "lazy_load_hdus": False, **options})


def _check_beginning(path: str | Path, content: bytes | None, advice: str) -> None:
    with open(path, "rb") if content is None else io.BytesIO(content) as file:
        start = file.read(9)
    if start != b"SIMPLE  =":
        raise InputError(f"{path}: not a FITS file, it begins with {start!r}; {advice}.")


def _check_size(path: str | Path, hdu: Any, n_bytes: int, advice: str) -> None:
    """Raise InputError where the file, or a compressed image, has less than a header announces."""
    needed = hdu.fileinfo()["datLoc"] + hdu.size
    if needed > n_bytes:
        raise InputError(
            f"{path}: not a complete FITS file ({n_bytes} of {needed} bytes are there); {advice}."
        )
    sides = [hdu.header[f"ZNAXIS{axis + 1}"] for axis in range(hdu.header.get("ZNAXIS", 0))]
    if sides and not 0 <= math.prod(sides) <= hdu.size * _MAX_PIXELS_PER_PACKED_BYTE:
        raise InputError(
            f"{path}: damaged ({' x '.join(map(str, sides))} pixels cannot come from "
            f"{hdu.size} bytes); {advice}."
        )


def _check_sums(path: str | Path, hdus: fits.HDUList, checksum: Checksum, advice: str) -> None:
    """Compare the bytes of HDUs with their DATASUM or CHECKSUM, where they have one.

    Both are sums of words of 32 bits in ones' complement; CHECKSUM makes that of the whole HDU
    zero (FITS standard 4.0, appendix J).
    """
    keyword = checksum.keyword
    for hdu in (hdu for hdu in hdus if hdu.name in (checksum.names or [hdu.name])):
        told, place = get_text(hdu.header, keyword), hdu.fileinfo()
        start = place["datLoc" if keyword == "DATASUM" else "hdrLoc"]
        place["file"].seek(start)
        words = np.frombuffer(place["file"].read(place["datLoc"] + place["datSpan"] - start), ">u4")
        total = int(words.sum(dtype=np.uint64))
        while total > _ALL_ONES:
            total = (total & _ALL_ONES) + (total >> 32)
        expected = {told} if keyword == "DATASUM" else {"0", str(_ALL_ONES)}
        if told and str(total) not in expected:
            raise InputError(
                f"{path}: was changed after it was written ({keyword} of HDU {hdu.name or 0} does "
                f"not agree); {advice}."
            )
