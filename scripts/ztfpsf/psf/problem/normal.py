"""Normal equations of a problem whose stars meet only in the PSF that they share.

The Gauss-Newton matrix is an arrow: a 4 x 4 block A_i per star, a border B_i (4 x m) and one
corner C (m x m) for the m coefficients of profile and grid. ztfpsf.psf.problem.elimination solves
them.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.problem.blocks import map_stars, sum_blocks
from ztfpsf.psf.problem.objective import (
    local_params,
    make_prior,
    prior_chi2,
)
from ztfpsf.psf.problem.parameters import GridTerms, Parameters, Pixels, StarData
from ztfpsf.psf.problem.places import (
    STARS_AT_ONCE,
    Terms,
    join,
    make_terms,
    sum_profile,
    sum_profile_vectors,
)
from ztfpsf.psf.profile.residual_grid import REACH, ResidualGrid, band, project_band, respond
from ztfpsf.psf.profile.star import (
    BACKGROUND,
    FLUX,
    N_STAR_PARAMETERS,
    POSITION,
    X,
    Y,
    differentiate,
)


class NormalEquations(NamedTuple):
    """J^T W J and J^T W r in blocks, and chi2."""

    chi2: Array  # ()
    stars: Array  # (n, 4, 4)
    border: Array  # (n, 4, K + M) with the profile parameters and modes at the place of the star
    terms: Terms  # by which those depend on the coefficients
    corner: Array  # (m, m)
    stars_gradient: Array  # (n, 4)
    coefficients_gradient: Array  # (m,)


class Slopes(NamedTuple):
    """chi2, and J^T W r in blocks."""

    chi2: Array  # ()
    stars_gradient: Array  # (n, 4)
    coefficients_gradient: Array  # (m,)


class StarProducts(NamedTuple):
    """Weighted products of the derivatives of one star's pixels.

    r rows: x, y, flux, background, profile..., residual; or the residual alone.
    """

    gram: Array  # (r, 4 + K + 1)
    response: Array | None  # (r, G) of the same with the grid's nodes


# Compiled within others: so it is traced once for all of them.
@partial(jax.jit, static_argnames=("model", "of_residual"))
def star_products(
    model: PsfModel,
    star: Array,
    params: Array,
    data: Array,
    weight: Array,
    around: Array,
    *,
    of_residual: bool = False,
) -> StarProducts:
    """The share of one star in the normal equations, but for the grid with itself.

    `around`: (2,), the background as one pixel more, that sees nothing else; `of_residual`: the row
    of the residual alone, which the gradient takes.
    """
    size_px = data.shape[-1]
    stamp, derivative = differentiate(model, star[POSITION], params, size_px)
    derivative = star[FLUX] * derivative
    # Written one by one: see ztfpsf.psf.profile.elliptical.
    images = jnp.ones((N_STAR_PARAMETERS + model.n_params + 1, size_px, size_px))
    images = images.at[POSITION].set(derivative[:2]).at[FLUX].set(stamp)
    images = images.at[N_STAR_PARAMETERS:-1].set(derivative[2:])
    images = images.at[-1].set(data - star[FLUX] * stamp - star[BACKGROUND])
    first = -1 if of_residual else 0
    weighted = images[first:] * weight
    # Not as matrices of pixels in a row: a product of those is slow for so few rows.
    gram = jnp.einsum("rij,sij->rs", weighted, images)
    gram += around_products(star, around, len(images))[first:]
    if model.grid is None:
        return StarProducts(gram, None)
    return StarProducts(gram, respond(model.grid, star[FLUX] * weighted, star[X], star[Y]))


def around_products(star: Array, around: Array, size: int) -> Array:
    """Products of the value that the sky around adds, (size, size): it sees the background, fourth,
    and its residual is last.
    """
    sky = jnp.zeros(size).at[BACKGROUND].set(1.0).at[-1].set(around[0] - star[BACKGROUND])
    return around[1] * jnp.outer(sky, sky)


def find_border(products: StarProducts) -> Array:
    """Products of each star's own parameters with the PSF's at its place, (n, 4, K + M).

    `response` is that of the modes.
    """
    s = N_STAR_PARAMETERS
    border = products.gram[:, :s, s:-1]
    if products.response is None:
        return border
    return jnp.concatenate([border, products.response[:, :s]], axis=2)


def all_products(
    model: PsfModel,
    stars: Array,
    params: Array,
    pixels: Pixels,
    modes: Array | None,
    n_used: Array | int,
    batch: int,
    *,
    of_residual: bool = False,
) -> StarProducts:
    """StarProducts of all stars, `batch` at a time to stay in cache.

    The response is that of the modes; `of_residual`: of the nodes, to be summed before.
    """

    def one(*its: Array) -> StarProducts:
        products = star_products(model, *its, of_residual=of_residual)
        if modes is None or products.response is None or of_residual:
            return products
        return products._replace(response=products.response @ modes)

    return map_stars(one, (stars, params, *pixels), n_used, batch)


def normal_equations(
    model: PsfModel, parameters: Parameters, stars: StarData, n_used: Array | int, batch: int
) -> NormalEquations:
    """Normal equations of one problem, priors included.

    Stars from number `n_used` on have no weight.
    """
    params = local_params(model, parameters, stars)
    modes = stars.grid and stars.grid.modes
    products = all_products(model, parameters.stars, params, stars.pixels, modes, n_used, batch)
    return assemble(model, parameters, stars, products, n_used, batch)


def assemble(
    model: PsfModel,
    parameters: Parameters,
    stars: StarData,
    products: StarProducts,
    n_used: Array | int,
    batch: int,
) -> NormalEquations:
    """The same from the products of its stars."""
    gram, s = products.gram, N_STAR_PARAMETERS
    terms = make_terms(model, stars)
    beside, of_grid, slope_of_grid = gram[:, s:-1, s:-1], None, None
    if model.grid is not None and stars.grid is not None and products.response is not None:
        beside = jnp.concatenate([beside, products.response[:, s:-1]], axis=2)
        slope_of_grid = jnp.einsum("ng,nc->gc", products.response[:, -1], stars.grid.basis)
        of_grid = _grid_corner(model.grid, parameters, stars.weight, stars.grid, n_used, batch)
    corner = join(terms, sum_profile(terms, beside), of_grid)
    slopes = _add_prior(model, parameters, stars, gram[:, -1], slope_of_grid)
    precision = make_prior(model, parameters, stars).precision.coefficients()
    return NormalEquations(
        chi2=slopes.chi2,
        stars=gram[:, :s, :s],
        border=find_border(products),
        terms=terms,
        corner=corner + jnp.diag(precision),
        stars_gradient=slopes.stars_gradient,
        coefficients_gradient=slopes.coefficients_gradient,
    )


def assemble_slopes(
    model: PsfModel, parameters: Parameters, stars: StarData, products: StarProducts
) -> Slopes:
    """The same without matrices, from the products of the residuals alone."""
    of_grid = None
    if products.response is not None and stars.grid is not None:
        of_nodes = jnp.einsum("ng,nc->gc", products.response[:, -1], stars.grid.basis)
        of_grid = stars.grid.modes.T @ of_nodes
    return _add_prior(model, parameters, stars, products.gram[:, -1], of_grid)


def _add_prior(
    model: PsfModel,
    parameters: Parameters,
    stars: StarData,
    of_residual: Array,
    of_grid: Array | None,
) -> Slopes:
    """chi2 and gradient, the priors included.

    `of_residual`: (n, 4 + K + 1) last row of the products of the stars; `of_grid`: (M, C).
    """
    s = N_STAR_PARAMETERS
    terms = make_terms(model, stars)
    slope = sum_profile_vectors(terms, of_residual[:, s:-1])
    if of_grid is not None:
        slope = jnp.concatenate([slope, of_grid.ravel()])
    prior = make_prior(model, parameters, stars)
    away = parameters.coefficients() - prior.mean.coefficients()
    chi2 = jnp.sum(of_residual[:, -1]) + prior_chi2(parameters, prior)
    gradient = slope - prior.precision.coefficients() * away
    return Slopes(chi2, of_residual[:, :s], gradient)


def _grid_corner(
    grid: ResidualGrid,
    parameters: Parameters,
    weight: Array,
    terms: GridTerms,
    n_used: Array | int,
    batch: int,
) -> Array:
    """Normal matrix of the modes with themselves for each pair of terms, (pairs, M, M)."""
    first, second = np.triu_indices(terms.basis.shape[1])

    def add_stars(total: Array, stars: Array, weight: Array, basis: Array) -> Array:
        bands = jax.vmap(lambda p, w: band(grid, p[FLUX] ** 2 * w, p[X], p[Y]))(stars, weight)
        pairs = basis[:, first] * basis[:, second]
        return total + pairs.T @ bands.reshape(len(stars), -1)

    bands = jnp.zeros((len(first), ((REACH + 1) * grid.width) ** 2))
    arrays = (parameters.stars, weight, terms.basis)
    bands = sum_blocks(add_stars, bands, arrays, n_used, max(batch, STARS_AT_ONCE))
    return jax.lax.map(lambda nodes: project_band(grid, nodes, terms.modes), bands)
