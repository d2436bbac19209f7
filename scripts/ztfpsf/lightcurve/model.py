"""The light of a scene in the pixels of its exposures, as JAX functions."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.lightcurve.geometry import Geometry
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.profile.star import star_psf

N_MOTION = 4  # shift east, north (arcsec); motion east, north (arcsec/yr)


class Exposures(NamedTuple):
    """Of E exposures, on the N pixels of a Geometry; arrays of NumPy or JAX."""

    data: Any  # (E, N) ADU
    is_good: Any  # (E, N) bool
    constant_adu2: Any  # (E, N)
    sky_adu: Any  # (E,)
    gain: Any  # (E,)
    model_error: Any  # (E,) of the PSF, of a star's light in a pixel
    ratio: Any  # (E,)
    is_on: Any  # (E,) 1.0 where there may be flux, else 0.0
    offset_px: Any  # (E, 2) expected place from the central pixel
    offset_error_px: Any  # (E,)
    jacobian: Any  # (E, 2, 2) px/arcsec
    skew: Any  # (E, 2, 2) axes of the exposure in those of the host's grid, less unity
    time_yr: Any  # (E,)
    params: Any  # (E, K + G) of the PSF


class Parameters(NamedTuple):
    """What is fitted; arrays of NumPy or JAX."""

    flux_adu: Any  # (E,) common scale
    background_adu: Any  # (E,)
    host_adu: Any  # (K,) common scale
    motion: Any  # (4,) shift and motion, N_MOTION


def place(exposures: Exposures, motion: Array) -> Array:
    """Where the object is, from the central pixels, (E, 2)."""
    shift = motion[:2] + exposures.time_yr[:, None] * motion[2:]
    return exposures.offset_px + jnp.einsum("eij,ej->ei", exposures.jacobian, shift)


def draw_target(geometry: Geometry, model: PsfModel, offset_px: Array, params: Array) -> Array:
    """PSF of flux 1 in the pixels, (E, N)."""

    def one(exposure: tuple[Array, Array]) -> Array:
        return star_psf(model, *exposure, geometry.size_px).ravel()[geometry.pixel_index]

    return jax.vmap(one)((offset_px, params))


def draw_slopes(geometry: Geometry, model: PsfModel, offset_px: Array, params: Array) -> Array:
    """PSF and its derivatives by x and y of the object, (E, 3, N)."""

    def one(offset: Array, param: Array) -> Array:
        def psf(at: Array) -> tuple[Array, Array]:
            stamp = star_psf(model, at, param, geometry.size_px).ravel()[geometry.pixel_index]
            return stamp, stamp

        slopes, stamp = jax.jacfwd(psf, has_aux=True)(offset)
        return jnp.concatenate([stamp[None], slopes.T])

    return jax.vmap(one)(offset_px, params)


def draw_host(geometry: Geometry, model: PsfModel, exposures: Exposures) -> Array:
    """Light of host points of flux 1 in the pixels, (E, N, K) float32, ratio included.

    The axes of an exposure differ from the grid's by little: to first order in that.
    """
    if not len(geometry.points_px):
        return jnp.zeros((*exposures.data.shape, 0), jnp.float32)

    def one(exposure: tuple[Array, Array, Array, Array]) -> Array:
        offset, params, skew, ratio = exposure

        def window(at: Array) -> tuple[Array, Array]:
            places = at + jnp.asarray(geometry.phases_px)
            draw = partial(star_psf, model, params=params, size_px=geometry.window_px)
            pictures = jax.vmap(draw)(places)
            return pictures, pictures

        slopes, pictures = jax.jacfwd(window, has_aux=True)(offset)
        move = jnp.asarray(geometry.points_px) @ skew.T  # (K, 2) px
        planes = jnp.concatenate([pictures[None], jnp.moveaxis(slopes, -1, 0)])
        single = (ratio * planes).astype(jnp.float32).reshape(3, -1)
        plain, by_x, by_y = single[:, geometry.window_index]
        move = move.astype(jnp.float32)
        return plain + by_x * move[:, 0] + by_y * move[:, 1]

    drawn = (exposures.offset_px, exposures.params, exposures.skew, exposures.ratio)
    return jax.vmap(one)(drawn)


class Drawn(NamedTuple):
    """Light of flux 1, ratio included."""

    psf: Array  # (E, N)
    slopes: Array  # (E, 2, N) derivatives by x and y of the object
    host: Array  # (E, N, K) float32


@partial(jax.jit, static_argnums=(0, 1))
def draw_light(geometry: Geometry, model: PsfModel, exposures: Exposures, motion: Array) -> Drawn:
    """Compiled by itself: profiles take the compiler longest, and several need them."""
    ratio = exposures.ratio[:, None, None]
    at = place(exposures, motion)
    drawn = ratio * draw_slopes(geometry, model, at, exposures.params)
    return Drawn(drawn[:, 0], drawn[:, 1:], draw_host(geometry, model, exposures))


def cut(exposures: Exposures, rows: np.ndarray, n_good: int) -> Exposures:
    """Some exposures; those after the first `n_good` get no good pixel."""
    chunk = Exposures(*(np.asarray(array)[rows] for array in exposures))
    chunk.is_good[n_good:] = False
    return chunk
