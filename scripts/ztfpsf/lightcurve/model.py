"""The light of a scene in the pixels of its exposures, as JAX functions."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.lightcurve.geometry import Geometry
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.profile.star import star_psf

PHASES_PX = np.array([(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)])
N_PLANES = {False: 3, True: 6}  # of a PSF, whether exposures are turned or not
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

    A point is drawn to first order in how far it is from its half pixel of the grid; where
    exposures are turned, to second order from the half pixel that is nearest there.
    """
    if not len(geometry.points_px):
        return jnp.zeros((*exposures.data.shape, 0), jnp.float32)

    def one(exposure: tuple[Array, Array, Array, Array]) -> Array:
        offset, params, skew, ratio = exposure
        points = geometry.points_px + geometry.points_px @ skew.T
        nearest = jnp.round(2 * points) if geometry.is_turned else 2 * geometry.points_px
        x, y = jnp.moveaxis(points - nearest / 2, -1, 0).astype(jnp.float32)
        index = geometry.find_index(nearest.astype(int))
        draw = partial(star_psf, model, params=params, size_px=geometry.window_px)
        planes = _draw_planes(draw, offset, N_PLANES[geometry.is_turned])
        planes = (ratio * planes).astype(jnp.float32)
        plain, by_x, by_y = planes[:3, index]
        light = plain + by_x * x + by_y * y
        if not geometry.is_turned:
            return light
        by_xx, by_xy, by_yy = planes[3:, index]
        return light + by_xx * (x**2 / 2) + by_xy * (x * y) + by_yy * (y**2 / 2)

    drawn = (exposures.offset_px, exposures.params, exposures.skew, exposures.ratio)
    return jax.vmap(one)(drawn)


def _draw_planes(draw: Callable[[Array], Array], offset_px: Array, n: int) -> Array:
    """A PSF at offset + (0, 0), (1/2, 0), (0, 1/2), (1/2, 1/2), and its derivatives by the place.

    (n, 4 W^2): itself, by x, y, and of n = 6 by xx, xy, yy, from differences of half pixels.
    """

    def window(at: Array) -> tuple[Array, Array]:
        pictures = jax.vmap(draw)(at + jnp.asarray(PHASES_PX))
        return pictures, pictures

    slopes, pictures = jax.jacfwd(window, has_aux=True)(offset_px)
    first = jnp.concatenate([pictures.reshape(1, -1), jnp.moveaxis(slopes, -1, 0).reshape(2, -1)])
    if n == len(first):
        return first
    size = pictures.shape[-1]
    # A star that is half a pixel further has its light of half a pixel before.
    fine = pictures.reshape(2, 2, size, size)[::-1, ::-1]
    fine = fine.transpose(2, 0, 3, 1).reshape(2 * size, 2 * size)
    second = jnp.stack(
        [_differ_twice(fine, 1), _differ(_differ(fine, 0), 1), _differ_twice(fine, 0)]
    )
    second = second.reshape(3, size, 2, size, 2).transpose(0, 2, 4, 1, 3)[:, ::-1, ::-1]
    return jnp.concatenate([first, second.reshape(3, -1)])


def _differ(fine: Array, axis: int) -> Array:
    """Derivative per pixel of samples at half pixels, to fourth order; of no use at the edge."""
    before2, before, after, after2 = (jnp.roll(fine, step, axis) for step in (2, 1, -1, -2))
    return (8 * (after - before) - (after2 - before2)) / 6


def _differ_twice(fine: Array, axis: int) -> Array:
    before2, before, after, after2 = (jnp.roll(fine, step, axis) for step in (2, 1, -1, -2))
    return (16 * (after + before) - (after2 + before2) - 30 * fine) / 3


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
