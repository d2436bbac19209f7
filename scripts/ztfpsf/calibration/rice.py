"""Rows of a Rice-compressed image, as raw ZTF files hold them, without the cost of a call per row.

astropy decodes any tiled image, but reads and looks up headers once per tile; with ZTF's tiles of
one row that takes nearly as long as the decoding (per CCD frame 0.51 CPU s, of which here 0.29;
by cfitsio 0.42). Here a range of rows is read at once and goes straight to astropy's compiled
decoder. That is not public: without it, and for other layouts, `open_rice` gives None and the
frame is read by astropy's public means.
"""

import os
from typing import NamedTuple

import numpy as np
from astropy.io import fits

try:
    from astropy.io.fits.hdu.compressed._compression import decompress_rice_1_c, unquantize_float_c
except ImportError:
    decompress_rice_1_c = unquantize_float_c = None

# Codes of the compiled decoder; rows without dither need no decoder.
_DITHERS = {"NO_DITHER": None, "SUBTRACTIVE_DITHER_1": 1, "SUBTRACTIVE_DITHER_2": 2}
_COLUMNS = {"COMPRESSED_DATA", "ZSCALE", "ZZERO"}
_BYTES_PER_PIXEL = 4
_BYTES = (1, 2, 4, 8)  # per pixel, of any image
_BLOCK_SIZES = (32, 16)  # pixels; the default of the FITS standard first


class RiceImage(NamedTuple):
    """Where the rows of a quantised float image lie in a file, and how to scale them."""

    descriptor: int  # of the open file
    heap: int  # first byte
    lengths: np.ndarray  # bytes of each row
    offsets: np.ndarray  # first byte of each row, from `heap`
    scales: np.ndarray
    zeros: np.ndarray
    n_columns: int
    block_size: int
    dither: int | None
    dither_seed: int
    blank: int | None  # code of a missing pixel

    def rows(self, first: int, stop: int) -> np.ndarray:
        """Rows first..stop-1, (n_rows, n_columns) float32. Raises OSError when bytes lack."""
        begin = int(self.offsets[first:stop].min())
        end = int((self.offsets + self.lengths)[first:stop].max())
        if begin < 0 or end < begin or self.heap + end > os.fstat(self.descriptor).st_size:
            raise OSError("compressed rows lie outside of the file")
        data = os.pread(self.descriptor, end - begin, self.heap + begin)
        if len(data) != end - begin:
            raise OSError("the compressed rows are cut off")
        starts = self.offsets[first:stop] - begin
        stops = starts + self.lengths[first:stop]
        layout = self.block_size, _BYTES_PER_PIXEL, self.n_columns
        unpacked = [
            decompress_rice_1_c(data[i:j], *layout)
            for i, j in zip(starts.tolist(), stops.tolist(), strict=True)
        ]
        numbers = np.frombuffer(b"".join(unpacked), np.int32).reshape(-1, self.n_columns)
        pixels = self._scale(numbers, first)
        if self.blank is not None and (missing := numbers == self.blank).any():
            pixels[missing] = np.nan
        return pixels

    def _scale(self, numbers: np.ndarray, first: int) -> np.ndarray:
        rows = np.s_[first : first + len(numbers)]
        scales, zeros = self.scales[rows], self.zeros[rows]
        if self.dither is None:
            values = numbers.astype(np.float64)
            values *= scales[:, None]
            values += zeros[:, None]
            return values.astype(np.float32)
        pixels = np.empty(numbers.shape, np.float32)
        for i, row in enumerate(numbers):
            options = (scales[i], zeros[i], self.dither, 0, 0, 0.0, _BYTES_PER_PIXEL)
            seed = first + i + self.dither_seed
            decoded = unquantize_float_c(row.tobytes(), seed, self.n_columns, *options)
            pixels[i] = np.frombuffer(decoded, np.float32)
        return pixels


def open_rice(table: fits.BinTableHDU, descriptor: int) -> RiceImage | None:
    """The compressed image in a table HDU, or None when it is to be read by astropy.

    `table` comes from a file opened with disable_image_compression=True, `descriptor` is the same
    file open for reading. Raises OSError for options that FITS does not have.
    """
    if decompress_rice_1_c is None or not isinstance(table, fits.BinTableHDU):
        return None
    options = _options(table.header)
    if not _has_layout(table):
        return None
    header, where = table.header, table.fileinfo()["datLoc"]
    size = header["NAXIS1"] * header["NAXIS2"]
    dtype = table.columns.dtype.newbyteorder(">")
    rows = np.frombuffer(os.pread(descriptor, size, where), dtype)
    lengths, offsets = rows["COMPRESSED_DATA"].astype(np.int64).T
    if len(rows) != header["ZNAXIS2"] or not lengths.all():
        return None
    if options.get("BYTEPIX", _BYTES_PER_PIXEL) != _BYTES_PER_PIXEL:
        return None
    return RiceImage(
        descriptor,
        where + header.get("THEAP", size),
        lengths,
        offsets,
        rows["ZSCALE"].astype(float),
        rows["ZZERO"].astype(float),
        header["ZNAXIS1"],
        options.get("BLOCKSIZE", _BLOCK_SIZES[0]),
        _DITHERS[header.get("ZQUANTIZ", "NO_DITHER")],
        header.get("ZDITHER0", 0),
        header.get("ZBLANK"),
    )


def _options(header: fits.Header) -> dict[str, int]:
    """Options of the compression.

    Raises OSError for those that FITS does not have: the compiled decoder trusts them, does not end
    with blocks of 0 pixels, and crashes with pixels of -32 bytes.
    """
    options = {
        header[f"ZNAME{i}"]: header[f"ZVAL{i}"] for i in range(1, 9) if f"ZNAME{i}" in header
    }
    if options.get("BLOCKSIZE", _BLOCK_SIZES[0]) not in _BLOCK_SIZES:
        raise OSError(f"compressed in blocks of {options['BLOCKSIZE']} pixels")
    if options.get("BYTEPIX", _BYTES_PER_PIXEL) not in _BYTES:
        raise OSError(f"compressed from pixels of {options['BYTEPIX']} bytes")
    return options


def _has_layout(table: fits.BinTableHDU) -> bool:
    """Quantised 32-bit floats, one tile per row, missing pixels by one code."""
    header, names = table.header, set(table.columns.names)
    return (
        header.get("ZCMPTYPE") == "RICE_1"
        and (header.get("ZBITPIX"), header.get("ZNAXIS")) == (-32, 2)
        and (header.get("ZTILE1"), header.get("ZTILE2", 1)) == (header.get("ZNAXIS1"), 1)
        and names >= _COLUMNS
        and "ZBLANK" not in names
        and header.get("ZQUANTIZ", "NO_DITHER") in _DITHERS
    )
