"""Normal equations of a problem whose stars meet only in the shared shape.

The Gauss-Newton matrix is an arrow: a 4 x 4 block A_i per star, a border B_i (4 x m) and one
corner C (m x m) for the m shape coefficients. Eliminating the stars (Schur complement) leaves an
m x m system, so that one step costs O(pixels) whatever the number of stars, and the same
factors give the covariance of every parameter, marginalised over all others
(Triggs et al. 2000, "Bundle adjustment", section 6).
"""

from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ztfpsf.psf.problem import N_STAR_PARAMETERS, Parameters, Stars, star_psf, star_shapes


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


def star_gram(model: ModuleType, star: Array, shape: Array, data: Array, weight: Array) -> Array:
    """Weighted products of the columns (x, y, flux, background, shape..., residual) of one star."""
    size_px = data.shape[-1]

    def psf(position_and_shape: Array) -> tuple[Array, Array]:
        stamp = star_psf(model, position_and_shape[:2], position_and_shape[2:], size_px)
        return stamp, stamp

    derivative, stamp = jax.jacfwd(psf, has_aux=True)(jnp.concatenate([star[:2], shape]))
    derivative = star[2] * jnp.moveaxis(derivative, -1, 0)
    columns = jnp.concatenate(
        [
            derivative[:2],
            stamp[None],
            jnp.ones_like(stamp)[None],
            derivative[2:],
            (data - star[2] * stamp - star[3])[None],
        ]
    ).reshape(-1, size_px * size_px)
    return (columns * weight.ravel()) @ columns.T


def normal_equations(model: ModuleType, parameters: Parameters, stars: Stars, batch: int) -> Normal:
    """Normal equations of one problem; stars are worked on `batch` at a time to stay in cache."""
    shapes = star_shapes(parameters, stars)
    gram = jax.lax.map(
        lambda star: star_gram(model, *star),
        (parameters.star, shapes, stars.data, stars.weight),
        batch_size=batch,
    )
    n, k = shapes.shape
    s, basis = N_STAR_PARAMETERS, stars.basis
    m = k * basis.shape[1]
    local = gram[:, s : s + k, s : s + k]
    return Normal(
        chi2=jnp.sum(gram[:, -1, -1]),
        star=gram[:, :s, :s],
        border=jnp.einsum("nsk,nb->nskb", gram[:, :s, s : s + k], basis).reshape(n, s, m),
        corner=jnp.einsum("nkl,nb,nc->kblc", local, basis, basis).reshape(m, m),
        star_gradient=gram[:, :s, -1],
        shape_gradient=jnp.einsum("nk,nb->kb", gram[:, s : s + k, -1], basis).ravel(),
    )


def _equilibrate(normal: Normal, damping: Array) -> tuple[Normal, Array, Array]:
    """Unit diagonal plus damping; also protects parameters without data (padding, all masked)."""
    star_diagonal = jnp.diagonal(normal.star, axis1=1, axis2=2)
    shape_diagonal = jnp.diagonal(normal.corner)
    star_scale = jnp.where(star_diagonal > 0, star_diagonal, 1.0) ** -0.5
    shape_scale = jnp.where(shape_diagonal > 0, shape_diagonal, 1.0) ** -0.5
    star_unit = jnp.where(star_diagonal > 0, damping, 1.0)
    shape_unit = jnp.where(shape_diagonal > 0, damping, 1.0)
    star = normal.star * star_scale[:, :, None] * star_scale[:, None, :]
    corner = normal.corner * shape_scale[:, None] * shape_scale[None, :]
    scaled = normal._replace(
        star=star + jax.vmap(jnp.diag)(star_unit),
        border=normal.border * star_scale[:, :, None] * shape_scale,
        corner=corner + jnp.diag(shape_unit),
        star_gradient=normal.star_gradient * star_scale,
        shape_gradient=normal.shape_gradient * shape_scale,
    )
    return scaled, star_scale, shape_scale


def solve(normal: Normal, damping: Array, coefficients_shape: tuple[int, int]) -> Step:
    """Step of Levenberg-Marquardt with Marquardt's scaled damping; damping 0 is Gauss-Newton."""
    scaled, star_scale, shape_scale = _equilibrate(normal, damping)
    right = jnp.concatenate([scaled.border, scaled.star_gradient[..., None]], axis=-1)
    eliminated = jnp.linalg.solve(scaled.star, right)  # A^-1 [B, g]
    schur = scaled.corner - jnp.einsum("nsm,nsp->mp", scaled.border, eliminated[..., :-1])
    gradient = scaled.shape_gradient - jnp.einsum("nsm,ns->m", scaled.border, eliminated[..., -1])
    shape_step = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(schur), gradient)
    star_step = eliminated[..., -1] - eliminated[..., :-1] @ shape_step
    decrease = jnp.sum(star_step * scaled.star_gradient) + shape_step @ scaled.shape_gradient
    return Step(
        Parameters(star_step * star_scale, (shape_step * shape_scale).reshape(coefficients_shape)),
        decrease,
    )


def covariance(normal: Normal) -> Covariance:
    """Inverse of the normal matrix in blocks."""
    scaled, star_scale, shape_scale = _equilibrate(normal, jnp.zeros(()))
    inverse = jnp.linalg.inv(scaled.star)
    eliminated = inverse @ scaled.border
    schur = scaled.corner - jnp.einsum("nsm,nsp->mp", scaled.border, eliminated)
    shape = jnp.linalg.inv(schur)
    shape = 0.5 * (shape + shape.T)
    star_shape = -eliminated @ shape
    star = inverse - jnp.einsum("nsm,ntm->nst", star_shape, eliminated)
    return Covariance(
        star * star_scale[:, :, None] * star_scale[:, None, :],
        shape * shape_scale[:, None] * shape_scale,
        star_shape * star_scale[:, :, None] * shape_scale,
    )
