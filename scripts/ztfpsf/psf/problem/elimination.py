"""Solution of the normal equations by elimination of the stars.

The Schur complement of the stars' blocks leaves an m x m system for the coefficients, so that one
step costs O(pixels) whatever the number of stars, and the same factors give the covariance of
every parameter, marginalised over all others (Triggs et al. 2000, "Bundle adjustment", section 6).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.problem.normal import NormalEquations
from ztfpsf.psf.problem.parameters import Parameters
from ztfpsf.psf.problem.places import see, see_matrix, sum_products, sum_vectors


class Factors(NamedTuple):
    """What a step takes of the (damped) matrices, whatever the gradient."""

    inverse: Array  # (n, 4, 4) A^-1 of each star
    border: Array  # (n, 4, K + M) A^-1 B
    scale: Array  # (m,)
    cholesky: Array  # (m, m) of the matrix of the coefficients, times `scale` on both sides


class Step(NamedTuple):
    """Solution of the (damped) normal equations."""

    parameters: Parameters
    chi2_decrease: Array  # (), predicted: gradient . step
    factors: Factors


class Covariance(NamedTuple):
    """Marginal covariances."""

    stars: Array  # (n, 4, 4)
    coefficients: Array  # (m, m), in the order of Parameters.coefficients


class Eliminated(NamedTuple):
    """Normal equations of the coefficients alone. A star's block is A, its border B."""

    inverse: Array  # (n, 4, 4) A^-1
    border: Array  # (n, 4, K + M) A^-1 B
    matrix: Array  # (m, m) corner - sum B^T A^-1 B, times `scale` on both sides
    scale: Array  # (m,)


def _eliminate(normal: NormalEquations, damping: Array, n_damped: int) -> Eliminated:
    """Take the stars out of the (damped) normal equations.

    Matrices are brought to a unit diagonal before the damping is added; that also protects
    parameters without data (padding, all masked). Coefficients beyond the first `n_damped` are the
    grid's: linear, they need no damping, and with it could not follow the profile.
    """
    star_diagonal = jnp.diagonal(normal.stars, axis1=1, axis2=2)
    star_scale = jnp.where(star_diagonal > 0, star_diagonal, 1.0) ** -0.5
    star_unit = jnp.where(star_diagonal > 0, damping, 1.0)
    star = normal.stars * star_scale[:, :, None] * star_scale[:, None, :]
    inverse = jnp.linalg.inv(star + jax.vmap(jnp.diag)(star_unit))
    inverse = inverse * star_scale[:, :, None] * star_scale[:, None, :]
    border = inverse @ normal.border
    diagonal = jnp.diagonal(normal.corner)
    scale = jnp.where(diagonal > 0, diagonal, 1.0) ** -0.5
    unit = jnp.where(jnp.arange(len(diagonal)) < n_damped, damping, 0.0)
    matrix = normal.corner - sum_products(normal.terms, normal.border, border)
    matrix = matrix * scale[:, None] * scale + jnp.diag(jnp.where(diagonal > 0, unit, 1.0))
    return Eliminated(inverse, border, matrix, scale)


def solve(normal: NormalEquations, damping: Array, like: Parameters) -> Step:
    """Step of Levenberg-Marquardt with Marquardt's scaled damping; damping 0 is Gauss-Newton.

    `like`: parameters of the sizes of the step.
    """
    inverse, border, matrix, scale = _eliminate(normal, damping, like.profile.size)
    cholesky, _ = jax.scipy.linalg.cho_factor(matrix, lower=True)
    return solve_again(Factors(inverse, border, scale, cholesky), normal, like)


def make_any_step(normal: NormalEquations, like: Parameters) -> Step:
    """A step of any values, of the sizes of theirs; leading axis `problem`."""
    factors = Factors(normal.stars, normal.border, normal.coefficients_gradient, normal.corner)
    return Step(like, jax.device_put(np.ones(normal.chi2.shape)), factors)


def solve_again(factors: Factors, normal: NormalEquations, like: Parameters) -> Step:
    """The step by the gradient of `normal`, with the matrices that `factors` are of."""
    inverse, border, scale, cholesky = factors
    star_step = jnp.einsum("nst,nt->ns", inverse, normal.stars_gradient)
    gradient = _gradient(normal, border)
    step = jax.scipy.linalg.cho_solve((cholesky, True), gradient * scale) * scale
    star_step = star_step - jnp.einsum("nsl,nl->ns", border, see(normal.terms, step))
    decrease = jnp.sum(star_step * normal.stars_gradient) + step @ normal.coefficients_gradient
    return Step(like.replace_all(star_step, step), decrease, factors)


def _gradient(normal: NormalEquations, border: Array) -> Array:
    """That of the coefficients with the stars eliminated, (m,). `border`: A^-1 B."""
    of_stars = jnp.einsum("nsl,ns->nl", border, normal.stars_gradient)
    return normal.coefficients_gradient - sum_vectors(normal.terms, of_stars)


@jax.jit
def marginalise(normal: NormalEquations) -> tuple[Array, Array]:
    """Normal matrix (m, m) and gradient (m,) of the coefficients with the stars eliminated.

    A coefficient that is held has no data; its diagonal element is 1.
    """
    _, border, matrix, scale = _eliminate(normal, jnp.zeros(()), 0)
    return matrix / (scale[:, None] * scale), _gradient(normal, border)


def covariance(normal: NormalEquations) -> tuple[Covariance, Array]:
    """Inverse of the normal matrix in blocks, and the decrease of chi2 that a step predicts."""
    inverse, border, matrix, scale = _eliminate(normal, jnp.zeros(()), 0)
    coefficients = jnp.linalg.inv(matrix)
    # Coefficients that are held at 0 have no error.
    scale = jnp.where(jnp.diagonal(normal.corner) > 0, scale, 0.0)
    coefficients = 0.5 * (coefficients + coefficients.T) * scale[:, None] * scale
    of_stars = inverse + see_matrix(normal.terms, coefficients, border)
    gradient, slopes = _gradient(normal, border), normal.stars_gradient
    decrease = gradient @ coefficients @ gradient
    decrease += jnp.einsum("ns,nst,nt->", slopes, inverse, slopes)
    return Covariance(of_stars, coefficients), decrease
