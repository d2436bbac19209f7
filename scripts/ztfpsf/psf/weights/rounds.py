"""Weights and rejections of the images of a chunk: rounds of Gauss-Newton.

Each round fits the PSF with the present weights, one polynomial for the image, and looks at all
stars in it (ztfpsf.psf.weights.rejection). A profile alone finds what is not a star; then its grid,
if the model has one, looks closer (ztfpsf.psf.weights.grid), and the evidence decides how strongly
it is held.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.noise import Noise, read_variance
from ztfpsf.pocket.law import deferred
from ztfpsf.psf.inputs.settings import Clipping
from ztfpsf.psf.inputs.stack import Chunk, ImagePixels, list_rows
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.optimisers import gauss_newton
from ztfpsf.psf.problem.images import draw, find_normal, local_params, make_problem, refit
from ztfpsf.psf.problem.normal import NormalEquations
from ztfpsf.psf.problem.parameters import Parameters, StarData
from ztfpsf.psf.problem.star_fit import StarsInPsf
from ztfpsf.psf.profile.field import count_terms
from ztfpsf.psf.profile.star import FLUX
from ztfpsf.psf.weights.around import Outskirts, find_around, measure_outskirts
from ztfpsf.psf.weights.grid import (
    GridSearch,
    begin_grid,
    weigh_grid,
    weigh_new_terms,
    widen_grid,
)
from ztfpsf.psf.weights.pixel_noise import measure_noise
from ztfpsf.psf.weights.rejection import Kept, has_enough_pixels, reject
from ztfpsf.psf.weights.start import start_fwhm, start_profile, start_stars

FEWEST_STARS = 3  # a polynomial of one term has STARS_PER_TERM
PROFILE_STEPS = 8  # of a round; most need a few
GRID_STEPS = 4  # the final fit has as many as it needs
ROUND_TOLERANCE = 0.1  # of chi2 per star, when a round ends


class Cleaned(NamedTuple):
    """Weights and rejections, found once and then fixed for every optimiser. p images."""

    start: Parameters  # all stars, from moments; of a grid from the last round
    best: Parameters  # of the last round, all stars
    kept: Kept  # leading axis `image`
    around: Array  # (p, n, 2), see ztfpsf.psf.weights.around
    fewest: np.ndarray  # (p,) smallest number of stars that a round fitted
    freed: Array  # (p, n, S, S) ADU, pixels without what the pocket did to them
    grid: GridSearch | None = None

    def image(self, chunk: Chunk) -> ImagePixels:
        """The pixels that the fit sees."""
        return chunk.stack.image._replace(data=self.freed)

    def data(self, chunk: Chunk) -> StarData:
        """All stars with the weights found, (p, n, ...)."""
        weight = self.kept.good / self.kept.variance
        terms = self.grid and self.grid.terms
        return StarData(self.freed, weight, chunk.stack.basis, self.around, terms)

    @property
    def has_stars(self) -> np.ndarray:
        """Images that have not failed, (p,) bool; the others have no evidence."""
        return self.fewest >= FEWEST_STARS

    def is_fitted(self, chunk: Chunk) -> np.ndarray:
        """Stars that enter the fit, (p, n) bool."""
        return np.asarray(self.kept.is_usable & chunk.stack.image.is_reference)


def explain_too_few(n: int) -> str:
    """Why an image has no PSF."""
    return (
        f"only {n} stars are left to fit, {FEWEST_STARS} are needed: loosen the selection "
        "(config keys select_stars) or leave the image out."
    )


def clean(chunk: Chunk) -> Cleaned:
    """Find weights, bad pixels, bad stars and the precision of a grid."""
    profile = chunk._replace(model=replace(chunk.model, grid=None))
    cleaned = _begin(chunk)
    for _ in range(chunk.settings.clipping.rounds):
        cleaned = _reject(profile, _fit_round(profile, cleaned)[0])
    if chunk.model.grid is None:
        return cleaned
    best, grid = begin_grid(chunk, cleaned.is_fitted(chunk), cleaned.best)
    cleaned = _fit_grid(chunk, cleaned._replace(best=best, grid=grid))
    for _ in range(grid.degree, chunk.settings.grid.degree):
        cleaned, is_wider = _widen(chunk, cleaned)
        if not is_wider:
            break
        cleaned = _fit_grid(chunk, cleaned)
    cleaned = _fit_grid(chunk, cleaned)
    return cleaned._replace(start=cleaned.best)


def _fit_grid(chunk: Chunk, cleaned: Cleaned) -> Cleaned:
    """A round with the grid: fit, evidence, rejection."""
    cleaned, normal = _fit_round(chunk, cleaned)
    assert cleaned.grid is not None  # the caller's
    grid = weigh_grid(cleaned.grid, chunk, cleaned.has_stars, normal, cleaned.best)
    return _reject(chunk, cleaned._replace(grid=grid))


def _widen(chunk: Chunk, cleaned: Cleaned) -> tuple[Cleaned, bool]:
    """The grid with one degree more, if the stars of any image ask for it."""
    assert cleaned.grid is not None  # the caller's
    best, grid, is_new = widen_grid(chunk, cleaned.grid, cleaned.best)
    wider = cleaned._replace(best=best, grid=grid)
    problem = make_problem(chunk, wider.is_fitted(chunk), wider.data(chunk), best)
    normal = find_normal(chunk.model, problem.stars, problem.start, problem.batch)
    grid, is_needed = weigh_new_terms(grid, is_new, wider.has_stars, normal, best)
    return (wider._replace(grid=grid), True) if is_needed else (cleaned, False)


def _begin(chunk: Chunk) -> Cleaned:
    """Start values from moments."""
    stack, image = chunk.stack, chunk.stack.image
    stars = start_stars(image.data, image.good, image.sky_adu, stack.offset_px)
    fwhm_px = np.asarray(start_fwhm(image.data, image.good, stars, image.is_reference))
    n_terms = count_terms(chunk.size.degree)
    profile = jnp.stack([start_profile(chunk.model, width, n_terms) for width in fwhm_px])
    has_pixels = jax.vmap(has_enough_pixels, (0, None))(image.good, chunk.settings.clipping)
    start = Parameters(stars, profile)
    noise = Noise(image.gain, read_variance(image.read_noise_electron, image.gain))
    kept = Kept(image.good, stack.variance, has_pixels, has_pixels, noise)
    around = jnp.zeros((*stack.is_star.shape, 2))
    fewest = np.full(chunk.n_images, chunk.size.n_candidates)
    return Cleaned(start, start, kept, around, fewest, image.data)


def _fit_round(chunk: Chunk, cleaned: Cleaned) -> tuple[Cleaned, NormalEquations]:
    """The best PSF with the present weights, and the normal equations there."""
    use = cleaned.is_fitted(chunk)
    problem = make_problem(chunk, use, cleaned.data(chunk), cleaned.best)
    steps = PROFILE_STEPS if cleaned.grid is None else GRID_STEPS
    # The size of the chunk, not the number of stars: compiled once for all images of it.
    options = gauss_newton.Options(steps, ROUND_TOLERANCE * chunk.size.n_candidates)
    solution = gauss_newton.minimise(problem, options)
    found = solution.parameters
    stars = _replace_used(cleaned.best.stars, cleaned.start.stars, found.stars, use)
    fewest = np.minimum(cleaned.fewest, use.sum(axis=1))
    assert solution.normal is not None  # Gauss-Newton has them
    return cleaned._replace(best=found._replace(stars=stars), fewest=fewest), solution.normal


@jax.jit
def _replace_used(stars: Array, start: Array, found: Array, use: Array) -> Array:
    """Fitted stars as found; a star whose own fit ran away begins again."""
    n = found.shape[1]
    stars = stars.at[:, :n].set(jnp.where(use[:, :n, None], found, stars[:, :n]))
    return jnp.where(jnp.isfinite(stars).all(axis=-1, keepdims=True), stars, start)


def _reject(chunk: Chunk, cleaned: Cleaned) -> Cleaned:
    """New variances, bad pixels and bad stars from the models of all stars."""
    data, batch = cleaned.data(chunk), chunk.settings.batch
    params = local_params(chunk.model, cleaned.best, data)
    rows = list_rows(np.asarray(chunk.stack.is_star) & ~cleaned.is_fitted(chunk))
    fitted = StarsInPsf(cleaned.best.stars, params)
    fitted = fitted._replace(stars=refit(chunk.model, fitted, data, rows, batch.stars))
    models = draw(chunk.model, fitted, chunk.size.size_px, batch.stars)
    # The better the model is known, the better what the pocket did to it.
    cleaned = cleaned._replace(freed=free(chunk.stack.image, models))
    image, clipping = cleaned.image(chunk), chunk.settings.clipping
    used = cleaned.kept.good & cleaned.is_fitted(chunk)[:, :, None, None]
    arrays = (image, models, fitted, used)
    kept, outskirts = _reject_all(chunk.model, arrays, clipping, batch.problems)
    around = _find_around(chunk, fitted.stars, kept, outskirts)
    best = cleaned.best._replace(stars=fitted.stars)
    return cleaned._replace(best=best, kept=kept, around=around)


@jax.jit
def free(image: ImagePixels, models: Array) -> Array:
    """Pixels minus what the pocket changes in their models, (p, n, S, S).

    What is masked is seen, not modelled: a neighbour fills the pocket as well.
    """
    scene = jnp.where(image.good, models, image.data)
    return image.data - jax.vmap(deferred)(image.pocket, scene)


@partial(jax.jit, static_argnames=("model", "clipping", "problems"))
def _reject_all(
    model: PsfModel,
    arrays: tuple[ImagePixels, Array, StarsInPsf, Array],
    clipping: Clipping,
    problems: int,
) -> tuple[Kept, Outskirts]:
    """Images, models of their stars, the stars, and the pixels (p, n, S, S) that the fit has seen;
    they tell the noise.
    """

    def reject_one(one: tuple[ImagePixels, Array, StarsInPsf, Array]) -> tuple[Kept, Outskirts]:
        image, models, (stars, params), used = one
        noise = measure_noise(image, models, stars, used)
        kept = reject(image, models, stars, noise, clipping)
        weight = kept.good / kept.variance
        return kept, measure_outskirts(model, image, models, stars, params, weight)

    return jax.lax.map(reject_one, arrays, batch_size=problems)


def _find_around(chunk: Chunk, stars: Array, kept: Kept, outskirts: Outskirts) -> Array:
    """The background that the sky around each star says, (p, n, 2)."""
    image = chunk.stack.image
    arrays = (outskirts, stars[..., FLUX], image.sky_adu, image.sky_error_adu, kept.is_usable)
    images = (jax.tree.map(lambda leaf, i=i: leaf[i], arrays) for i in range(chunk.n_images))
    return jnp.asarray(np.stack([find_around(*one) for one in images]))
