"""What goes in: the pixels of an image, padded so that every window lies inside, and its stars."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from astropy.wcs import WCS

from ztfpsf.noise import read_variance, split_constant
from ztfpsf.pocket.law import NO_POCKET, Pocket
from ztfpsf.psf import Psf
from ztfpsf.stars.images import ScienceImage, Sky
from ztfpsf.stars.sky import to_pixels

SAMPLED_ROW = 8  # of so many, for medians of planes


class ImagePlanes(NamedTuple):
    """Planes (ny + 2 margin, nx + 2 margin), float32 or bool."""

    data: np.ndarray  # ADU, 0 where not usable
    is_usable: np.ndarray
    is_saturated: np.ndarray
    sky: np.ndarray  # ADU
    constant: np.ndarray  # ADU^2, variance without photon noise
    gain: float  # electron/ADU, of the noise
    margin: int  # px
    pocket: Pocket = NO_POCKET  # that the rows were read through

    def inner(self, plane: np.ndarray) -> np.ndarray:
        """A plane without its margin, (ny, nx)."""
        return plane[self.margin : -self.margin, self.margin : -self.margin]


class Places(NamedTuple):
    """Where n stars are expected: positions (n, 2), x and y in px."""

    start_px: np.ndarray  # where the fit begins
    catalogue_px: np.ndarray  # right ascension and declination, by the world coordinates
    shift_px: np.ndarray  # (2,) of the image relative to the catalogue, a first guess


def window_sizes(size_px: int) -> tuple[int, ...]:
    """Widths in px of the windows that a star is drawn on: its stamp, twice and four times that."""
    return (size_px, 2 * size_px + 1, 4 * size_px + 3)


def make_planes(
    quadrant: ScienceImage, sky: Sky, variance: np.ndarray | None, psf: Psf, size_px: int
) -> ImagePlanes:
    """`variance`: (ny, nx) ADU^2, the plane of the calibration if there is one.

    Where the noise of the PSF's fit is not the header's, such a plane says how pixels differ, and
    that noise how much they scatter in the middle. `size_px`: width of the stamps.
    """
    noise = psf.noise
    is_usable = ~(quadrant.bad | quadrant.saturated)
    if variance is not None:
        # Noise above all that a pixel can hold: it says nothing.
        is_usable &= ~(variance > quadrant.saturation_adu**2)
    data = np.where(is_usable, quadrant.data, np.float32(0))
    is_finite = np.isfinite(quadrant.data)
    level = np.where(is_finite, quadrant.data - sky.subtracted, np.float32(sky.level_adu))
    # Without read noise, and where there is no light, weights stay finite.
    tiny = float(np.finfo(np.float32).tiny)
    constant = np.full_like(data, max(noise.constant_adu2, tiny))
    if variance is not None:
        read_out = max(read_variance(quadrant.read_noise_electron, quadrant.gain), tiny)
        known = split_constant(variance, data, level, quadrant.gain, read_out)
        known = np.where(is_usable, known, np.float32(read_out))
        is_measured = noise.gain != quadrant.gain
        shift = noise.constant_adu2 - np.median(known[::SAMPLED_ROW]) if is_measured else 0.0
        constant = np.maximum(known + np.float32(shift), np.float32(tiny))
    margin = window_sizes(size_px)[-1] // 2 + 1
    return ImagePlanes(
        np.pad(data, margin),
        np.pad(is_usable, margin),
        np.pad(quadrant.saturated, margin),
        np.pad(level, margin, mode="edge"),
        np.pad(constant, margin, mode="edge"),
        noise.gain,
        margin,
        psf.pocket,
    )


def find_pixels(planes: ImagePlanes, centre_px: np.ndarray, size_px: int) -> np.ndarray:
    """Where the windows around central pixels (n, 2) are in a raveled plane, (n, S, S)."""
    width = planes.data.shape[1]
    step = np.arange(size_px) - size_px // 2
    column, row = (centre_px + planes.margin).T
    return (row * width + column)[:, None, None] + (step[:, None] * width + step)


def find_places(stars: pd.DataFrame, wcs: WCS, shape: tuple[int, int]) -> Places:
    """Of the rows of select_stars of an image of `shape` (ny, nx).

    The stars kept for the PSF have centroids, good to begin with, and their median shift tells
    where the others are: a centroid beside a neighbour or in the noise is worth less than that.
    """
    measured = stars[["x_px", "y_px"]].to_numpy(float)
    catalogue = np.stack(
        to_pixels(wcs, stars["ra_deg"].to_numpy(), stars["dec_deg"].to_numpy()), axis=1
    )
    catalogue = np.where(np.isfinite(catalogue), catalogue, measured)
    is_kept = (stars["reason"] == "").to_numpy()
    shift = np.median((measured - catalogue)[is_kept], axis=0) if is_kept.any() else np.zeros(2)
    start = np.where(is_kept[:, None], measured, catalogue + shift)
    ny, nx = shape
    return Places(np.clip(start, -0.5, (nx - 0.5, ny - 0.5)), catalogue, shift)
