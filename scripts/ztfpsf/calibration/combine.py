"""Mean of a few frames per pixel without the outliers: clip about the median by the known noise.

With n frames an outlier cannot be further than (n-1)/sqrt(n) sample deviations from the mean
(2.0 for 5 frames), so a clip by the sample's own deviation never acts. Here the scale is the noise
the detector must have (read noise and photons, checked on the frames), the centre the exact median.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from ztfpsf.noise import NO_SKY, model_variance

# Values per chunk: n frames of a chunk stay in the processor's cache while they are sorted.
CHUNK = 16_384


class Noise(NamedTuple):
    """Noise of one frame: read noise and photons."""

    read_adu: float
    gain: float = np.inf  # electron/ADU; infinite for frames without light

    def variance(self, level_adu: np.ndarray) -> np.ndarray:
        """ADU^2 at a signal, dtype of the signal."""
        return model_variance(level_adu, NO_SKY, self.gain, self.read_adu**2)

    def scaled(self, factor: float) -> "Noise":
        """The same noise with a standard deviation `factor` times larger."""
        return Noise(self.read_adu * factor, self.gain / factor**2)


class Combined(NamedTuple):
    """A combined row range."""

    mean: np.ndarray  # float32, NaN where no frame counts
    n_frames: np.ndarray  # uint8


def clipped_mean(stack: np.ndarray, noise: Noise, clip_sigma: float) -> Combined:
    """Mean over axis 0 of the values within clip_sigma noise of one frame of the median.

    stack: (n_frames, ...) float32 ADU, at most 255 frames, NaN = missing. Of two frames that
    disagree neither can be trusted: no value counts.
    """
    flat = stack.reshape(len(stack), -1)
    mean, count = np.empty(flat.shape[1], np.float32), np.empty(flat.shape[1], np.uint8)
    for start in range(0, flat.shape[1], CHUNK):
        part = np.s_[start : start + CHUNK]
        mean[part], count[part] = _clip_chunk(flat[:, part], noise, clip_sigma)
    return Combined(mean.reshape(stack.shape[1:]), count.reshape(stack.shape[1:]))


def _clip_chunk(
    values: np.ndarray, noise: Noise, clip_sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean as median plus mean deviation, so that float32 keeps its digits.

    All values are taken, which is right for nearly every pixel; the others are done again.
    """
    centre = median(values)
    limit2 = noise.scaled(clip_sigma).variance(centre)
    mean, largest2 = np.zeros_like(centre), np.zeros_like(centre)
    deviation = np.empty_like(centre)
    for value in values:
        np.subtract(value, centre, out=deviation)
        mean += deviation
        deviation *= deviation
        np.maximum(largest2, deviation, out=largest2)
    mean /= np.float32(len(values))
    mean += centre
    count = np.full(len(centre), len(values), np.uint8)
    again = np.flatnonzero(~(largest2 <= limit2))
    mean[again], count[again] = _clip(values[:, again], centre[again], limit2[again])
    return mean, count


def _clip(
    values: np.ndarray, centre: np.ndarray, limit2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and number of the values whose squared distance from the centre is within the limit."""
    deviation = values - centre
    near = deviation * deviation <= limit2
    count = near.sum(axis=0, dtype=np.uint8)
    with np.errstate(invalid="ignore", divide="ignore"):
        return centre + np.where(near, deviation, np.float32(0)).sum(axis=0) / count, count


def standard_error(combined: Combined, noise: Noise) -> np.ndarray:
    """Standard error of the mean, float32 ADU; NaN where no frame counts."""
    variance = noise.variance(combined.mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance /= combined.n_frames
    return np.sqrt(variance, out=variance)


def median(values: np.ndarray) -> np.ndarray:
    """Median over axis 0 of (n, m) float32 values, NaN left out, NaN where all are.

    A sorting network works on whole rows, so that every comparison is vectorised.
    """
    if not np.isfinite(values).all():
        return _nan_median(values)
    rows = list(values)
    for low, high, keep_low, keep_high in median_network(len(rows)):
        one, other = rows[low], rows[high]
        if keep_low:
            rows[low] = np.minimum(one, other)
        if keep_high:
            rows[high] = np.maximum(one, other)
    lower, upper = _middle(len(rows))
    return rows[upper] if lower == upper else 0.5 * (rows[lower] + rows[upper])


def _nan_median(values: np.ndarray) -> np.ndarray:
    """Same, slower, for the rare chunk with a missing value."""
    ordered = np.sort(values, axis=0)  # NaN last
    n_values = np.isfinite(ordered).sum(axis=0)
    upper = np.maximum(n_values // 2, 0)
    lower = np.maximum((n_values - 1) // 2, 0)
    columns = np.arange(values.shape[1])
    middle = 0.5 * (ordered[lower, columns] + ordered[np.minimum(upper, len(values) - 1), columns])
    return np.where(n_values > 0, middle, np.float32(np.nan)).astype(np.float32)


def _middle(n: int) -> tuple[int, int]:
    return (n - 1) // 2, n // 2


@cache
def median_network(n: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """Comparisons (low, high, low needed, high needed) that put the median of n rows in place.

    Batcher's odd-even merge sort (K. Batcher 1968, AFIPS 32, 307) for any n, without the
    comparisons and the halves of comparisons whose outcome never reaches the middle.
    """
    comparisons = []
    step = 1
    while step < n:
        stride = step
        while stride >= 1:
            comparisons += _merge_stage(n, step, stride)
            stride //= 2
        step *= 2
    needed, kept = set(_middle(n)), []
    for low, high in reversed(comparisons):
        if low in needed or high in needed:
            kept.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept))


def _merge_stage(n: int, step: int, stride: int) -> list[tuple[int, int]]:
    """Comparisons of one stage, all independent of each other."""
    pairs = []
    for start in range(stride % step, n - stride, 2 * stride):
        for i in range(min(stride, n - start - stride)):
            low, high = start + i, start + i + stride
            if low // (2 * step) == high // (2 * step):
                pairs.append((low, high))
    return pairs
