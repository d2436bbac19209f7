"""Images that are fitted together: alike in size, stacked along a first axis.

The stars of an image are reordered, those that may be fitted first and the reserved ones after
them, and both are filled up to a few sizes with stars without data, so that a night compiles a
handful of shapes. What one image yields does not depend on the others of its chunk.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.image import FitSettings, ImageStamps, choose_degree, padded_size, star_basis
from ztfpsf.psf.problem import Batch, GridTerms, Parameters, Problem, Stars, star_shapes
from ztfpsf.psf.rejection import Image
from ztfpsf.psf.star_fit import draw_stars, fit_stars


class Size(NamedTuple):
    """What images of a chunk have in common."""

    n_candidates: int  # stars that may be fitted, the fillings included
    n_reserved: int
    size_px: int
    degree: int


class Stack(NamedTuple):
    """p images of n stars."""

    image: Image  # leading axis `image`
    variance: Array  # (p, n, S, S) ADU^2, a first estimate
    position_px: Array  # (p, n, 2) catalogue position from the stamp's centre
    basis: Array  # (p, n, B) field polynomial
    is_star: Array  # (p, n) bool, no filling


class Chunk(NamedTuple):
    """A stack, and what its fit needs besides arrays."""

    model: Any
    settings: FitSettings
    size: Size
    stamps: Sequence[ImageStamps]  # m <= p: the last image is repeated to fill the stack
    places: Sequence[np.ndarray]  # (n of the image,) where its stars are, for each of `stamps`
    stack: Stack

    @property
    def n_images(self) -> int:
        """Images in the stack, p."""
        return len(self.stack.is_star)

    @property
    def degree(self) -> int:
        return self.size.degree


def measure_size(is_reserved: np.ndarray, size_px: int, degree: int) -> Size:
    """Size that an image with these stars needs for a field polynomial of at most that degree."""
    n_reserved = int(is_reserved.sum())
    n_candidates = len(is_reserved) - n_reserved
    return Size(
        padded_size(n_candidates),
        padded_size(n_reserved) if n_reserved else 0,
        size_px,
        choose_degree(degree, n_candidates),
    )


def make_chunk(
    model: Any, stamps: Sequence[ImageStamps], settings: FitSettings, n_images: int
) -> Chunk:
    """Stack images of one size, and repeat the last one until there are `n_images`."""
    first = stamps[0]
    size = measure_size(first.is_reserved, first.data.shape[-1], settings.degree)
    places = [_find_places(image, size) for image in stamps]
    filled = [_fill(image, place, size) for image, place in zip(stamps, places, strict=True)]
    filled += filled[-1:] * (n_images - len(filled))
    stack = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *filled)
    grid = settings.grid._replace(degree=min(settings.grid.degree, size.degree))
    return Chunk(model, settings._replace(grid=grid), size, stamps, places, stack)


def _find_places(stamps: ImageStamps, size: Size) -> np.ndarray:
    place = np.empty(len(stamps.is_reserved), int)
    for group, first in ((~stamps.is_reserved, 0), (stamps.is_reserved, size.n_candidates)):
        place[group] = first + np.arange(group.sum())
    return place


def _fill(stamps: ImageStamps, place: np.ndarray, size: Size) -> Stack:
    """One image with its stars at their places."""

    def filled(values: np.ndarray, blank: float = 0.0) -> np.ndarray:
        shape = (size.n_candidates + size.n_reserved, *values.shape[1:])
        out = np.full(shape, blank, values.dtype)
        out[place] = values
        return out

    half = size.size_px // 2
    corner = np.stack([stamps.x0_px, stamps.y0_px], axis=1)
    position = np.stack([stamps.x_px, stamps.y_px], axis=1) - corner - half
    image = Image(
        filled(stamps.data),
        filled(stamps.good),
        filled(stamps.sky_adu),
        filled(~stamps.is_reserved),
        np.float64(stamps.gain),
        np.float64(stamps.read_noise_electron),
    )
    return Stack(
        image,
        filled(stamps.variance, 1.0),
        filled(position),
        filled(star_basis(stamps, size.degree)),
        filled(np.ones(len(place), bool)),
    )


def make_problem(
    chunk: Chunk, use: Array, weight: Array, start: Parameters, grid: GridTerms | None
) -> Problem:
    """The problems of the stars `use` (p, n): one for each image, or one per star.

    `weight`: (p, n, S, S); `start.star`, `grid.basis`: those of all stars.
    """
    n, batch = chunk.size.n_candidates, chunk.settings.batch
    stars, start = _problem_arrays(chunk.stack, use, weight, start, grid, n)
    if chunk.settings.shape == "field":
        batch = batch._replace(stars=min(batch.stars, n))
        return Problem(chunk.model, stars, start, batch)
    p, k = start.shape.shape[:2]
    single = jax.tree.map(lambda leaf: leaf.reshape(p * n, 1, *leaf.shape[2:]), stars)
    shapes = jnp.broadcast_to(start.shape[:, None, :, :1], (p, n, k, 1)).reshape(p * n, k, 1)
    return Problem(
        chunk.model,
        single._replace(basis=jnp.ones((p * n, 1, 1))),
        Parameters(start.star.reshape(p * n, 1, -1), shapes),
        Batch(stars=1, problems=batch.stars),
    )


@partial(jax.jit, static_argnames="n")
def _problem_arrays(
    stack: Stack, use: Array, weight: Array, start: Parameters, grid: GridTerms | None, n: int
) -> tuple[Stars, Parameters]:
    """The first n stars; those not in use have no weight, and stay where they start."""
    used = jnp.where(use[:, :n, None, None], weight[:, :n], 0.0)
    position = jnp.where(use[:, :n, None], start.star[:, :n], 0.0)
    terms = grid and grid._replace(basis=grid.basis[:, :n])
    stars = Stars(stack.image.data[:, :n], used, stack.basis[:, :n], terms)
    return stars, start._replace(star=position)


def list_rows(where: np.ndarray) -> np.ndarray:
    """Numbers of some stars of each image (p, n), filled up with n, (p, u)."""
    p, n = where.shape
    rows = np.full((p, padded_size(int(where.sum(axis=1).max(initial=1)))), n)
    for row, mine in zip(rows, where, strict=True):
        found = np.flatnonzero(mine)
        row[: len(found)] = found
    return rows


def take(arrays: Any, rows: Array) -> Any:
    """Some stars (p, u) of arrays (p, n, ...); 0 where a row is none."""
    return jax.tree.map(
        lambda leaf: jax.vmap(lambda one, row: one.at[row].get(mode="fill", fill_value=0))(
            leaf, rows
        ),
        arrays,
    )


def put(array: Array, rows: Array, values: Array) -> Array:
    """The inverse of `take`: rows that are none are left out."""
    return jax.vmap(lambda one, row, new: one.at[row].set(new, mode="drop"))(array, rows, values)


@partial(jax.jit, static_argnames="model")
def local_shapes(model: Any, stack: Stack, best: Parameters, grid: GridTerms | None) -> Array:
    """Shape parameters and grid nodes at all stars, (p, n, K + G)."""
    stars = Stars(stack.image.data, stack.image.data, stack.basis, grid)
    return jax.vmap(lambda one, its: star_shapes(model, one, its))(best, stars)


@partial(jax.jit, static_argnames=("model", "batch"))
def refit(
    model: Any, stack: Stack, star: Array, shapes: Array, weight: Array, rows: Array, batch: int
) -> Array:
    """All stars (p, n, 4), those of `rows` (p, u) fitted anew at fixed shape."""
    arrays = take((star, shapes, stack.image.data, weight), rows)
    p, u = rows.shape
    flat = jax.tree.map(lambda leaf: leaf.reshape(p * u, *leaf.shape[2:]), arrays)
    found = fit_stars(model, *flat, min(batch, p * u))
    return put(star, rows, found.reshape(p, u, -1))


@partial(jax.jit, static_argnames=("model", "size_px", "batch"))
def draw(model: Any, star: Array, shapes: Array, size_px: int, batch: int) -> Array:
    """Model stamps of all stars in ADU, (p, n, S, S)."""
    p, n = star.shape[:2]
    flat = (leaf.reshape(p * n, -1) for leaf in (star, shapes))
    models = draw_stars(model, *flat, size_px, min(batch, p * n))
    return models.reshape(p, n, size_px, size_px)
