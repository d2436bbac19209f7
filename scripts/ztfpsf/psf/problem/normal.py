"""Normal equations of a problem whose stars meet only in the PSF that they share.

The Gauss-Newton matrix is an arrow: a 4 x 4 block A_i per star, a border B_i (4 x m) and one
corner C (m x m) for the m coefficients of profile and grid. ztfpsf.psf.problem.elimination solves
them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.problem.objective import (
    free_coefficients,
    local_params,
    make_prior,
    prior_chi2,
)
from ztfpsf.psf.problem.parameters import GridTerms, Parameters, StarData
from ztfpsf.psf.profile.residual_grid import REACH, ResidualGrid, band, respond, times_band
from ztfpsf.psf.profile.star import (
    BACKGROUND,
    FLUX,
    N_STAR_PARAMETERS,
    POSITION,
    X,
    Y,
    star_psf,
)


class NormalEquations(NamedTuple):
    """J^T W J and J^T W r in blocks, and chi2."""

    chi2: Array  # ()
    stars: Array  # (n, 4, 4)
    border: Array  # (n, 4, m)
    corner: Array  # (m, m)
    stars_gradient: Array  # (n, 4)
    coefficients_gradient: Array  # (m,)


class StarProducts(NamedTuple):
    """Weighted products of the derivatives of one star's pixels."""

    gram: Array  # (4 + K + 1, 4 + K + 1): x, y, flux, background, profile..., residual
    response: Array | None  # (4 + K + 1, G) of the same with the grid's nodes


def star_products(
    model: PsfModel, star: Array, params: Array, data: Array, weight: Array, around: Array
) -> StarProducts:
    """The share of one star in the normal equations, but for the grid with itself.

    `around`: (2,), the background as one pixel more, that sees nothing else.
    """
    size_px = data.shape[-1]
    k = model.n_params

    def psf(position_and_profile: Array) -> tuple[Array, Array]:
        local = jnp.concatenate([position_and_profile[2:], params[k:]])
        stamp = star_psf(model, position_and_profile[:2], local, size_px)
        return stamp, stamp

    at = jnp.concatenate([star[POSITION], params[:k]])
    derivative, stamp = jax.jacfwd(psf, has_aux=True)(at)
    derivative = star[FLUX] * jnp.moveaxis(derivative, -1, 0)
    images = jnp.concatenate(
        [
            derivative[:2],
            stamp[None],
            jnp.ones_like(stamp)[None],
            derivative[2:],
            (data - star[FLUX] * stamp - star[BACKGROUND])[None],
        ]
    )
    weighted = images * weight
    flat = (len(images), -1)
    gram = weighted.reshape(flat) @ images.reshape(flat).T
    sky = jnp.zeros(len(images)).at[BACKGROUND].set(1.0).at[-1].set(around[0] - star[BACKGROUND])
    gram += around[1] * jnp.outer(sky, sky)
    if model.grid is None:
        return StarProducts(gram, None)
    return StarProducts(gram, respond(model.grid, star[FLUX] * weighted, star[X], star[Y]))


def find_border(
    model: PsfModel, products: StarProducts, basis: Array, grid: GridTerms | None
) -> Array:
    """Products of each star's own parameters with the coefficients of profile and grid, (n, 4, m).

    `products` and `basis` (n, B) have the leading axis `star`; `response` is that of the modes.
    """
    s, n = N_STAR_PARAMETERS, len(basis)
    free = free_coefficients(model, basis.shape[1])
    border = jnp.einsum("nsk,nb,kb->nskb", products.gram[:, :s, s:-1], basis, free)
    border = border.reshape(n, s, -1)
    if grid is None or products.response is None:
        return border
    of_grid = jnp.einsum("nsg,nc->nsgc", products.response[:, :s], grid.basis)
    return jnp.concatenate([border, of_grid.reshape(n, s, -1)], axis=2)


def all_products(
    model: PsfModel, stars: Array, params: Array, data: StarData, batch: int
) -> StarProducts:
    """StarProducts of all stars, `batch` at a time to stay in cache, with the response of modes."""

    def one(chunk: tuple[Array, ...]) -> StarProducts:
        products = star_products(model, *chunk)
        if data.grid is None or products.response is None:
            return products
        return products._replace(response=products.response @ data.grid.modes)

    arrays = (stars, params, data.data, data.weight, data.around)
    return jax.lax.map(one, arrays, batch_size=batch)


def normal_equations(
    model: PsfModel, parameters: Parameters, stars: StarData, batch: int
) -> NormalEquations:
    """Normal equations of one problem, priors included."""
    params = local_params(model, parameters, stars)
    products = all_products(model, parameters.stars, params, stars, batch)
    gram, basis, size = products.gram, stars.basis, parameters.profile.size
    s = N_STAR_PARAMETERS
    free = free_coefficients(model, basis.shape[1])
    pairs = basis[:, :, None] * basis[:, None, :]
    corner = jnp.einsum("nkl,nbc->kblc", gram[:, s:-1, s:-1], pairs)
    corner = (corner * free[:, :, None, None] * free).reshape(size, size)
    gradient = (jnp.einsum("nk,nb->kb", gram[:, s:-1, -1], basis) * free).ravel()
    if model.grid is not None and stars.grid is not None and products.response is not None:
        pairs = basis[:, :, None] * stars.grid.basis[:, None, :]
        beside = jnp.einsum("nkg,nbc->kbgc", products.response[:, s:-1], pairs)
        beside = (beside * free[:, :, None, None]).reshape(size, -1)
        of_grid = _grid_corner(model.grid, parameters, stars.weight, stars.grid, batch)
        corner = jnp.block([[corner, beside], [beside.T, of_grid]])
        slope = jnp.einsum("ng,nc->gc", products.response[:, -1], stars.grid.basis)
        gradient = jnp.concatenate([gradient, slope.ravel()])
    prior = make_prior(model, parameters, stars)
    precision = prior.precision.coefficients()
    away = parameters.coefficients() - prior.mean.coefficients()
    return NormalEquations(
        chi2=jnp.sum(gram[:, -1, -1]) + prior_chi2(parameters, prior),
        stars=gram[:, :s, :s],
        border=find_border(model, products, basis, stars.grid),
        corner=corner + jnp.diag(precision),
        stars_gradient=gram[:, :s, -1],
        coefficients_gradient=gradient - precision * away,
    )


def _grid_corner(
    grid: ResidualGrid, parameters: Parameters, weight: Array, terms: GridTerms, batch: int
) -> Array:
    """Normal matrix of the grid coefficients with themselves, (M C, M C)."""
    n, n_terms = terms.basis.shape
    first, second = np.triu_indices(n_terms)

    def add_stars(total: Array, chunk: tuple[Array, ...]) -> tuple[Array, None]:
        stars, weight, basis = chunk
        bands = jax.vmap(lambda p, w: band(grid, p[FLUX] ** 2 * w, p[X], p[Y]))(stars, weight)
        pairs = basis[:, first] * basis[:, second]
        return total + pairs.T @ bands.reshape(len(stars), -1), None

    n_chunks = -(-n // batch)

    def chunked(leaf: Array) -> Array:
        filled = jnp.concatenate([leaf, jnp.zeros((n_chunks * batch - n, *leaf.shape[1:]))])
        return filled.reshape(n_chunks, batch, *leaf.shape[1:])

    leaves = tuple(chunked(leaf) for leaf in (parameters.stars, weight, terms.basis))
    n_couplings = ((REACH + 1) * grid.width) ** 2
    bands, _ = jax.lax.scan(add_stars, jnp.zeros((len(first), n_couplings)), leaves)
    modes = terms.modes
    pairs = jax.lax.map(lambda nodes: modes.T @ times_band(grid, nodes, modes), bands)
    n_modes = modes.shape[1]
    blocks = jnp.zeros((n_terms, n_terms, n_modes, n_modes))
    blocks = blocks.at[first, second].set(pairs).at[second, first].set(pairs)
    return jnp.transpose(blocks, (2, 0, 3, 1)).reshape(n_modes * n_terms, -1)
