"""Weights and rejections of the images of a chunk: rounds of Gauss-Newton.

Each round fits the PSF with the present weights, one polynomial for the image, and looks at the
stars in it (ztfpsf.psf.weights.rejection). Of many stars the brightest are enough until the last
round. A profile alone finds what is not a star; where it has a grid, the rounds after the first
look closer (ztfpsf.psf.weights.grid), and the evidence decides how strongly the grid is held.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.noise import Noise, read_variance
from ztfpsf.psf.inputs.stack import Chunk, ImagePixels, list_rows
from ztfpsf.psf.optimisers import gauss_newton
from ztfpsf.psf.problem.images import draw, local_params, make_problem, refit
from ztfpsf.psf.problem.levenberg_marquardt import NEAR_DAMPING, Limits
from ztfpsf.psf.problem.normal import NormalEquations
from ztfpsf.psf.problem.parameters import Parameters, StarData
from ztfpsf.psf.problem.star_fit import StarsInPsf
from ztfpsf.psf.profile.field import count_terms
from ztfpsf.psf.weights.grid import GridSearch, begin_grid, weigh_grid
from ztfpsf.psf.weights.images import (
    find_all_around,
    find_weight,
    free,
    have_enough_pixels,
    reject_all,
)
from ztfpsf.psf.weights.rejection import Kept
from ztfpsf.psf.weights.start import start_fwhm, start_profile, start_stars

FEWEST_STARS = 3  # a polynomial of one term has STARS_PER_TERM
PROFILE_STEPS = 8  # of a round; most need a few
LEADERS = 256  # stars of all rounds but the last, where there are twice as many
FEWEST_ROUNDS_OF_GRID = 2  # the first is the profile's alone
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
        weight = find_weight(self.kept)
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
    cleaned = _begin(chunk)
    everyone, leaders = np.asarray(chunk.stack.is_star), _find_leaders(chunk)
    n_rounds = chunk.settings.clipping.rounds
    if chunk.model.grid is not None:
        n_rounds = max(n_rounds, FEWEST_ROUNDS_OF_GRID)
    for number in range(1, n_rounds + 1):
        if number == 2 and chunk.model.grid is not None:
            best, grid = begin_grid(chunk, cleaned.is_fitted(chunk), cleaned.best)
            cleaned = cleaned._replace(best=best, grid=grid)
        use = cleaned.is_fitted(chunk) & (everyone if number == n_rounds else leaders)
        cleaned, normal = _fit_round(chunk, cleaned, use)
        if cleaned.grid is not None:
            grid = weigh_grid(cleaned.grid, chunk, cleaned.has_stars, normal, cleaned.best)
            cleaned = cleaned._replace(grid=grid)
        # The others are looked at before they join.
        cleaned = _reject(chunk, cleaned, everyone if number >= n_rounds - 1 else leaders, use)
    if cleaned.grid is None:
        return cleaned
    return cleaned._replace(start=cleaned.best)


def _find_leaders(chunk: Chunk) -> np.ndarray:
    """Stars of the first rounds, (p, n) bool: the brightest where there are many."""
    is_star = np.asarray(chunk.stack.is_star)
    if chunk.size.n_candidates < 2 * LEADERS:
        return is_star
    return is_star & (np.arange(is_star.shape[1]) < LEADERS)


def _begin(chunk: Chunk) -> Cleaned:
    """Start values from moments."""
    stack, image = chunk.stack, chunk.stack.image
    stars = start_stars(image.data, image.good, image.sky_adu, stack.offset_px)
    fwhm_px = np.asarray(start_fwhm(image.data, image.good, stars, image.is_reference))
    n_terms = count_terms(chunk.size.degree)
    profile = np.stack([start_profile(chunk.model, width, n_terms) for width in fwhm_px])
    has_pixels = have_enough_pixels(image.good, chunk.settings.clipping)
    start = Parameters(stars, jax.device_put(profile))
    gain, read_noise = np.asarray(image.gain), np.asarray(image.read_noise_electron)
    constant, no_error = read_variance(read_noise, gain), np.zeros(len(gain))
    noise = Noise(image.gain, *jax.device_put((constant, no_error)))
    kept = Kept(image.good, stack.variance, has_pixels, has_pixels, noise)
    around = jax.device_put(np.zeros((*stack.is_star.shape, 2)))
    fewest = np.full(chunk.n_images, chunk.size.n_candidates)
    return Cleaned(start, start, kept, around, fewest, image.data)


def _fit_round(chunk: Chunk, cleaned: Cleaned, use: np.ndarray) -> tuple[Cleaned, NormalEquations]:
    """The best PSF of the stars `use` (p, n) with the present weights, and its normal equations."""
    limits = Limits(PROFILE_STEPS, ROUND_TOLERANCE * chunk.size.n_candidates)
    if cleaned.grid is None:
        chunk = chunk._replace(model=replace(chunk.model, grid=None))
    else:
        limits = limits._replace(niter=GRID_STEPS, damping=NEAR_DAMPING)
    problem = make_problem(chunk, use, cleaned.data(chunk), cleaned.best)
    solution = gauss_newton.minimise_within(problem, limits)
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


def _reject(chunk: Chunk, cleaned: Cleaned, among: np.ndarray, use: np.ndarray) -> Cleaned:
    """New variances, bad pixels and bad stars from the models of some stars, (p, n).

    Those but `use` are fitted anew: the PSF was fitted without them.
    """
    data, batch = cleaned.data(chunk), chunk.settings.batch
    params = local_params(chunk.model, cleaned.best, data)
    rows = list_rows(among & ~use)
    fitted = StarsInPsf(cleaned.best.stars, params)
    found = refit(chunk.model, fitted, data, rows, batch.stars, ROUND_TOLERANCE)
    fitted = fitted._replace(stars=found)
    models = draw(chunk.model, fitted, chunk.size.size_px, batch.stars)
    # The better the model is known, the better what the pocket did to it.
    cleaned = cleaned._replace(freed=free(chunk.stack.image, models))
    image, clipping = cleaned.image(chunk), chunk.settings.clipping
    among_fitted = among & cleaned.is_fitted(chunk)
    # Without the grid: the same compiled code for rounds with it.
    profile = replace(chunk.model, grid=None)
    seen = fitted._replace(params=params[..., : profile.n_params])
    arrays = (image, models, seen, cleaned.kept, among, among_fitted)
    kept, outskirts = reject_all(profile, arrays, clipping, batch.problems)
    seen_around = find_all_around(chunk, fitted.stars, kept, outskirts, among)
    around = np.where(among[..., None], seen_around, np.asarray(cleaned.around))
    best = cleaned.best._replace(stars=fitted.stars)
    return cleaned._replace(best=best, kept=kept, around=jax.device_put(around))
