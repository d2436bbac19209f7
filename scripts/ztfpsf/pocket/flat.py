"""The flat of an image as the noise of its sky tells it.

The register holds charge as it comes, before the flat, and a flat of ZTF falls by a tenth and more
from one side of a quadrant to the other. In a flat-fielded image of sky s a pixel has the variance

    V = s / (g f) + (r / (g f))^2,

g the gain and r the read noise, so that f follows from V up to a factor. V is that of differences
along columns, which the pocket leaves alone, between pixels without stars.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from ztfpsf.noise import read_variance
from ztfpsf.robust import fit_clipped, mad_sigma

if TYPE_CHECKING:  # PSFs do without what finds stars
    from ztfpsf.stars.images import ScienceImage

N_TERMS = 6  # a polynomial of degree 2
NO_FLAT = np.eye(N_TERMS)[0]
BLOCK_PX = 256
LAG_PX = 2  # neighbours share more than noise
CLIP_SIGMA = 2.0  # of the sum of both pixels, which leaves their difference alone
MIN_PIXELS = 5000  # of a block
MIN_BLOCKS = 20
BLOCK_ERROR = 0.008  # of a block without stars, by the number of its pixels


def draw_flat(flat: Any, x_px: Any, y_px: Any, nx: Any, ny: Any) -> np.ndarray:
    """The flat, 1 on the average of the quadrant, at positions (...).

    `flat`: (..., N_TERMS) of 1, u, v, u^2 - 1/3, uv, v^2 - 1/3; u and v from -1 to 1.
    """
    return np.asarray((_basis(x_px, y_px, nx, ny) * flat).sum(axis=-1))


def _basis(x_px: Any, y_px: Any, nx: Any, ny: Any) -> np.ndarray:
    u, v = (2.0 * np.asarray(x, float) / n - 1.0 for x, n in ((x_px, nx), (y_px, ny)))
    third = 1.0 / 3.0
    terms = (np.ones_like(u), u, v, u * u - third, u * v, v * v - third)
    return np.stack(np.broadcast_arrays(*terms), axis=-1)


def measure_flat(image: "ScienceImage") -> np.ndarray:
    """Coefficients of `draw_flat`; NO_FLAT where too little of the image is sky."""
    ny, nx = image.data.shape
    usable = ~(image.bad | image.saturated)
    data = np.where(usable, image.data, np.nan)
    constant = read_variance(image.read_noise_electron, image.gain)
    places, values = [], []
    for y0 in range(0, ny - BLOCK_PX // 2, BLOCK_PX):
        for x0 in range(0, nx - BLOCK_PX // 2, BLOCK_PX):
            level, variance = _measure_sky(data[y0 : y0 + BLOCK_PX, x0 : x0 + BLOCK_PX])
            if level > 0 and variance > 0:
                photons = level / image.gain
                root = np.sqrt(photons**2 + 4.0 * constant * variance)
                places.append((x0 + BLOCK_PX / 2, y0 + BLOCK_PX / 2))
                values.append((photons + root) / (2.0 * variance))
    if len(values) < MIN_BLOCKS:
        return NO_FLAT
    x_px, y_px = np.array(places).T
    flat, design = np.array(values), _basis(x_px, y_px, nx, ny)
    found = fit_clipped(design, flat, BLOCK_ERROR * flat, MIN_BLOCKS).coefficients
    return found / found[0]


def _measure_sky(block: np.ndarray) -> tuple[float, float]:
    """Level and variance of the pixels without stars, NaN without enough of them."""
    first, second = (part.ravel() for part in (block[:-LAG_PX], block[LAG_PX:]))
    seen = np.isfinite(first + second)
    total, difference = (first + second)[seen], (second - first)[seen]
    if len(total) < MIN_PIXELS:
        return np.nan, np.nan
    middle, width = np.median(total), mad_sigma(difference)
    empty = np.abs(total - middle) < CLIP_SIGMA * width
    return 0.5 * float(middle), 0.5 * float(mad_sigma(difference[empty])) ** 2
