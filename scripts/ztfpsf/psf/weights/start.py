"""Start values from moments of the stamps; every optimiser starts here.

The start decides how many steps a fit takes, not where it ends (tests/test_psf_fit.py).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.profile.pixels import offsets
from ztfpsf.psf.profile.star import BACKGROUND, POSITION
from ztfpsf.psf.profile.widths import FWHM_PER_SIGMA, PIXEL_VARIANCE_PX2
from ztfpsf.psf.weights.median import median

APERTURE_RADIUS_PX = 5.0
WINDOW_SIGMA_PX = 2.0
SMALLEST_FWHM_PX = 0.8


def _squared_distance(size_px: int, offset_px: Array) -> Array:
    grid = offsets(size_px)
    dx, dy = (grid - offset_px[..., axis, None] for axis in (0, 1))
    return dx[..., None, :] ** 2 + dy[..., :, None] ** 2


@jax.jit
def start_stars(data: Array, good: Array, sky_adu: Array, offset_px: Array) -> Array:
    """Position, aperture flux and local sky of each star.

    `data`: (..., S, S) ADU; `good`: same shape, bool; `sky_adu`: (...,); `offset_px`: (..., 2)
    relative to the stamp's central pixel. Returns (..., 4): x, y, flux, background.
    """
    squared = _squared_distance(data.shape[-1], offset_px)
    used = good & (squared <= APERTURE_RADIUS_PX**2)
    signal = jnp.where(used, data - sky_adu[..., None, None], 0.0).sum(axis=(-2, -1))
    return jnp.concatenate(
        [offset_px, jnp.maximum(signal, 1.0)[..., None], sky_adu[..., None]], axis=-1
    )


@jax.jit
def start_fwhm(data: Array, good: Array, stars: Array, is_shown: Array) -> Array:
    """Typical FWHM in px, from second moments in a Gaussian window, (...,).

    The median over the stars `is_shown` (..., n) of each image. For a Gaussian star of variance
    s^2 in a window of variance w^2 the measured variance is 1 / (1/s^2 + 1/w^2); the pixel's 1/12
    is taken off.
    """
    squared = _squared_distance(data.shape[-1], stars[..., POSITION])
    window = jnp.exp(-0.5 * squared / WINDOW_SIGMA_PX**2)
    signal = jnp.where(good, data - stars[..., BACKGROUND, None, None], 0.0) * window
    measured = 0.5 * (signal * squared).sum(axis=(-2, -1)) / signal.sum(axis=(-2, -1))
    variance = 1.0 / (1.0 / measured - 1.0 / WINDOW_SIGMA_PX**2) - PIXEL_VARIANCE_PX2
    typical = median(variance, is_shown & (variance > 0), axis=-1)
    return jnp.maximum(FWHM_PER_SIGMA * jnp.sqrt(typical), SMALLEST_FWHM_PX)


@partial(jax.jit, static_argnames="model")
def _start_params(model: PsfModel, fwhm_px: float) -> Array:
    return jnp.stack([jnp.asarray(value, float) for value in model.start(fwhm_px)])


def start_profile(model: PsfModel, fwhm_px: float, n_terms: int) -> np.ndarray:
    """Polynomial coefficients of a profile that is the same over the field, (K, n_terms)."""
    params = np.asarray(_start_params(model, fwhm_px))
    coefficients = np.zeros((len(params), n_terms))
    coefficients[:, 0] = params
    return coefficients
