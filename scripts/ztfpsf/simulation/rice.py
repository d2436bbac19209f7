"""Rice-compressed images of floats, one tile per row, as ZTF's raw files hold them.

astropy looks up headers and columns once per tile, and estimates the noise of each: per CCD frame
that takes four times as long as the compression itself. Here the noise is that of the whole image,
and the rows go straight to astropy's compiled coder. That is not public: without it the image is
compressed by astropy's public means.
"""

import zlib

import numpy as np
from astropy.io import fits

from ztfpsf.robust import mad_sigma

try:
    from astropy.io.fits.hdu.compressed._compression import compress_rice_1_c, quantize_float_c
except ImportError:
    compress_rice_1_c = quantize_float_c = None

# Steps of this part of the noise add 0.1 % to its variance.
STEPS_PER_NOISE = 8.0
SMALLEST_STEP_ADU = 1e-3
DITHER, N_SEEDS = 1, 10000
BLOCK_PX, BYTES_PER_PIXEL = 32, 4
_SAMPLED_ROWS = 64


def compress(data: np.ndarray, header: fits.Header) -> fits.BinTableHDU | fits.CompImageHDU:
    """HDU of an image (ny, nx), float32, with the cards of `header`; to be written, not read."""
    # Another in every frame: where steps and dithers are the same, differences of frames are steps.
    seed = 1 + zlib.crc32(data[0].tobytes()) % N_SEEDS
    step = max(_find_noise(data) / STEPS_PER_NOISE, SMALLEST_STEP_ADU)
    if compress_rice_1_c is None:
        return fits.CompImageHDU(
            data,
            header,
            compression_type="RICE_1",
            quantize_level=-step,
            quantize_method=DITHER,
            dither_seed=seed,
        )
    ny, nx = data.shape
    rows, tiles = np.empty(ny, [("tile", ">i4", 2), ("scale", ">f8"), ("zero", ">f8")]), []
    begin = 0
    for number, pixels in enumerate(data.astype(np.float32, order="C", copy=False)):
        codes, _, scale, zero = quantize_float_c(
            pixels.tobytes(), number + seed, nx, 1, 0, 0.0, -step, DITHER
        )[:4]
        tiles.append(compress_rice_1_c(codes, BLOCK_PX, BYTES_PER_PIXEL))
        rows[number] = (len(tiles[-1]), begin), scale, zero
        begin += len(tiles[-1])
    body = rows.tobytes() + b"".join(tiles)
    cards = _table_cards(ny, nx, seed, rows["tile"][:, 0].max(), begin)
    cards.extend(header, unique=True)
    padding = b"\0" * (-len(body) % 2880)
    # A table made of its bytes is written as it is; one made of columns is converted row by row.
    return fits.BinTableHDU.fromstring(cards.tostring().encode() + body + padding)


def _find_noise(data: np.ndarray) -> float:
    """Standard deviation of a pixel, from the differences of neighbours in some of the rows."""
    rows = data[:: max(1, len(data) // _SAMPLED_ROWS)]
    return float(mad_sigma(np.diff(rows, axis=1))) / np.sqrt(2.0) if data.shape[1] > 1 else 0.0


def _table_cards(ny: int, nx: int, seed: int, longest: int, heap: int) -> fits.Header:
    """Header of the table that holds a compressed image (FITS 4.0, section 10)."""
    cards = {
        "XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "NAXIS1": 24, "NAXIS2": ny,
        "PCOUNT": heap, "GCOUNT": 1, "TFIELDS": 3,
        "TTYPE1": "COMPRESSED_DATA", "TFORM1": f"1PB({longest})",
        "TTYPE2": "ZSCALE", "TFORM2": "1D", "TTYPE3": "ZZERO", "TFORM3": "1D",
        "ZIMAGE": True, "ZTENSION": "IMAGE", "ZBITPIX": -32,
        "ZNAXIS": 2, "ZNAXIS1": nx, "ZNAXIS2": ny, "ZPCOUNT": 0, "ZGCOUNT": 1,
        "ZTILE1": nx, "ZTILE2": 1, "ZCMPTYPE": "RICE_1",
        "ZNAME1": "BLOCKSIZE", "ZVAL1": BLOCK_PX, "ZNAME2": "BYTEPIX", "ZVAL2": BYTES_PER_PIXEL,
        "ZQUANTIZ": "SUBTRACTIVE_DITHER_1", "ZDITHER0": seed,
    }  # fmt: skip
    return fits.Header(cards)
