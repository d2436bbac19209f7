"""Position, flux and size of sources on the sky-subtracted image, by apertures (sep)."""

from typing import NamedTuple

import numpy as np
import sep

from ztfpsf.errors import InputError
from ztfpsf.stars.images import ScienceImage, Sky

# A source whose centroid runs farther than this is another source, or none: catalogues and ZTF's
# astrometry are good to 0.1 px, so that only proper motions unknown to a catalogue come near.
MAX_SHIFT_PX = 2.0
# Four half-light radii of a star of 3 px FWHM, the start of the search for the radius.
FIRST_APERTURE_PX = 6.0
# Enough for a median that is good to half a per cent where sizes scatter by 10 %.
N_BRIGHTEST = 500
# Six times that of ZTF's worst seeing, a FWHM of 5.5 px. Where a mask leaves no sky between sources
# the radius grows with its aperture, and the time with the square of both.
MAX_RADIUS_PX = 16.0
SIGMAS_IN_FWHM = 2.3548  # of a Gaussian
# At the edge of the window, where its weight is e^-8: the default, 11, moves centroids by 1e-5 px.
SUBPIXELS = 5


class Measurement(NamedTuple):
    """Of n sources, each of shape (n,) float64."""

    flux_adu: np.ndarray  # in an aperture of 4 half-light radii
    snr: np.ndarray  # of this flux, from sky noise and photon noise
    half_light_radius_px: np.ndarray  # of the light in this aperture; NaN where flux <= 0


def find_typical_radius(image: ScienceImage, sky: Sky, x: np.ndarray, y: np.ndarray) -> float:
    """Half-light radius in px of the typical bright source among those at (x, y).

    Median over the brightest, within an aperture of 4 times the result: galaxies, blends and
    cosmic rays must be the minority, neighbours count little. Raises InputError where it exceeds
    MAX_RADIUS_PX.
    """
    flux, _, _ = sep.sum_circle(sky.subtracted, x, y, FIRST_APERTURE_PX, mask=image.bad)
    brightest = np.argsort(-flux)[:N_BRIGHTEST]
    x, y, flux = x[brightest], y[brightest], flux[brightest]
    # A faint source has a size of noise: keep those of at least a tenth of the median flux.
    bright = flux > max(0.1 * np.median(flux), 0) if len(flux) else np.zeros(0, bool)
    radius = FIRST_APERTURE_PX / 4
    for _ in range(3):
        sizes = measure(image, sky, x[bright], y[bright], radius).half_light_radius_px
        if not np.isfinite(sizes).any():
            break
        radius = float(np.nanmedian(sizes))
        if radius > MAX_RADIUS_PX:
            raise InputError(
                f"{image.path}: the typical source has a half-light radius of {radius:.0f} px or "
                f"more, a star {MAX_RADIUS_PX:g} px at most; check that the mask leaves more than "
                "the sources, or take the image out of the sheet."
            )
    return radius


def measure_snr(
    image: ScienceImage, sky: Sky, x: np.ndarray, y: np.ndarray, typical_radius_px: float
) -> np.ndarray:
    """Signal-to-noise ratio (n,) at (x, y) in an aperture of 4 half-light radii; NaN without."""
    return _sum_aperture(image, sky, x, y, 4 * typical_radius_px)[1]


def measure(
    image: ScienceImage, sky: Sky, x: np.ndarray, y: np.ndarray, typical_radius_px: float
) -> Measurement:
    """Flux, signal-to-noise ratio and half-light radius at the positions (x, y), shape (n,)."""
    aperture = 4 * typical_radius_px
    flux, snr = _sum_aperture(image, sky, x, y, aperture)
    positive = flux > 0
    radius = np.full(len(x), np.nan)
    radius[positive], _ = sep.flux_radius(
        sky.subtracted,
        x[positive],
        y[positive],
        np.full(positive.sum(), aperture),
        0.5,
        normflux=flux[positive],
        mask=image.bad,
    )
    return Measurement(flux, snr, radius)


def _sum_aperture(
    image: ScienceImage, sky: Sky, x: np.ndarray, y: np.ndarray, radius_px: float
) -> tuple[np.ndarray, np.ndarray]:
    """Flux in ADU and signal-to-noise ratio, (n,); NaN where all pixels are masked."""
    flux, error, _ = sep.sum_circle(
        sky.subtracted, x, y, radius_px, err=sky.rms_adu, gain=image.gain, mask=image.bad
    )
    return flux, np.divide(flux, error, out=np.full(len(x), np.nan), where=error > 0)


def find_centroids(
    image: ScienceImage, sky: Sky, x: np.ndarray, y: np.ndarray, typical_radius_px: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windowed centroids (SExtractor's XWIN, YWIN) near (x, y), and which of them converged.

    Where the iteration fails or leaves by more than MAX_SHIFT_PX, (x, y) comes back unchanged.
    """
    sigma = 2 * typical_radius_px / SIGMAS_IN_FWHM  # the half-light diameter is about the FWHM
    x_new, y_new, flag = sep.winpos(sky.subtracted, x, y, sigma, mask=image.bad, subpix=SUBPIXELS)
    converged = (flag == 0) & (np.hypot(x_new - x, y_new - y) <= MAX_SHIFT_PX)
    return np.where(converged, x_new, x), np.where(converged, y_new, y), converged
