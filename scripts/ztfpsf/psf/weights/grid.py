"""What the residual grid of each image may depend on, and how strongly it is held."""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from ztfpsf.psf.inputs.stack import Chunk
from ztfpsf.psf.problem.normal import NormalEquations
from ztfpsf.psf.problem.parameters import GridTerms, Parameters
from ztfpsf.psf.profile.field import count_terms, field_basis
from ztfpsf.psf.profile.flux import FluxRange, grid_basis, measure_flux_range
from ztfpsf.psf.profile.grid_modes import count_shapes, make_modes
from ztfpsf.psf.profile.star import FLUX
from ztfpsf.psf.weights.evidence import (
    HELD,
    LARGEST_PRECISION,
    START_PRECISION,
    START_PROFILE_PRECISION,
    update_precision,
    weigh_more,
)

FIRST_DEGREE = 1  # what most images need, and where others begin


class GridSearch(NamedTuple):
    """The grids of p images."""

    terms: GridTerms  # of all stars, leading axis `image`
    degree: int  # of the field polynomial
    flux_ranges: tuple[FluxRange, ...]
    n_effective: np.ndarray  # (p, groups), see ztfpsf.psf.weights.evidence


def begin_grid(chunk: Chunk, use: np.ndarray, best: Parameters) -> tuple[Parameters, GridSearch]:
    """The terms of the grid, which starts from 0 around the best profile alone.

    `use`: (p, n) the stars that are fitted.
    """
    settings = chunk.settings.grid
    degree = min(FIRST_DEGREE, settings.degree)
    flux_adu, basis = np.asarray(best.stars)[..., FLUX], np.asarray(chunk.stack.basis)
    # An image without stars has no fluxes; it fails, and its grid is nobody's.
    use = use | (use.sum(axis=1, keepdims=True) == 0)
    ranges = tuple(measure_flux_range(f[u]) for f, u in zip(flux_adu, use, strict=True))
    terms = np.stack(
        [
            grid_basis(b, f, scale, degree, settings.flux_terms)
            for b, f, scale in zip(basis, flux_adu, ranges, strict=True)
        ]
    )
    modes = np.stack([_make_modes(chunk, i, p) for i, p in enumerate(np.asarray(best.profile))])
    p, n_terms, n_modes = len(terms), terms.shape[2], modes.shape[2]
    groups = _find_groups(chunk, degree, n_modes)
    precision = np.where(groups == HELD, LARGEST_PRECISION, START_PRECISION)
    precision = np.broadcast_to(precision, (p, n_modes, n_terms))
    of_profile = np.full((p, basis.shape[2]), START_PROFILE_PRECISION)
    of_profile[:, 0] = 0.0
    grid = GridTerms(*jax.device_put((terms, modes, precision, of_profile)))
    n_effective = np.zeros((p, groups.max() + 1))
    start = best._replace(grid=jax.device_put(np.zeros((p, n_modes, n_terms))))
    return start, GridSearch(grid, degree, ranges, n_effective)


def widen_grid(
    chunk: Chunk, grid: GridSearch, best: Parameters
) -> tuple[Parameters, GridSearch, np.ndarray]:
    """The grid with the field terms of one degree more, which begin at 0 and without a prior.

    Returns parameters, grid, and which of its coefficients are new, (M, C) bool.
    """
    first, last = count_terms(grid.degree), count_terms(grid.degree + 1)
    terms, new = grid.terms, np.asarray(chunk.stack.basis)[..., first:last]

    def insert(old: Array, more: np.ndarray | float) -> Array:
        place = np.full(last - first, first)
        return jax.device_put(np.insert(np.asarray(old), place, more, axis=-1))

    assert best.grid is not None  # that of the narrower grid
    groups = _find_groups(chunk, grid.degree + 1, best.grid.shape[1])
    is_new = groups == grid.degree + 1
    prior = np.where(groups == HELD, LARGEST_PRECISION, 0.0)[:, first:last]
    wider = terms._replace(basis=insert(terms.basis, new), precision=insert(terms.precision, prior))
    begin = best._replace(grid=insert(best.grid, 0.0))
    n_effective = np.insert(grid.n_effective, grid.degree + 1, 0.0, axis=1)
    search = grid._replace(terms=wider, degree=grid.degree + 1, n_effective=n_effective)
    return begin, search, is_new


def weigh_new_terms(
    grid: GridSearch,
    is_new: np.ndarray,
    has_stars: np.ndarray,
    normal: NormalEquations,
    best: Parameters,
) -> tuple[GridSearch, bool]:
    """Precision of the terms that `widen_grid` added, and whether any image needs them."""
    precision = np.array(grid.terms.precision)
    precision[:, is_new] = LARGEST_PRECISION
    for i in np.flatnonzero(has_stars):
        its, parameters = jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], (normal, best))
        precision[i, is_new] = weigh_more(its, parameters, is_new)
    is_needed = bool((precision[:, is_new] < LARGEST_PRECISION).any())
    return grid._replace(terms=grid.terms._replace(precision=jax.device_put(precision))), is_needed


def _find_groups(chunk: Chunk, degree: int, n_modes: int) -> np.ndarray:
    """The precision that each coefficient of a grid has, (M, C), or HELD.

    The profile has size and ellipticity as functions of the place, and not of flux.
    """
    groups = np.tile(chunk.settings.grid.groups(degree), (n_modes, 1))
    groups[: count_shapes(chunk.model), : count_terms(degree)] = HELD
    return groups


def _make_modes(chunk: Chunk, number: int, coefficients: np.ndarray) -> np.ndarray:
    """Modes of the grid of one image."""
    stamps = chunk.stamps[min(number, len(chunk.stamps) - 1)]
    x_px, y_px = np.array([[0.5 * (stamps.nx - 1)], [0.5 * (stamps.ny - 1)]])
    basis = field_basis(x_px, y_px, stamps.nx, stamps.ny, chunk.size.degree)
    return make_modes(chunk.model, coefficients @ basis[0])


def weigh_grid(
    grid: GridSearch,
    chunk: Chunk,
    has_stars: np.ndarray,
    normal: NormalEquations,
    best: Parameters,
) -> GridSearch:
    """Precision of the terms of grid and profile from the evidence, of the images `has_stars` (p,).

    `normal`: normal equations at `best`.
    """
    precision = np.array(grid.terms.precision)
    groups = _find_groups(chunk, grid.degree, precision.shape[1])
    of_profile = np.array(grid.terms.profile_precision)
    n_effective = np.zeros_like(grid.n_effective)
    for i in np.flatnonzero(has_stars):
        its, parameters, terms = jax.tree.map(
            lambda leaf, i=i: np.asarray(leaf)[i], (normal, best, grid.terms)
        )
        found = update_precision(its, parameters, terms, groups, chunk.model.is_varying)
        precision[i], n_effective[i], of_profile[i] = found
    terms = grid.terms._replace(
        precision=jax.device_put(precision), profile_precision=jax.device_put(of_profile)
    )
    return grid._replace(terms=terms, n_effective=n_effective)
