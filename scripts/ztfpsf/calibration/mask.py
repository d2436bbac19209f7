"""Bits of a mask: IPAC's 13 (ZTF Science Data System, mskimg) and one for cosmic rays.

A detector of ours sets the bits it knows; IPAC's mask of the same exposure is added with OR.
"""

import numpy as np

BITS = {
    "tracks": 1,
    "sexsources": 2,
    "lowresponsivity": 4,
    "highresponsivity": 8,
    "noisy": 16,
    "ghosts": 32,
    "spillage": 64,
    "spikes": 128,
    "saturated": 256,
    "dead": 512,
    "nan": 1024,
    "psfsources": 2048,
    "brightstarhalo": 4096,
    # Reserved by IPAC; such a pixel is a spike as well, for readers that know the 13 bits only.
    "cosmicray": 8192,
}
SOURCES = BITS["sexsources"] | BITS["psfsources"]
DEFAULT_BAD = 8191 & ~SOURCES  # 6141
COSMIC_RAY = BITS["cosmicray"] | BITS["spikes"]
DTYPE = np.int16

BLOCK_PX = 32  # response and bias are compared with the median of such a block


def bad_pixels(mask: np.ndarray, bad: int = DEFAULT_BAD) -> np.ndarray:
    """True where a mask has one of the bits of `bad`."""
    return (mask & bad) != 0


def local_median(image: np.ndarray) -> np.ndarray:
    """Median of each block of BLOCK_PX x BLOCK_PX px, on the pixels of the image; NaN-safe.

    Exact per block, constant within it; (ny, nx) float32 in, the same out.
    """
    ny, nx = image.shape
    rows, columns = -(-ny // BLOCK_PX), -(-nx // BLOCK_PX)
    padded = np.full((rows * BLOCK_PX, columns * BLOCK_PX), np.nan, np.float32)
    padded[:ny, :nx] = image
    blocks = padded.reshape(rows, BLOCK_PX, columns, BLOCK_PX).swapaxes(1, 2)
    ordered = np.sort(blocks.reshape(rows, columns, -1), axis=-1)  # NaN last
    n_values = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    medians = np.take_along_axis(ordered, np.maximum(n_values - 1, 0) // 2, axis=-1)[..., 0]
    return np.repeat(np.repeat(medians, BLOCK_PX, 0), BLOCK_PX, 1)[:ny, :nx]


def mask_bias(bias_adu: np.ndarray, read_noise_adu: float, hot_sigma: float) -> np.ndarray:
    """Mask of a master bias (ny, nx): NaN, and 'noisy' where it leaves its neighbourhood.

    A hot pixel deviates from the local median by more than `hot_sigma` times the read noise of a
    single frame.
    """
    deviation = np.abs(bias_adu - local_median(bias_adu))
    mask = np.zeros(bias_adu.shape, DTYPE)
    mask[deviation > hot_sigma * read_noise_adu] = BITS["noisy"]
    mask[~np.isfinite(bias_adu)] |= BITS["nan"]
    return mask


def mask_flat(flat: np.ndarray, low: float, high: float, dead: float) -> np.ndarray:
    """Mask of a master flat from its response relative to the local median.

    Below `dead`: dead; below `low` or above `high`: low or high responsivity; NaN: nan and dead.
    """
    typical = local_median(flat)
    with np.errstate(invalid="ignore", divide="ignore"):
        response = flat / typical
    mask = np.zeros(flat.shape, DTYPE)
    mask[response < low] = BITS["lowresponsivity"]
    mask[response > high] = BITS["highresponsivity"]
    mask[(response < dead) | (flat <= 0)] |= BITS["dead"]
    mask[~np.isfinite(response)] |= BITS["nan"]
    return mask


def grow(where: np.ndarray, radius_px: int) -> np.ndarray:
    """A boolean image grown by a square of 2 radius_px + 1, at the cost of its true pixels only."""
    rows, columns = np.nonzero(where)
    grown = where.copy()
    reach = range(-radius_px, radius_px + 1)
    for dy in reach:
        for dx in reach:
            y, x = rows + dy, columns + dx
            inside = (y >= 0) & (y < where.shape[0]) & (x >= 0) & (x < where.shape[1])
            grown[y[inside], x[inside]] = True
    return grown
