"""One star: its four numbers, and the light that its pixels hold."""

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models import PsfModel, Wings
from ztfpsf.psf.models._elliptical import Form, find_form, peak_scale
from ztfpsf.psf.profile.elliptical import expand
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
    profile = model.Params(*params[: model.n_params])
    stamp = integrate(
        lambda dx, dy: model.profile(dx, dy, profile), offset_px[X], offset_px[Y], size_px
    )
    return _add_others(model, find_part(model, params) * stamp, offset_px, params)


def find_part(model: PsfModel, params: Array) -> Array:
    """Part of the light that is the profile's, not the wings'. `params`: (K + G,) or (K,)."""
    if model.wings is None:
        return jnp.ones(())
    return 1.0 - _wing_params(model, params) @ jnp.asarray(model.wings.light)


def _wing_params(model: PsfModel, params: Array) -> Array:
    return params[model.n_params - model.n_wings : model.n_params]


def draw_wings(wings: Wings, offset_px: Array, size_px: int) -> Array:
    """Wings of unit parameters at pixel centres, (L, S, S)."""
    centre = jnp.asarray(offsets(size_px))
    return wings.functions(centre[None, :] - offset_px[X], centre[:, None] - offset_px[Y])


def _add_others(model: PsfModel, stamp: Array, offset_px: Array, params: Array) -> Array:
    """Add the wings and the residual to a stamp."""
    if model.wings is not None:
        wings = draw_wings(model.wings, offset_px, stamp.shape[-1])
        stamp = stamp + jnp.tensordot(_wing_params(model, params), wings, 1)
    if model.grid is None:
        return stamp
    return add_residual(model.grid, stamp, offset_px[X], offset_px[Y], params[model.n_params :])


def differentiate(
    model: PsfModel, offset_px: Array, params: Array, size_px: int
) -> tuple[Array, Array]:
    """The PSF of a star (S, S), and its derivatives by x, y and profile, (2 + K, S, S)."""
    if model.radial is not None:
        return _differentiate_elliptical(model, offset_px, params, size_px)
    k = model.n_params

    def psf(position_and_profile: Array) -> tuple[Array, Array]:
        local = jnp.concatenate([position_and_profile[2:], params[k:]])
        stamp = star_psf(model, position_and_profile[:2], local, size_px)
        return stamp, stamp

    at = jnp.concatenate([offset_px, params[:k]])
    derivative, stamp = jax.jacfwd(psf, has_aux=True)(at)
    return stamp, jnp.moveaxis(derivative, -1, 0)


def _differentiate_elliptical(
    model: PsfModel, offset_px: Array, params: Array, size_px: int
) -> tuple[Array, Array]:
    """The same from few images (ztfpsf.psf.profile.elliptical)."""
    assert model.radial is not None  # the caller's
    profile = params[: model.n_params]
    n = 2 + len(profile)

    def locate(profile: Array) -> tuple[Array, Array, Array]:
        """Peak, shape and form of the profile."""
        named = model.Params(*profile)
        shape = [getattr(named, name) for name in model.shape_names]
        form = find_form(named.ln_fwhm, named.e1, named.e2)
        peak = find_part(model, profile) * peak_scale(named.ln_fwhm)
        return peak, jnp.asarray(shape, profile.dtype), jnp.stack(form)

    def others(offset_px: Array) -> tuple[Array, Array]:
        stamp = _add_others(model, jnp.zeros((size_px, size_px)), offset_px, params)
        return stamp, stamp

    peak, shape, (xx, yy, xy) = locate(profile)
    by_peak, by_shape, by_form = (
        jnp.pad(part.reshape(-1, n - 2), ((0, 0), (2, 0))) for part in jax.jacfwd(locate)(profile)
    )
    by_position = jnp.pad(-jnp.array([[2.0 * xx, xy], [xy, 2.0 * yy]]), ((0, 0), (0, n - 2)))
    images = expand(model.radial, shape, Form(xx, yy, xy), offset_px, size_px)
    beside, stamp = jax.jacfwd(others, has_aux=True)(offset_px)

    def place(coefficients: Array, image: Array) -> Array:
        """An image in each derivative, coefficients (2 + K,)."""
        return coefficients[:, None, None] * image

    derivative = jnp.tensordot(peak * jnp.concatenate([by_form, by_position]).T, images.by_form, 1)
    derivative += place(by_peak[0], images.profile)
    for coefficients, image in zip(peak * by_shape, images.by_shape, strict=True):
        derivative += place(coefficients, image)
    unit = np.eye(n)
    derivative += place(unit[0], beside[..., X]) + place(unit[1], beside[..., Y])
    if model.wings is not None:
        wings = draw_wings(model.wings, offset_px, size_px)
        derivative += sum(map(place, unit[-len(wings) :], wings))
    return peak * images.profile + stamp, derivative


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
