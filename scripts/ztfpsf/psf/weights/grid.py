"""What the residual grid of each image may depend on, and how strongly it is held."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ztfpsf.psf.inputs.settings import GridSettings
from ztfpsf.psf.inputs.stack import Chunk
from ztfpsf.psf.problem.normal import NormalEquations
from ztfpsf.psf.problem.parameters import GridTerms, Parameters
from ztfpsf.psf.profile.field import field_basis
from ztfpsf.psf.profile.flux import FluxRange, grid_basis, measure_flux_range
from ztfpsf.psf.profile.grid_modes import make_modes
from ztfpsf.psf.profile.star import FLUX
from ztfpsf.psf.weights.evidence import START_PRECISION, update_precision


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
    p, _, n_terms = terms.shape
    precision = np.full((p, n_terms), START_PRECISION)
    grid = GridTerms(jnp.asarray(terms), jnp.asarray(modes), jnp.asarray(precision))
    n_effective = np.zeros((p, settings.groups.max() + 1))
    start = best._replace(grid=jnp.zeros((p, modes.shape[2], n_terms)))
    return start, GridSearch(grid, ranges, n_effective)


def _make_modes(chunk: Chunk, number: int, coefficients: np.ndarray) -> np.ndarray:
    """Modes of the grid of one image."""
    stamps = chunk.stamps[min(number, len(chunk.stamps) - 1)]
    x_px, y_px = np.array([[0.5 * (stamps.nx - 1)], [0.5 * (stamps.ny - 1)]])
    basis = field_basis(x_px, y_px, stamps.nx, stamps.ny, chunk.size.degree)
    return make_modes(chunk.model, coefficients @ basis[0])


def weigh_grid(
    grid: GridSearch,
    settings: GridSettings,
    has_stars: np.ndarray,
    normal: NormalEquations,
    best: Parameters,
) -> GridSearch:
    """Precision of the grid's terms from the evidence, of the images `has_stars` (p,).

    `normal`: normal equations at `best`.
    """
    precision = np.array(grid.terms.precision)
    n_effective = np.zeros_like(grid.n_effective)
    for i in np.flatnonzero(has_stars):
        its, parameters = jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), (normal, best))
        found = update_precision(its, parameters, precision[i], settings.groups)
        precision[i], n_effective[i] = found
    terms = grid.terms._replace(precision=jnp.asarray(precision))
    return grid._replace(terms=terms, n_effective=n_effective)
