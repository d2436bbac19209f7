"""The stars of the images of a chunk: their problems, their models, their fits in a given PSF.

Arrays have the leading axes image and star, p and n.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.inputs.stack import BLOCK_ROWS, Chunk, list_blocks, put, take
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.problem import objective, star_fit
from ztfpsf.psf.problem.blocks import count_used, map_batched
from ztfpsf.psf.problem.normal import (
    NormalEquations,
    Slopes,
    StarProducts,
    all_products,
    assemble,
    assemble_slopes,
)
from ztfpsf.psf.problem.parameters import Parameters, Pixels, Problem, StarData
from ztfpsf.psf.problem.places import Terms, make_terms
from ztfpsf.psf.problem.star_fit import StarsInPsf, draw_stars, fit_stars, star_covariances


def make_problem(chunk: Chunk, use: np.ndarray, stars: StarData, start: Parameters) -> Problem:
    """One problem for each image, of its stars `use` (p, n).

    `stars`, `start`: of all stars.
    """
    n, batch = chunk.size.n_candidates, chunk.settings.batch
    chosen, begin = _choose_stars(use, stars, start, n)
    return Problem(chunk.model, chosen, begin, Batch(min(batch.stars, n), batch.problems))


@partial(jax.jit, static_argnames="n")
def _choose_stars(
    use: np.ndarray, stars: StarData, start: Parameters, n: int
) -> tuple[StarData, Parameters]:
    """The first n stars; those not in use have no weight, and stay where they start."""
    weight = jnp.where(use[:, :n, None, None], stars.weight[:, :n], 0.0)
    begin = jnp.where(use[:, :n, None], start.stars[:, :n], 0.0)
    terms = stars.grid and stars.grid._replace(basis=stars.grid.basis[:, :n])
    around = stars.around[:, :n] * use[:, :n, None]
    chosen = StarData(stars.data[:, :n], weight, stars.basis[:, :n], around, terms)
    return chosen, start._replace(stars=begin)


def find_normal(
    model: PsfModel, stars: StarData, parameters: Parameters, is_wanted: np.ndarray, batch: Batch
) -> NormalEquations:
    """Normal equations of the problems `is_wanted` (p,), leading axis `problem`.

    In two parts, so that the larger one is compiled once for grids of all degrees.
    """
    products, n_used = _products_at(model, stars, parameters, is_wanted, batch, of_residual=False)
    return _assemble(model, parameters, stars, products, n_used, batch)


def find_slopes(
    model: PsfModel, stars: StarData, parameters: Parameters, is_wanted: np.ndarray, batch: Batch
) -> Slopes:
    """The same without matrices."""
    products, _ = _products_at(model, stars, parameters, is_wanted, batch, of_residual=True)
    return _assemble_slopes(model, parameters, stars, products)


def _products_at(
    model: PsfModel,
    stars: StarData,
    parameters: Parameters,
    is_wanted: np.ndarray,
    batch: Batch,
    *,
    of_residual: bool,
) -> tuple[StarProducts, Array]:
    """Products of the stars of the problems `is_wanted`, and how many stars those have."""
    params = local_params(model, parameters, stars)
    n_used = _count_wanted(stars.weight, is_wanted)
    modes = stars.grid and stars.grid.modes
    fitted = StarsInPsf(parameters.stars, params)
    return _find_products(
        model, fitted, stars.pixels, modes, n_used, batch, of_residual=of_residual
    ), n_used


@jax.jit
def _count_wanted(weight: Array, is_wanted: Array) -> Array:
    """Stars of each problem that count, (p,)."""
    return jnp.where(is_wanted, count_used(weight), 0)


@partial(jax.jit, static_argnames=("model", "batch", "of_residual"))
def _find_products(
    model: PsfModel,
    fitted: StarsInPsf,
    pixels: Pixels,
    modes: Array | None,
    n_used: Array,
    batch: Batch,
    *,
    of_residual: bool,
) -> StarProducts:
    def find_one(one: tuple[StarsInPsf, Pixels, Array | None], its_n: Array) -> StarProducts:
        fitted, its_pixels, its_modes = one
        return all_products(
            model, *fitted, its_pixels, its_modes, its_n, batch.stars, of_residual=of_residual
        )

    return _map_counted(find_one, (fitted, pixels, modes), n_used, batch)


@partial(jax.jit, static_argnames=("model", "batch"))
def _assemble(
    model: PsfModel,
    parameters: Parameters,
    stars: StarData,
    products: StarProducts,
    n_used: Array,
    batch: Batch,
) -> NormalEquations:
    def assemble_one(
        one: tuple[Parameters, StarData, StarProducts], its_n: Array
    ) -> NormalEquations:
        return assemble(model, *one, its_n, batch.stars)

    return _map_counted(assemble_one, (parameters, stars, products), n_used, batch)


@partial(jax.jit, static_argnames="model")
def _assemble_slopes(
    model: PsfModel, parameters: Parameters, stars: StarData, products: StarProducts
) -> Slopes:
    return jax.vmap(partial(assemble_slopes, model))(parameters, stars, products)


def _map_counted(one: Callable[[Any, Array], Any], arrays: Any, n_used: Array, batch: Batch) -> Any:
    """`one(arrays, number of stars that count)` of every problem."""
    # Problems that are worked on together go as far as the one with most stars.
    most = jnp.max(n_used)

    def call(its: tuple[Any, Array]) -> Any:
        return one(its[0], its[1] if batch.problems == 1 else most)

    return map_batched(call, (arrays, n_used), batch.problems)


@partial(jax.jit, static_argnames="model")
def local_params(model: PsfModel, parameters: Parameters, stars: StarData) -> Array:
    """Profile parameters and grid nodes at all stars, (p, n, K + G)."""
    return jax.vmap(lambda one, its: objective.local_params(model, one, its))(parameters, stars)


def refit(
    model: PsfModel,
    fitted: StarsInPsf,
    stars: StarData,
    rows: np.ndarray,
    batch: int,
    tolerance: float = star_fit.TOLERANCE,
) -> Array:
    """All stars (p, n, 4), those of `rows` (p, u) fitted anew in their PSF."""
    for block in list_blocks(rows):
        found = _refit_block(model, fitted, stars.pixels, block, batch, tolerance)
        fitted = fitted._replace(stars=found)
    return fitted.stars


@partial(jax.jit, static_argnames=("model", "batch"))
def _refit_block(
    model: PsfModel,
    fitted: StarsInPsf,
    pixels: Pixels,
    rows: Array,
    batch: int,
    tolerance: float,
) -> Array:
    arrays = take((fitted, *pixels), rows)
    p, u = rows.shape
    flat = jax.tree.map(lambda leaf: leaf.reshape(p * u, *leaf.shape[2:]), arrays)
    found = fit_stars(model, *flat, min(batch, p * u), tolerance)
    return put(fitted.stars, rows, found.reshape(p, u, -1))


@partial(jax.jit, static_argnames=("model", "size_px", "batch"))
def draw(model: PsfModel, fitted: StarsInPsf, size_px: int, batch: int) -> Array:
    """Model stamps of all stars in ADU, (p, n, S, S)."""
    p, n = fitted.stars.shape[:2]
    flat = jax.tree.map(lambda leaf: leaf.reshape(p * n, -1), fitted)
    models = draw_stars(model, flat, size_px, min(batch, p * n))
    return models.reshape(p, n, size_px, size_px)


@partial(jax.jit, static_argnames=("model", "batch"))
def own_covariances(
    model: PsfModel, fitted: StarsInPsf, stars: StarData, model_error: Array, batch: Batch
) -> tuple[Array, Array]:
    """star_fit.own_covariances of all stars, (p, n, 4, 4). `model_error`: (p,)."""

    def one_image(one: tuple[StarsInPsf, Array, Array, Array]) -> tuple[Array, Array]:
        return star_fit.own_covariances(model, *one, min(batch.stars, one[1].shape[0]))

    arrays = (fitted, stars.weight, stars.around, model_error)
    return map_batched(one_image, arrays, batch.problems)


def covariances(
    model: PsfModel,
    fitted: StarsInPsf,
    stars: StarData,
    psf_covariance: Array,
    rows: np.ndarray,
    n_candidates: int,
    batch: Batch,
) -> Array:
    """Covariances of the stars `rows` (p, u) that did not enter the PSF's fit, in (p, n, 4, 4).

    `psf_covariance`: (p, m, m) of its coefficients, which a fit of `n_candidates` stars yielded.
    """
    p, n = fitted.stars.shape[:2]
    found = jax.device_put(np.zeros((p, n, 4, 4)))
    modes, n_used = stars.grid and stars.grid.modes, np.full(p, BLOCK_ROWS)
    for block in list_blocks(rows):
        # As many stars as in the fit, though only the first are looked at: its compiled code.
        filled = np.pad(block, ((0, 0), (0, n_candidates - BLOCK_ROWS)), constant_values=n)
        its_fitted, pixels = _take((fitted, stars.pixels), filled)
        # Named as elsewhere: JAX would trace it anew.
        products = _find_products(
            model, its_fitted, pixels, modes, n_used, batch, of_residual=False
        )
        found = _add_covariances(found, model, products, stars, psf_covariance, block, batch)
    return found


_take = jax.jit(take)


@partial(jax.jit, static_argnames=("model", "batch"))
def _add_covariances(
    known: Array,
    model: PsfModel,
    products: StarProducts,
    stars: StarData,
    psf_covariance: Array,
    rows: Array,
    batch: Batch,
) -> Array:
    """Those of the stars `rows` (p, u), the first of `products`, put among the known."""
    terms = jax.vmap(partial(make_terms, model))(stars)
    terms = terms._replace(profile=take(terms.profile, rows), grid=take(terms.grid, rows))
    first = jax.tree.map(lambda leaf: leaf[:, : rows.shape[1]], products)

    def one_image(one: tuple[StarProducts, Terms, Array]) -> Array:
        return star_covariances(*one)

    return put(known, rows, map_batched(one_image, (first, terms, psf_covariance), batch.problems))
