"""Normal equations of a problem whose stars meet only in the shared shape.

The Gauss-Newton matrix is an arrow: a 4 x 4 block A_i per star, a border B_i (4 x m) and one
corner C (m x m) for the m shape coefficients. Eliminating the stars (Schur complement) leaves an
m x m system, so that one step costs O(pixels) whatever the number of stars, and the same
factors give the covariance of every parameter, marginalised over all others
(Triggs et al. 2000, "Bundle adjustment", section 6).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.grid import REACH, band, dense, get_grid, respond
from ztfpsf.psf.problem import (
    N_STAR_PARAMETERS,
    GridTerms,
    Parameters,
    Stars,
    free_coefficients,
    make_prior,
    prior_chi2,
    star_psf,
    star_shapes,
)


class Normal(NamedTuple):
    """J^T W J and J^T W r in blocks, and chi2."""

    chi2: Array  # ()
    star: Array  # (n, 4, 4)
    border: Array  # (n, 4, m)
    corner: Array  # (m, m)
    star_gradient: Array  # (n, 4)
    shape_gradient: Array  # (m,)


class Step(NamedTuple):
    """Solution of the (damped) normal equations."""

    parameters: Parameters
    chi2_decrease: Array  # (), predicted: gradient . step


class Covariance(NamedTuple):
    """Marginal covariances."""

    star: Array  # (n, 4, 4)
    shape: Array  # (m, m), coefficients in the order of Parameters.shape.ravel()
    star_shape: Array  # (n, 4, m)


class Eliminated(NamedTuple):
    """Normal equations of the shape alone. A star's block is A, its border B."""

    inverse: Array  # (n, 4, 4) A^-1
    border: Array  # (n, 4, m) A^-1 B
    matrix: Array  # (m, m) corner - sum B^T A^-1 B, times `scale` on both sides
    scale: Array  # (m,)


class StarProducts(NamedTuple):
    """Weighted products of the derivatives of one star's pixels."""

    gram: Array  # (4 + K + 1, 4 + K + 1): x, y, flux, background, shape..., residual
    response: Array | None  # (4 + K + 1, G) of the same with the grid's nodes


def star_products(
    model: Any, star: Array, shape: Array, data: Array, weight: Array
) -> StarProducts:
    """The share of one star in the normal equations, but for the grid with itself."""
    size_px = data.shape[-1]
    k = len(model.Shape._fields)

    def psf(position_and_profile: Array) -> tuple[Array, Array]:
        local = jnp.concatenate([position_and_profile[2:], shape[k:]])
        stamp = star_psf(model, position_and_profile[:2], local, size_px)
        return stamp, stamp

    derivative, stamp = jax.jacfwd(psf, has_aux=True)(jnp.concatenate([star[:2], shape[:k]]))
    derivative = star[2] * jnp.moveaxis(derivative, -1, 0)
    images = jnp.concatenate(
        [
            derivative[:2],
            stamp[None],
            jnp.ones_like(stamp)[None],
            derivative[2:],
            (data - star[2] * stamp - star[3])[None],
        ]
    )
    weighted = images * weight
    flat = (len(images), -1)
    gram = weighted.reshape(flat) @ images.reshape(flat).T
    grid = get_grid(model)
    if grid is None:
        return StarProducts(gram, None)
    return StarProducts(gram, respond(grid, star[2] * weighted, star[0], star[1]))


def find_border(model: Any, products: StarProducts, basis: Array, grid: GridTerms | None) -> Array:
    """Products of each star's own parameters with the shape and grid coefficients, (n, 4, m).

    `products` and `basis` (n, B) have the leading axis `star`; `response` is that of the modes.
    """
    s, n = N_STAR_PARAMETERS, len(basis)
    free = free_coefficients(model, basis.shape[1])
    border = jnp.einsum("nsk,nb,kb->nskb", products.gram[:, :s, s:-1], basis, free)
    border = border.reshape(n, s, -1)
    if grid is None:
        return border
    of_grid = jnp.einsum("nsg,nc->nsgc", products.response[:, :s], grid.basis)
    return jnp.concatenate([border, of_grid.reshape(n, s, -1)], axis=2)


def all_products(model: Any, star: Array, shapes: Array, stars: Stars, batch: int) -> StarProducts:
    """StarProducts of all stars, `batch` at a time to stay in cache, with the response of modes."""

    def one(chunk: tuple[Array, ...]) -> StarProducts:
        products = star_products(model, *chunk)
        if stars.grid is None:
            return products
        return products._replace(response=products.response @ stars.grid.modes)

    chunks = (star, shapes, stars.data, stars.weight)
    return jax.lax.map(one, chunks, batch_size=batch)


def normal_equations(model: Any, parameters: Parameters, stars: Stars, batch: int) -> Normal:
    """Normal equations of one problem, priors included."""
    shapes = star_shapes(model, parameters, stars)
    products = all_products(model, parameters.star, shapes, stars, batch)
    gram, basis, size = products.gram, stars.basis, parameters.shape.size
    s = N_STAR_PARAMETERS
    free = free_coefficients(model, basis.shape[1])
    pairs = basis[:, :, None] * basis[:, None, :]
    corner = jnp.einsum("nkl,nbc->kblc", gram[:, s:-1, s:-1], pairs)
    corner = (corner * free[:, :, None, None] * free).reshape(size, size)
    gradient = (jnp.einsum("nk,nb->kb", gram[:, s:-1, -1], basis) * free).ravel()
    if parameters.grid is not None:
        pairs = basis[:, :, None] * stars.grid.basis[:, None, :]
        beside = jnp.einsum("nkg,nbc->kbgc", products.response[:, s:-1], pairs)
        beside = (beside * free[:, :, None, None]).reshape(size, -1)
        of_grid = _grid_corner(model, parameters, stars, batch)
        corner = jnp.block([[corner, beside], [beside.T, of_grid]])
        slope = jnp.einsum("ng,nc->gc", products.response[:, -1], stars.grid.basis)
        gradient = jnp.concatenate([gradient, slope.ravel()])
    prior = make_prior(model, parameters, stars)
    precision = flatten(prior.precision)
    return Normal(
        chi2=jnp.sum(gram[:, -1, -1]) + prior_chi2(parameters, prior),
        star=gram[:, :s, :s],
        border=find_border(model, products, basis, stars.grid),
        corner=corner + jnp.diag(precision),
        star_gradient=gram[:, :s, -1],
        shape_gradient=gradient - precision * (flatten(parameters) - flatten(prior.mean)),
    )


def flatten(parameters: Parameters) -> Array:
    """Shape and grid coefficients in the order of the normal equations, (m,)."""
    if parameters.grid is None:
        return parameters.shape.ravel()
    return jnp.concatenate([parameters.shape.ravel(), parameters.grid.ravel()])


def unflatten(star: Array, coefficients: Array, like: Parameters) -> Parameters:
    """The inverse of `flatten`."""
    shape, grid = jnp.split(coefficients, [like.shape.size])
    return Parameters(
        star,
        shape.reshape(like.shape.shape),
        None if like.grid is None else grid.reshape(like.grid.shape),
    )


def _grid_corner(model: Any, parameters: Parameters, stars: Stars, batch: int) -> Array:
    """Normal matrix of the grid coefficients with themselves, (M C, M C)."""
    grid, terms = get_grid(model), stars.grid
    n, n_terms = terms.basis.shape
    first, second = np.triu_indices(n_terms)

    def add_stars(total: Array, chunk: tuple[Array, Array, Array]) -> tuple[Array, None]:
        star, weight, basis = chunk
        bands = jax.vmap(lambda p, w: band(grid, p[2] ** 2 * w, p[0], p[1]))(star, weight)
        pairs = basis[:, first] * basis[:, second]
        return total + pairs.T @ bands.reshape(len(star), -1), None

    n_chunks = -(-n // batch)

    def chunked(leaf: Array) -> Array:
        filled = jnp.concatenate([leaf, jnp.zeros((n_chunks * batch - n, *leaf.shape[1:]))])
        return filled.reshape(n_chunks, batch, *leaf.shape[1:])

    leaves = tuple(chunked(leaf) for leaf in (parameters.star, stars.weight, terms.basis))
    n_couplings = ((REACH + 1) * grid.width) ** 2
    bands, _ = jax.lax.scan(add_stars, jnp.zeros((len(first), n_couplings)), leaves)
    modes = terms.modes
    pairs = jax.lax.map(lambda nodes: modes.T @ dense(grid, nodes[None])[0] @ modes, bands)
    n_modes = modes.shape[1]
    blocks = jnp.zeros((n_terms, n_terms, n_modes, n_modes))
    blocks = blocks.at[first, second].set(pairs).at[second, first].set(pairs)
    return jnp.transpose(blocks, (2, 0, 3, 1)).reshape(n_modes * n_terms, -1)


def _eliminate(normal: Normal, damping: Array, n_damped: int) -> Eliminated:
    """Take the stars out of the (damped) normal equations.

    Matrices are brought to a unit diagonal before the damping is added; that also protects
    parameters without data (padding, all masked). Coefficients beyond the first `n_damped` are the
    grid's: linear, they need no damping, and with it could not follow the profile.
    """
    star_diagonal = jnp.diagonal(normal.star, axis1=1, axis2=2)
    star_scale = jnp.where(star_diagonal > 0, star_diagonal, 1.0) ** -0.5
    star_unit = jnp.where(star_diagonal > 0, damping, 1.0)
    star = normal.star * star_scale[:, :, None] * star_scale[:, None, :]
    inverse = jnp.linalg.inv(star + jax.vmap(jnp.diag)(star_unit))
    inverse = inverse * star_scale[:, :, None] * star_scale[:, None, :]
    # The border is by far the largest array: it is read as it is, the scales follow below.
    border = inverse @ normal.border
    diagonal = jnp.diagonal(normal.corner)
    scale = jnp.where(diagonal > 0, diagonal, 1.0) ** -0.5
    unit = jnp.where(jnp.arange(len(diagonal)) < n_damped, damping, 0.0)
    matrix = normal.corner - jnp.einsum("nsm,nsp->mp", normal.border, border)
    matrix = matrix * scale[:, None] * scale + jnp.diag(jnp.where(diagonal > 0, unit, 1.0))
    return Eliminated(inverse, border, matrix, scale)


def solve(normal: Normal, damping: Array, like: Parameters) -> Step:
    """Step of Levenberg-Marquardt with Marquardt's scaled damping; damping 0 is Gauss-Newton."""
    inverse, border, matrix, scale = _eliminate(normal, damping, like.shape.size)
    star_step = jnp.einsum("nst,nt->ns", inverse, normal.star_gradient)
    gradient = normal.shape_gradient - jnp.einsum("nsm,ns->m", normal.border, star_step)
    shape_step = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(matrix), gradient * scale)
    shape_step = shape_step * scale
    star_step = star_step - border @ shape_step
    decrease = jnp.sum(star_step * normal.star_gradient) + shape_step @ normal.shape_gradient
    return Step(unflatten(star_step, shape_step, like), decrease)


def covariance(normal: Normal) -> Covariance:
    """Inverse of the normal matrix in blocks."""
    inverse, border, matrix, scale = _eliminate(normal, jnp.zeros(()), 0)
    shape = jnp.linalg.inv(matrix)
    # Coefficients that are held at 0 have no error.
    scale = jnp.where(jnp.diagonal(normal.corner) > 0, scale, 0.0)
    shape = 0.5 * (shape + shape.T) * scale[:, None] * scale
    star_shape = -border @ shape
    return Covariance(inverse - jnp.einsum("nsm,ntm->nst", star_shape, border), shape, star_shape)
