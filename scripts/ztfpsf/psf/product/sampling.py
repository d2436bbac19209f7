"""The PSF on a grid finer than the pixel."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.errors import InputError
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.product.psf import Psf
from ztfpsf.psf.profile.star import star_psf


def draw_oversampled(
    psf: Psf, x_px: np.ndarray, y_px: np.ndarray, oversampling: int, half_size_px: int
) -> np.ndarray:
    """Centred PSFs of stars at positions (n,), see `draw_params`."""
    return draw_params(psf.model, psf.local_params(x_px, y_px), oversampling, half_size_px)


def draw_params(
    model: PsfModel, params: np.ndarray, oversampling: int, half_size_px: int
) -> np.ndarray:
    """Centred PSFs of parameters (n, K + G) of `Psf.local_params`, a value every 1/oversampling px.

    Each value is the light that a whole pixel centred there would hold, for a star of flux 1 over
    the plane: every `oversampling`-th value is a pixel of `Psf.stamp`, and all together sum to
    oversampling^2 times the light within the grid. Returns float64 of shape (n, m, m),
    [star, row, column], m = 2 oversampling half_size_px + 1. Raises InputError.
    """
    if min(oversampling, half_size_px) < 1:
        raise InputError(
            f"oversampling is {oversampling}, half_size_px {half_size_px}; give 1 or more."
        )
    with jax.enable_x64(True):
        return np.asarray(_draw(model, jnp.asarray(params), oversampling, half_size_px))


@partial(jax.jit, static_argnames=("model", "oversampling", "half_size_px"))
def _draw(model: PsfModel, params: Array, oversampling: int, half_size_px: int) -> Array:
    # Stamps of stars shifted by parts of a pixel, at most half of one, and put together.
    half = half_size_px + 1
    size_px = 2 * half + 1
    shift = -(jnp.arange(oversampling) - oversampling // 2) / oversampling
    shift_y, shift_x = (axis.ravel() for axis in jnp.meshgrid(shift, shift, indexing="ij"))
    centre = half * oversampling + oversampling // 2
    kept = slice(centre - half_size_px * oversampling, centre + half_size_px * oversampling + 1)

    def draw_one(one: Array) -> Array:
        stamps = jax.lax.map(
            lambda offset_px: star_psf(model, offset_px, one, size_px),
            jnp.stack([shift_x, shift_y], axis=-1),
            batch_size=16,
        )
        stamps = stamps.reshape(oversampling, oversampling, size_px, size_px)
        fine = jnp.transpose(stamps, (2, 0, 3, 1)).reshape(
            size_px * oversampling, size_px * oversampling
        )
        return fine[kept, kept]

    return jax.lax.map(draw_one, params)
