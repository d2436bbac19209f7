"""Fit of position, flux and background of stars in a PSF that is given.

Used for the stars held back from the PSF fit and for stars that a fit rejected.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ztfpsf.psf import levenberg
from ztfpsf.psf.arrow import all_products, find_border
from ztfpsf.psf.problem import N_STAR_PARAMETERS, Stars, star_model, star_psf

NITER = 50
TOLERANCE = 1e-4


class StarNormal(NamedTuple):
    chi2: Array  # ()
    matrix: Array  # (4, 4)
    gradient: Array  # (4,)


class StarStep(NamedTuple):
    parameters: Array  # (4,)
    chi2_decrease: Array  # ()


def _normal(model: Any, star: Array, shape: Array, data: Array, weight: Array) -> StarNormal:
    size_px = data.shape[-1]

    def psf(position: Array) -> tuple[Array, Array]:
        stamp = star_psf(model, position, shape, size_px)
        return stamp, stamp

    derivative, stamp = jax.jacfwd(psf, has_aux=True)(star[:2])
    columns = jnp.stack(
        [
            star[2] * derivative[..., 0],
            star[2] * derivative[..., 1],
            stamp,
            jnp.ones_like(stamp),
            data - star[2] * stamp - star[3],
        ]
    ).reshape(N_STAR_PARAMETERS + 1, -1)
    gram = (columns * weight.ravel()) @ columns.T
    return StarNormal(gram[-1, -1], gram[:-1, :-1], gram[:-1, -1])


def _solve(normal: StarNormal, damping: Array) -> StarStep:
    diagonal = jnp.diagonal(normal.matrix)
    scale = jnp.where(diagonal > 0, diagonal, 1.0) ** -0.5
    unit = jnp.where(diagonal > 0, damping, 1.0)
    matrix = normal.matrix * scale[:, None] * scale + jnp.diag(unit)
    gradient = normal.gradient * scale
    step = jnp.linalg.solve(matrix, gradient)
    return StarStep(step * scale, step @ gradient)


@partial(jax.jit, static_argnames=("model", "batch"))
def fit_stars(
    model: Any, start: Array, shapes: Array, data: Array, weight: Array, batch: int
) -> Array:
    """Best x, y, flux, background of each star at fixed shape.

    `start`: (n, 4); `shapes`: (n, K + G) at the stars; `data`, `weight`: (n, S, S).
    Returns (n, 4).
    """

    def fit_one(star: tuple[Array, Array, Array, Array]) -> Array:
        first, shape, one_data, one_weight = star
        state = levenberg.minimise(
            lambda parameters: _normal(model, parameters, shape, one_data, one_weight),
            _solve,
            first,
            NITER,
            TOLERANCE,
        )
        return state.parameters

    return jax.lax.map(fit_one, (start, shapes, data, weight), batch_size=batch)


@partial(jax.jit, static_argnames=("model", "batch"))
def star_covariances(
    model: Any, star: Array, shapes: Array, stars: Stars, covariance: Array, batch: int
) -> Array:
    """Covariance of (x, y, flux, background), the PSF's own error included, (n, 4, 4).

    `covariance`: (m, m) of the PSF's coefficients, profile and grid, measured on other stars: the
    two errors are independent and add.
    """
    s = N_STAR_PARAMETERS
    products = all_products(model, star, shapes, stars, batch)
    rows = find_border(model, products, stars.basis, stars.grid)
    gram = products.gram[:, :s, :s]
    diagonal = jnp.diagonal(gram, axis1=1, axis2=2)
    # Singular only without data; such stars are flagged by their number of pixels.
    inverse = jnp.linalg.inv(gram + jax.vmap(jnp.diag)(jnp.where(diagonal > 0, 0.0, 1.0)))
    response = inverse @ rows
    spread = (response.reshape(-1, len(covariance)) @ covariance).reshape(response.shape)
    return inverse + jnp.einsum("nsm,ntm->nst", spread, response)


@partial(jax.jit, static_argnames=("model", "size_px", "batch"))
def draw_stars(model: Any, stars: Array, shapes: Array, size_px: int, batch: int) -> Array:
    """Model stamps in ADU, (n, S, S), from (n, 4) star parameters and (n, K + G) shapes."""
    return jax.lax.map(
        lambda star: star_model(model, *star, size_px), (stars, shapes), batch_size=batch
    )
