"""Start values from moments of the stamps; every optimiser starts here.

The start decides how many steps a fit takes, not where it ends (tests/test_psf_fit.py).
"""

from typing import Any

import numpy as np

from ztfpsf.psf.pixels import offsets
from ztfpsf.psf.problem import N_STAR_PARAMETERS

APERTURE_RADIUS_PX = 5.0
WINDOW_SIGMA_PX = 2.0
SMALLEST_FWHM_PX = 0.8
FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


def start_stars(
    data: np.ndarray, good: np.ndarray, sky_adu: np.ndarray, dx_px: np.ndarray, dy_px: np.ndarray
) -> np.ndarray:
    """Position, aperture flux and local sky of each star.

    `data`: (n, S, S) ADU; `good`: same shape, bool; `sky_adu`: (n,); `dx_px`, `dy_px`: (n,)
    position relative to the stamp's central pixel. Returns (n, 4): x, y, flux, background.
    """
    grid = offsets(data.shape[-1])
    squared = (grid - dx_px[:, None])[:, None, :] ** 2 + (grid - dy_px[:, None])[:, :, None] ** 2
    signal = np.where(good & (squared <= APERTURE_RADIUS_PX**2), data - sky_adu[:, None, None], 0.0)
    start = np.empty((len(data), N_STAR_PARAMETERS))
    start[:, 0], start[:, 1] = dx_px, dy_px
    start[:, 2] = np.maximum(signal.sum(axis=(1, 2)), 1.0)
    start[:, 3] = sky_adu
    return start


def start_fwhm(data: np.ndarray, good: np.ndarray, stars: np.ndarray) -> float:
    """Typical FWHM in px, from second moments in a Gaussian window (median over the stars).

    For a Gaussian star of variance s^2 in a window of variance w^2 the measured variance is
    1 / (1/s^2 + 1/w^2); the pixel's 1/12 is taken off.
    """
    grid = offsets(data.shape[-1])
    dx = (grid - stars[:, 0:1])[:, None, :]
    dy = (grid - stars[:, 1:2])[:, :, None]
    squared = dx**2 + dy**2
    window = np.exp(-0.5 * squared / WINDOW_SIGMA_PX**2)
    signal = np.where(good, data - stars[:, 3, None, None], 0.0) * window
    with np.errstate(invalid="ignore", divide="ignore"):
        measured = 0.5 * (signal * squared).sum(axis=(1, 2)) / signal.sum(axis=(1, 2))
        variance = 1.0 / (1.0 / measured - 1.0 / WINDOW_SIGMA_PX**2) - 1.0 / 12.0
    variance = variance[np.isfinite(variance) & (variance > 0)]
    if not len(variance):
        return SMALLEST_FWHM_PX
    return max(float(FWHM_PER_SIGMA * np.sqrt(np.median(variance))), SMALLEST_FWHM_PX)


def start_shape(model: Any, fwhm_px: float, n_terms: int) -> np.ndarray:
    """Polynomial coefficients of a constant shape, (K, n_terms)."""
    shape = np.array([float(value) for value in model.start(fwhm_px)])
    coefficients = np.zeros((len(shape), n_terms))
    coefficients[:, 0] = shape
    return coefficients
