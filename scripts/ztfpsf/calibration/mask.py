"""Bits of a mask: IPAC's 13 (ZTF Science Data System, mskimg) and one for cosmic rays.

A detector of ours sets the bits it knows; IPAC's mask of the same exposure is added with OR.
"""

from collections.abc import Callable, Iterator

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


# From the smallest and largest value of blocks to those whose median does not matter.
IsPlain = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _none_is_plain(lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    return np.zeros(lowest.shape, bool)


def local_medians(
    image: np.ndarray, is_plain: IsPlain = _none_is_plain
) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of each band of BLOCK_PX, and the median of its blocks on its columns, (nx,) float32.

    Medians of BLOCK_PX x BLOCK_PX px, NaN left out; of an even number the lower middle one. Blocks
    that `is_plain` calls so have their smallest value instead, at a fraction of the cost.
    """
    ny, nx = image.shape
    columns = -(-nx // BLOCK_PX)
    for first in range(0, ny, BLOCK_PX):
        rows = np.s_[first : min(first + BLOCK_PX, ny)]
        padded = np.full((rows.stop - first, columns * BLOCK_PX), np.nan, np.float32)
        padded[:, :nx] = image[rows]
        blocks = padded.reshape(-1, columns, BLOCK_PX)
        typical = blocks.min(axis=0).min(axis=1)
        others = np.flatnonzero(~is_plain(typical, blocks.max(axis=0).max(axis=1)))
        if others.size:
            values = blocks[:, others].swapaxes(0, 1)
            typical[others] = _medians(values.reshape(others.size, -1))
        yield rows, np.repeat(typical, BLOCK_PX)[:nx]


def _medians(blocks: np.ndarray) -> np.ndarray:
    """Along axis 1, of (n, m) values."""
    if np.isfinite(blocks.sum()):
        middle = (blocks.shape[1] - 1) // 2
        return np.partition(blocks, middle, axis=1)[:, middle]
    ordered = np.sort(blocks, axis=1)  # NaN last
    middle = np.maximum(np.isfinite(ordered).sum(axis=1) - 1, 0) // 2
    return ordered[np.arange(len(blocks)), middle]


def mask_bias(bias_adu: np.ndarray, read_noise_adu: float, hot_sigma: float) -> np.ndarray:
    """Mask of a master bias (ny, nx): NaN, and 'noisy' where it leaves its neighbourhood.

    A hot pixel deviates from the local median by more than `hot_sigma` times the read noise of a
    single frame.
    """
    mask = np.zeros(bias_adu.shape, DTYPE)
    limit = np.float32(hot_sigma * read_noise_adu)
    # No two values of a plain block are so far apart, so none is that far from the median.
    for rows, typical in local_medians(bias_adu, lambda low, high: high - low <= limit):
        deviation = np.abs(bias_adu[rows] - typical)
        mask[rows][deviation > limit] = BITS["noisy"]
        mask[rows][~np.isfinite(deviation)] = BITS["nan"]
    return mask


def mask_flat(flat: np.ndarray, low: float, high: float, dead: float) -> np.ndarray:
    """Mask of a master flat from its response relative to the local median.

    Below `dead`: dead; below `low` or above `high`: low or high responsivity; without a value: nan.
    """
    mask = np.zeros(flat.shape, DTYPE)

    def is_plain(lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
        """Where no ratio of two values, so none of a value to the median, reaches a limit."""
        with np.errstate(invalid="ignore", divide="ignore"):
            even = (lowest / highest >= max(low, dead)) & (highest / lowest <= high)
        return even & (lowest > 0)

    for rows, typical in local_medians(flat, is_plain):
        band = mask[rows]
        with np.errstate(invalid="ignore", divide="ignore"):
            response = flat[rows] / typical
        band[response < low] = BITS["lowresponsivity"]
        band[response > high] = BITS["highresponsivity"]
        band[(response < dead) | (flat[rows] <= 0)] |= BITS["dead"]
        band[~np.isfinite(response)] |= BITS["nan"]
    return mask


def grow(where: np.ndarray, radius_px: int) -> np.ndarray:
    """A boolean image grown by a square of 2 radius_px + 1, at the cost of its true pixels only."""
    ny, nx = where.shape
    rows, columns = np.divmod(np.flatnonzero(where), nx)
    grown = where.copy()
    reach = range(-radius_px, radius_px + 1)
    for dy in reach:
        for dx in reach:
            y, x = rows + dy, columns + dx
            inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
            grown[y[inside], x[inside]] = True
    return grown
