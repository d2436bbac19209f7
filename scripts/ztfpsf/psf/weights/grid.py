"""What the residual grid of each image may depend on, and how strongly it is held."""

from typing import NamedTuple

import jax
import numpy as np

from ztfpsf.psf.inputs.stack import Chunk
from ztfpsf.psf.problem.normal import NormalEquations
from ztfpsf.psf.problem.parameters import GridTerms, Parameters
from ztfpsf.psf.profile.field import count_terms, field_basis, list_degrees
from ztfpsf.psf.profile.flux import FluxRange, grid_basis, measure_flux_range
from ztfpsf.psf.profile.grid_modes import count_shapes, make_modes
from ztfpsf.psf.profile.star import FLUX
from ztfpsf.psf.weights.evidence import (
    HELD,
    LARGEST_PRECISION,
    START_PRECISION,
    START_PROFILE_PRECISION,
    update_precision,
)

FIRST_DEGREE = 1  # of the field polynomial: what most images need, and where all begin


class GridSearch(NamedTuple):
    """The grids of p images."""

    terms: GridTerms  # of all stars, leading axis `image`
    flux_ranges: tuple[FluxRange, ...]
    n_effective: np.ndarray  # (p, groups), see ztfpsf.psf.weights.evidence


def begin_grid(chunk: Chunk, use: np.ndarray, best: Parameters) -> tuple[Parameters, GridSearch]:
    """The terms of the grid, which starts from 0 around the best profile alone.

    `use`: (p, n) the stars that are fitted.
    """
    settings = chunk.settings.grid
    flux_adu, basis = np.asarray(best.stars)[..., FLUX], np.asarray(chunk.stack.basis)
    # An image without stars has no fluxes; it fails, and its grid is nobody's.
    use = use | (use.sum(axis=1, keepdims=True) == 0)
    ranges = tuple(measure_flux_range(f[u]) for f, u in zip(flux_adu, use, strict=True))
    terms = np.stack(
        [
            grid_basis(b, f, scale, settings.degree, settings.flux_terms)
            for b, f, scale in zip(basis, flux_adu, ranges, strict=True)
        ]
    )
    modes = np.stack([_make_modes(chunk, i, p) for i, p in enumerate(np.asarray(best.profile))])
    p, n_terms, n_modes = len(terms), terms.shape[2], modes.shape[2]
    groups = _find_groups(chunk, n_modes)
    # The first groups are those of the degrees.
    is_out = (groups == HELD) | ((groups > FIRST_DEGREE) & (groups <= settings.degree))
    precision = np.where(is_out, LARGEST_PRECISION, START_PRECISION)
    precision = np.broadcast_to(precision, (p, n_modes, n_terms))
    of_profile = np.full((p, basis.shape[2]), START_PROFILE_PRECISION)
    of_profile[:, 0] = 0.0
    grid = GridTerms(*jax.device_put((terms, modes, precision, of_profile)))
    n_effective = np.zeros((p, groups.max() + 1))
    start = best._replace(grid=jax.device_put(np.zeros((p, n_modes, n_terms))))
    return start, GridSearch(grid, ranges, n_effective)


def find_degree(grid: GridSearch, number: int, highest: int) -> int:
    """Degree of the field polynomial that the grid of an image has, of `highest` at most."""
    # The last mode is none of size and ellipticity, which are held whatever the degree.
    precision = np.asarray(grid.terms.precision)[number, -1, : count_terms(highest)]
    is_in = precision < LARGEST_PRECISION
    return max(
        (d for d, there in zip(list_degrees(highest), is_in, strict=True) if there), default=0
    )


def _find_groups(chunk: Chunk, n_modes: int) -> np.ndarray:
    """The precision that each coefficient of a grid has, (M, C), or HELD.

    The profile has size and ellipticity as functions of the place, and not of flux.
    """
    settings = chunk.settings.grid
    groups = np.tile(settings.groups(), (n_modes, 1))
    groups[: count_shapes(chunk.model), : count_terms(settings.degree)] = HELD
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
    groups = _find_groups(chunk, precision.shape[1])
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
