"""The noise of blank sky, from differences of pixels: what an image has, whatever its header says.

Gain and read noise of ZTF's headers are right to some per cent, and its sky scatters by up to a
quarter more than they say. A difference of two pixels does not know the background; pixels far
apart have independent noise, neighbours need not: charge that the read-out hands on makes them
anticorrelated along rows, faint sources correlated.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter

from ztfpsf.robust import mad_sigma
from ztfpsf.stars.images import ScienceImage, Sky

# Pixels this far apart share neither handed-on charge nor, at ZTF's seeing, a faint source.
SEPARATION_PX = 5
# A pixel is lit where the mean of a box around it stands out of the noise of that mean, and so are
# those near it. The mean, not the pixel: a cut in the pixel itself would take the noise with it.
BOX_PX = 5
LIT_SIGMA = 3.0
GROWTH_PX = 5
# The noise is then good to 0.3 %; all pixels of a quadrant would take ten times as long.
MAX_PAIRS = 250_000
# Below, it would be worse than 3 %, and blank sky is an exception in the image.
MIN_PAIRS = 2_500


class SkyNoise(NamedTuple):
    """Noise of a pixel on blank sky; NaN where there is too little of it."""

    variance_adu2: float
    correlation_x: float  # of neighbours in a row
    correlation_y: float  # of neighbours in a column


def find_blank(image: ScienceImage, sky: Sky) -> np.ndarray:
    """Usable pixels where no source is seen, (ny, nx) bool."""
    return ~_find_lit(sky, image.bad | image.saturated)


def measure_sky_noise(sky: Sky, is_blank: np.ndarray) -> SkyNoise:
    """Variance of pixels and correlation of neighbours, robust, where `is_blank` (ny, nx).

    The variance is half that of differences between pixels SEPARATION_PX apart, the mean of rows
    and columns; the correlations follow from differences between neighbours.
    """
    planes = [(sky.subtracted, is_blank), (sky.subtracted.T, is_blank.T)]
    far = [_measure_differences(*plane, SEPARATION_PX) for plane in planes]
    near = [_measure_differences(*plane, 1) for plane in planes]
    variance = float(np.mean(far))
    return SkyNoise(variance, *(1.0 - of_neighbours / variance for of_neighbours in near))


def _find_lit(sky: Sky, unusable: np.ndarray) -> np.ndarray:
    """Pixels that are unusable, or lit by a source, and those near them, (ny, nx) bool."""
    mean = uniform_filter(sky.subtracted, BOX_PX)
    lit = (mean > LIT_SIGMA * sky.rms_adu / BOX_PX) | unusable
    return maximum_filter(lit.view(np.uint8), 2 * GROWTH_PX + 1).astype(bool)


def _measure_differences(values: np.ndarray, is_wanted: np.ndarray, separation_px: int) -> float:
    """Half the variance of differences between pixels of a row, from 1.4826 MAD."""
    first, second = values[:, :-separation_px], values[:, separation_px:]
    pairs = np.flatnonzero(is_wanted[:, :-separation_px] & is_wanted[:, separation_px:])
    if len(pairs) < MIN_PAIRS:
        return np.nan
    places = np.unravel_index(pairs[:: 1 + len(pairs) // MAX_PAIRS], first.shape)
    # 0: the pixels are rounded more coarsely than they scatter.
    return float(mad_sigma(second[places] - first[places])) ** 2 / 2.0 or np.nan
