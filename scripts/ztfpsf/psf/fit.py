"""The PSFs of the images of a chunk: weights, the asked optimiser, errors, reserved stars.

Weights and rejections are found first, by a few rounds of Gauss-Newton (ztfpsf.psf.rounds); then
the optimiser in question minimises that fixed objective, a profile from the moment start, a grid
from where the rounds ended. So all optimisers answer the same question, and their answers can be
compared.
"""

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.errors import InputError
from ztfpsf.psf.arrow import Normal, covariance, normal_equations, solve
from ztfpsf.psf.chunk import (
    Chunk,
    Stack,
    draw,
    list_rows,
    local_shapes,
    make_chunk,
    make_problem,
    put,
    refit,
    take,
)
from ztfpsf.psf.clock import Clock, compile_clock
from ztfpsf.psf.grid import get_grid
from ztfpsf.psf.image import FitSettings, ImageStamps
from ztfpsf.psf.problem import Batch, GridTerms, Parameters, Problem, Solution, Stars
from ztfpsf.psf.rejection import Image, Kept, is_core, mean_of
from ztfpsf.psf.results import Fitted, ImageFit, Judgement, StarFits, read_fitted, read_image
from ztfpsf.psf.rounds import FEWEST_STARS, Cleaned, clean, explain_too_few
from ztfpsf.psf.star_fit import star_covariances


@partial(jax.jit, static_argnames=("model", "batch"))
def _find_normal(model: Any, stars: Stars, parameters: Parameters, batch: Batch) -> Normal:
    return jax.lax.map(
        lambda one: normal_equations(model, one[1], one[0], batch.stars),
        (stars, parameters),
        batch_size=batch.problems,
    )


@partial(jax.jit, static_argnames="batch")
def _judge(normal: Normal, parameters: Parameters, batch: Batch) -> Judgement:
    def judge_one(normal_and_parameters: tuple[Normal, Parameters]) -> Judgement:
        one_normal, one_parameters = normal_and_parameters
        edm = solve(one_normal, jnp.zeros(()), one_parameters).chi2_decrease
        return Judgement(covariance(one_normal), edm)

    return jax.lax.map(judge_one, (normal, parameters), batch_size=batch.problems)


def judge(problem: Problem, solution: Solution) -> Judgement:
    """Covariances, and the expected decrease of chi2 to the minimum (Minuit's EDM)."""
    normal, found = solution.normal, solution.parameters
    if normal is None:
        normal = _find_normal(problem.model, problem.stars, found, problem.batch)
    return _judge(normal, found, problem.batch)


def fit_image(
    model: Any,
    optimiser: ModuleType,
    options: tuple,
    stamps: ImageStamps,
    settings: FitSettings,
) -> ImageFit:
    """Fit one image, a chunk of one. Raises InputError when fewer than three stars can be used."""
    (fit,) = fit_images(model, optimiser, options, [stamps], settings, 1)
    if isinstance(fit, InputError):
        raise fit
    return fit


def fit_images(
    model: Any,
    optimiser: ModuleType,
    options: tuple,
    stamps: Sequence[ImageStamps],
    settings: FitSettings,
    n_images: int,
) -> list[ImageFit | InputError]:
    """Fit images of one size (ztfpsf.psf.chunk.measure_size) in a chunk of `n_images`.

    An image of which fewer than three stars can be used is an error in its place. `options` is the
    optimiser's `Options`.
    """
    if settings.shape == "per_star" and get_grid(model) is not None:
        raise InputError(
            "config key fit_psf.shape is per_star, and no single star defines a pixel grid: "
            "set it to field, or take a model without grid."
        )
    counts = [int((~image.is_reserved).sum()) for image in stamps]
    fitted = [image for image, n in zip(stamps, counts, strict=True) if n >= FEWEST_STARS]
    fits = iter([])
    if fitted:
        fits = iter(_fit_chunk(make_chunk(model, fitted, settings, n_images), optimiser, options))
    return [next(fits) if n >= FEWEST_STARS else InputError(explain_too_few(n)) for n in counts]


def _fit_chunk(chunk: Chunk, optimiser: ModuleType, options: tuple) -> list[ImageFit | InputError]:
    cleaned = clean(chunk)
    use = cleaned.is_fitted(chunk)
    fewest = np.minimum(cleaned.fewest, use.sum(axis=1))
    problem = make_problem(chunk, use, cleaned.weight, cleaned.start, cleaned.grid)
    with compile_clock() as clock:
        solution = jax.block_until_ready(optimiser.solve(problem, options))
    judgement = judge(problem, solution)
    fitted = read_fitted(chunk, use, solution, judgement)
    stars = _fit_all_stars(chunk, cleaned, use, fitted)
    share = Clock(clock.total_s / len(chunk.stamps), clock.compile_s / len(chunk.stamps))
    return [
        read_image(chunk, cleaned, fitted, stars, solution, judgement, share, i)
        if fewest[i] >= FEWEST_STARS
        else InputError(explain_too_few(int(fewest[i])))
        for i in range(len(chunk.stamps))
    ]


def _fit_all_stars(chunk: Chunk, cleaned: Cleaned, use: np.ndarray, fitted: Fitted) -> StarFits:
    """Fitted stars as the fit left them, the others in its PSF."""
    model, stack, batch = chunk.model, chunk.stack, chunk.settings.batch
    best = Parameters(
        cleaned.best.star,
        jnp.asarray(fitted.coefficients),
        None if fitted.modes is None else jnp.asarray(fitted.modes),
    )
    shapes = local_shapes(model, stack, best, cleaned.grid)
    rows = jnp.asarray(list_rows(np.asarray(stack.is_star) & ~use))
    weight = cleaned.weight
    star = refit(model, stack, cleaned.best.star, shapes, weight, rows, batch.stars)
    errors = _covariances(
        model, stack, star, shapes, weight, cleaned.grid, fitted.covariance, rows, batch
    )
    n, n_shape = chunk.size.n_candidates, fitted.shape.shape[-1]
    used = jnp.asarray(use[:, :n])
    star = star.at[:, :n].set(jnp.where(used[..., None], fitted.star, star[:, :n]))
    known = jnp.where(used[..., None], fitted.shape, shapes[:, :n, :n_shape])
    shapes = shapes.at[:, :n, :n_shape].set(known)
    errors = errors.at[:, :n].set(
        jnp.where(used[..., None, None], fitted.star_covariance, errors[:, :n])
    )
    models = draw(model, star, shapes, chunk.size.size_px, batch.stars)
    quality = _measure(stack.image, cleaned.kept, models, star)
    return StarFits(*(np.asarray(part) for part in (star, errors, shapes[..., :n_shape], *quality)))


@jax.jit
def _measure(image: Image, kept: Kept, models: Array, star: Array) -> tuple[Array, Array, Array]:
    """chi2, number of pixels and core chi2 of all stars, (p, n)."""

    def measure_one(image: Image, kept: Kept, models: Array, star: Array) -> tuple[Array, ...]:
        squared = (image.data - models) ** 2 / kept.variance
        # Clipped against the model, the core would look the better the worse the model: only
        # what the image's own mask marks is left out of this figure.
        core = image.good & is_core(image.data.shape[-1], star)
        chi2 = (squared * kept.good).sum(axis=(1, 2))
        return chi2, kept.good.sum(axis=(1, 2)), mean_of(squared, core)

    return jax.vmap(measure_one)(image, kept, models, star)


@partial(jax.jit, static_argnames=("model", "batch"))
def _covariances(
    model: Any,
    stack: Stack,
    star: Array,
    shapes: Array,
    weight: Array,
    grid: GridTerms | None,
    covariance: Array,
    rows: Array,
    batch: Batch,
) -> Array:
    """Covariances of the stars `rows` (p, u) that were not fitted, in (p, n, 4, 4)."""
    terms = grid and take(grid.basis, rows)
    arrays = take((star, shapes, stack.image.data, weight, stack.basis), rows)

    def one_image(one: tuple) -> Array:
        (star, shapes, data, weight, basis), terms, grid, covariance = one
        stars = Stars(data, weight, basis, grid and grid._replace(basis=terms))
        n = min(batch.stars, len(star))
        return star_covariances(model, star, shapes, stars, covariance, n)

    found = jax.lax.map(one_image, (arrays, terms, grid, covariance), batch_size=batch.problems)
    return put(jnp.zeros((*star.shape, 4)), rows, found)
