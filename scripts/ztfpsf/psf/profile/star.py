"""One star: its four numbers, and the light that its pixels hold."""

from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models import PsfModel, Wings
from ztfpsf.psf.profile.pixels import integrate, offsets
from ztfpsf.psf.profile.residual_grid import add_residual

Stars = TypeVar("Stars", np.ndarray, Array)

# Columns of arrays (..., 4): x and y from the central pixel of the stamp (px), flux (ADU) and
# background (ADU/px).
X, Y, FLUX, BACKGROUND = range(4)
POSITION = slice(X, Y + 1)
N_STAR_PARAMETERS = 4

CORE_RADIUS_PX = 4.0  # pixels whose centres are nearer to the star are its core


def star_psf(model: PsfModel, offset_px: Array, params: Array, size_px: int) -> Array:
    """Pixel-integrated PSF of one star, flux 1, shape (S, S).

    `offset_px`: (2,) x and y from the central pixel; `params`: (K + G,) the profile parameters,
    followed by the nodes of the grid if the model has one.
    """
    k = model.n_params

    def profile(dx: Array, dy: Array) -> Array:
        return model.profile(dx, dy, model.Params(*params[:k]))

    stamp = integrate(profile, offset_px[X], offset_px[Y], size_px)
    if model.wings is not None:
        stamp = _add_wings(model.wings, stamp, offset_px, params[k - model.n_wings : k])
    if model.grid is None:
        return stamp
    return add_residual(model.grid, stamp, offset_px[X], offset_px[Y], params[k:])


def _add_wings(wings: Wings, stamp: Array, offset_px: Array, params: Array) -> Array:
    centre = jnp.asarray(offsets(stamp.shape[-1]))
    functions = wings.functions(centre[None, :] - offset_px[X], centre[:, None] - offset_px[Y])
    light = jnp.asarray(wings.light)
    return (1.0 - params @ light) * stamp + jnp.tensordot(params, functions, 1)


def star_model(model: PsfModel, star: Array, params: Array, size_px: int) -> Array:
    """Model of one stamp in ADU, shape (S, S). `star`: (4,)."""
    return star[FLUX] * star_psf(model, star[POSITION], params, size_px) + star[BACKGROUND]


def is_core(size_px: int, stars: Stars) -> Stars:
    """Pixels whose centres are within CORE_RADIUS_PX of the star, (n, S, S) bool.

    `stars`: (n, 2) or more columns, of NumPy or JAX.
    """
    centre = offsets(size_px)
    dx = (stars[:, X, None] - centre)[:, None, :]
    dy = (stars[:, Y, None] - centre)[:, :, None]
    return dx**2 + dy**2 <= CORE_RADIUS_PX**2
