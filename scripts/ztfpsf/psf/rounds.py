"""Weights and rejections of the images of a chunk: rounds of Gauss-Newton.

Each round fits the shape with the present weights, and looks at all stars in it
(ztfpsf.psf.rejection). A profile alone finds what is not a star; then its grid, if the model has
one, looks closer, and the evidence decides how strongly it is held.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.arrow import Normal
from ztfpsf.psf.chunk import Chunk, draw, list_rows, local_shapes, make_problem, refit
from ztfpsf.psf.evidence import START_PRECISION, update_precision
from ztfpsf.psf.flux import FluxRange, grid_basis, measure_flux_range
from ztfpsf.psf.grid import get_base, get_grid, make_modes
from ztfpsf.psf.optimisers import gauss_newton
from ztfpsf.psf.problem import (
    GridTerms,
    Parameters,
    count_terms,
    field_basis,
)
from ztfpsf.psf.rejection import Clipping, Image, Kept, has_enough_pixels, reject
from ztfpsf.psf.start import start_fwhm, start_shape, start_stars

FEWEST_STARS = 3
PROFILE_STEPS = 8  # of a round; most need a few
GRID_STEPS = 4  # the final fit has as many as it needs
ROUND_TOLERANCE = 0.1  # of chi2 per star, when a round ends
GRID_ROUNDS = 2


class Cleaned(NamedTuple):
    """Weights and rejections, found once and then fixed for every optimiser. p images."""

    start: Parameters  # all stars, from moments
    best: Parameters  # of the last round, all stars
    kept: Kept  # leading axis `image`
    fewest: np.ndarray  # (p,) smallest number of stars that a round fitted
    grid: GridTerms | None = None  # of all stars
    flux_ranges: tuple[FluxRange, ...] = ()
    n_effective: np.ndarray | None = None  # (p, groups), see ztfpsf.psf.evidence

    @property
    def weight(self) -> Array:
        """(p, n, S, S) 1/ADU^2"""
        return self.kept.good / self.kept.variance

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
    chunk = chunk._replace(settings=chunk.settings._replace(shape="field"))
    profile = chunk._replace(model=get_base(chunk.model))
    cleaned = _begin(chunk)
    for _ in range(chunk.settings.clipping.rounds):
        cleaned = _reject(profile, _fit_round(profile, cleaned)[0])
    if get_grid(chunk.model) is None:
        return cleaned
    cleaned = _begin_grid(chunk, cleaned)
    for _ in range(GRID_ROUNDS):
        cleaned, normal = _fit_round(chunk, cleaned)
        cleaned = _reject(chunk, _weigh_grid(chunk, cleaned, normal))
    return cleaned._replace(start=cleaned.best)


def _begin(chunk: Chunk) -> Cleaned:
    """Start values from moments."""
    stack, image = chunk.stack, chunk.stack.image
    star = start_stars(image.data, image.good, image.sky_adu, stack.position_px)
    fwhm_px = np.asarray(start_fwhm(image.data, image.good, star, image.is_reference))
    n_terms = count_terms(chunk.degree)
    shape = jnp.stack([start_shape(chunk.model, width, n_terms) for width in fwhm_px])
    has_pixels = jax.vmap(has_enough_pixels, (0, None))(image.good, chunk.settings.clipping)
    start = Parameters(star, shape)
    kept = Kept(image.good, stack.variance, has_pixels, has_pixels)
    return Cleaned(start, start, kept, np.full(chunk.n_images, chunk.size.n_candidates))


def _fit_round(chunk: Chunk, cleaned: Cleaned) -> tuple[Cleaned, Normal]:
    """The best shape (and grid) with the present weights, and the normal equations there."""
    use = cleaned.is_fitted(chunk)
    problem = make_problem(chunk, use, cleaned.weight, cleaned.best, cleaned.grid)
    steps = PROFILE_STEPS if cleaned.grid is None else GRID_STEPS
    # The size of the chunk, not the number of stars: compiled once for all images of it.
    options = gauss_newton.Options(steps, ROUND_TOLERANCE * chunk.size.n_candidates)
    solution = gauss_newton.solve(problem, options)
    found = solution.parameters
    star = _replace_used(cleaned.best.star, cleaned.start.star, found.star, use)
    fewest = np.minimum(cleaned.fewest, use.sum(axis=1))
    return cleaned._replace(best=found._replace(star=star), fewest=fewest), solution.normal


@jax.jit
def _replace_used(star: Array, start: Array, found: Array, use: Array) -> Array:
    """Fitted stars as found; a star whose own fit ran away begins again."""
    n = found.shape[1]
    star = star.at[:, :n].set(jnp.where(use[:, :n, None], found, star[:, :n]))
    return jnp.where(jnp.isfinite(star).all(axis=-1, keepdims=True), star, start)


def _reject(chunk: Chunk, cleaned: Cleaned) -> Cleaned:
    """New variances, bad pixels and bad stars from the models of all stars."""
    shapes = local_shapes(chunk.model, chunk.stack, cleaned.best, cleaned.grid)
    rows = list_rows(np.asarray(chunk.stack.is_star) & ~cleaned.is_fitted(chunk))
    batch, model, size_px = chunk.settings.batch, chunk.model, chunk.size.size_px
    star = refit(model, chunk.stack, cleaned.best.star, shapes, cleaned.weight, rows, batch.stars)
    models = draw(model, star, shapes, size_px, batch.stars)
    kept = _reject_all(chunk.stack.image, models, star, chunk.settings.clipping, batch.problems)
    return cleaned._replace(best=cleaned.best._replace(star=star), kept=kept)


@partial(jax.jit, static_argnames=("clipping", "problems"))
def _reject_all(
    image: Image, models: Array, star: Array, clipping: Clipping, problems: int
) -> Kept:
    return jax.lax.map(
        lambda one: reject(*one, clipping), (image, models, star), batch_size=problems
    )


def _begin_grid(chunk: Chunk, cleaned: Cleaned) -> Cleaned:
    """The terms of the grid, which starts from 0 around the best profile alone."""
    settings = chunk.settings.grid
    use, star, basis = (
        np.asarray(array)
        for array in (cleaned.is_fitted(chunk), cleaned.best.star, chunk.stack.basis)
    )
    # An image without stars has no fluxes; it fails, and its grid is nobody's.
    use = use | (use.sum(axis=1, keepdims=True) == 0)
    ranges = tuple(measure_flux_range(s[u, 2]) for s, u in zip(star, use, strict=True))
    terms = np.stack(
        [
            grid_basis(b, s[:, 2], scale, settings.degree, settings.flux_terms)
            for b, s, scale in zip(basis, star, ranges, strict=True)
        ]
    )
    modes = np.stack(
        [_make_modes(chunk, i, np.asarray(cleaned.best.shape[i])) for i in range(len(star))]
    )
    p, _, n_terms = terms.shape
    grid = GridTerms(terms, modes, np.full((p, n_terms), START_PRECISION))
    none = jnp.zeros((p, modes.shape[2], n_terms))
    start = cleaned.best._replace(grid=none)
    return cleaned._replace(
        start=start,
        best=start,
        grid=jax.tree.map(jnp.asarray, grid),
        flux_ranges=ranges,
    )


def _make_modes(chunk: Chunk, number: int, coefficients: np.ndarray) -> np.ndarray:
    """Modes of the grid of one image."""
    stamps = chunk.stamps[min(number, len(chunk.stamps) - 1)]
    middle = ([0.5 * (stamps.nx - 1)], [0.5 * (stamps.ny - 1)])
    centre = coefficients @ field_basis(*middle, stamps.nx, stamps.ny, chunk.degree)[0]
    return make_modes(chunk.model, centre)


def _weigh_grid(chunk: Chunk, cleaned: Cleaned, normal: Normal) -> Cleaned:
    """Precision of the grid's terms, from the evidence."""
    groups = chunk.settings.grid.groups
    precision = np.array(cleaned.grid.precision)
    n_effective = np.zeros((len(precision), groups.max() + 1))
    for i, fewest in enumerate(cleaned.fewest):
        # A failed image has no evidence.
        if fewest >= FEWEST_STARS:
            its, best = jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), (normal, cleaned.best))
            found = update_precision(its, best, precision[i], groups)
            precision[i], n_effective[i] = found
    grid = cleaned.grid._replace(precision=jnp.asarray(precision))
    return cleaned._replace(grid=grid, n_effective=n_effective)
