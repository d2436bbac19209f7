"""Position, flux and background of stars in a PSF that is given.

Used for the stars held back from the PSF fit and for stars that a fit rejected.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.problem.blocks import map_batched
from ztfpsf.psf.problem.levenberg_marquardt import NEAR_DAMPING, Limits, minimise
from ztfpsf.psf.problem.normal import StarProducts, around_products, find_border
from ztfpsf.psf.problem.places import Terms, see_matrix
from ztfpsf.psf.profile.star import (
    BACKGROUND,
    FLUX,
    N_STAR_PARAMETERS,
    POSITION,
    star_model,
    star_psf,
)

NITER = 50
TOLERANCE = 1e-4  # of chi2: a hundredth of the error of a parameter


class StarsInPsf(NamedTuple):
    """n stars, and the PSF at each of them."""

    stars: Array  # (n, 4)
    params: Array  # (n, K + G) profile parameters and nodes of the grid


class StarNormal(NamedTuple):
    """Normal equations of one star."""

    chi2: Array  # ()
    matrix: Array  # (4, 4)
    gradient: Array  # (4,)


class StarStep(NamedTuple):
    """Their solution."""

    parameters: Array  # (4,)
    chi2_decrease: Array  # ()


# Compiled within others: so it is traced once for all of them.
@partial(jax.jit, static_argnames=("model", "size_px"))
def _columns(model: PsfModel, star: Array, params: Array, size_px: int) -> tuple[Array, Array]:
    """Derivatives of the model by x, y, flux and background, (4, S, S), and its light (S, S)."""

    def psf(offset_px: Array) -> tuple[Array, Array]:
        stamp = star_psf(model, offset_px, params, size_px)
        return stamp, stamp

    derivative, stamp = jax.jacfwd(psf, has_aux=True)(star[POSITION])
    by_position = star[FLUX] * jnp.moveaxis(derivative, -1, 0)
    return jnp.stack([*by_position, stamp, jnp.ones_like(stamp)]), star[FLUX] * stamp


def _normal(
    model: PsfModel, star: Array, params: Array, data: Array, weight: Array, around: Array
) -> StarNormal:
    columns, light = _columns(model, star, params, data.shape[-1])
    images = jnp.concatenate([columns, (data - light - star[BACKGROUND])[None]])
    gram = jnp.einsum("rij,sij->rs", images * weight, images)
    gram += around_products(star, around, len(images))
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
    model: PsfModel,
    start: StarsInPsf,
    data: Array,
    weight: Array,
    around: Array,
    batch: int,
    tolerance: Array | float = TOLERANCE,
) -> Array:
    """Best x, y, flux, background of each star in its PSF, (n, 4).

    `data`, `weight`: (n, S, S) ADU and 1/ADU^2; `around`: (n, 2), see StarData; `tolerance`: of
    chi2.
    """

    def fit_one(one: tuple[StarsInPsf, Array, Array, Array]) -> Array:
        (star, params), *its_data = one
        state = minimise(
            lambda parameters: _normal(model, parameters, params, *its_data),
            _solve,
            star,
            Limits(NITER, tolerance, NEAR_DAMPING),
            NITER,
        )
        return state.parameters

    return map_batched(fit_one, (start, data, weight, around), batch)


def star_covariances(products: StarProducts, terms: Terms, covariance: Array) -> Array:
    """Covariance of (x, y, flux, background), the PSF's own error included, (n, 4, 4).

    `covariance`: (m, m) of the PSF's coefficients, profile and grid, measured on other stars: the
    two errors are independent and add.
    """
    gram = products.gram[:, :N_STAR_PARAMETERS, :N_STAR_PARAMETERS]
    diagonal = jnp.diagonal(gram, axis1=1, axis2=2)
    # Singular only without data; such stars are flagged by their number of pixels.
    inverse = jnp.linalg.inv(gram + jax.vmap(jnp.diag)(jnp.where(diagonal > 0, 0.0, 1.0)))
    response = inverse @ find_border(products)
    return inverse + see_matrix(terms, covariance, response)


@partial(jax.jit, static_argnames=("model", "batch"))
def own_covariances(
    model: PsfModel,
    fitted: StarsInPsf,
    weight: Array,
    around: Array,
    model_error: Array,
    batch: int,
) -> tuple[Array, Array]:
    """Covariances (n, 4, 4) of stars in a PSF: by the noise of their pixels, and by its error.

    The second is that of an error of `model_error` times the star's light in each pixel, one pixel
    and one star independent of the other: the PSF errs by where in its pixel a star falls.
    """

    def one(its: tuple[StarsInPsf, Array, Array]) -> tuple[Array, Array]:
        (star, params), its_weight, its_around = its
        columns, light = _columns(model, star, params, its_weight.shape[-1])
        gram = jnp.einsum("rij,sij->rs", columns * its_weight, columns)
        gram = gram.at[BACKGROUND, BACKGROUND].add(its_around[1])
        inverse = jnp.linalg.inv(gram + jnp.diag(jnp.where(jnp.diagonal(gram) > 0, 0.0, 1.0)))
        error = columns * (its_weight * model_error * light)
        return inverse, inverse @ jnp.einsum("rij,sij->rs", error, error) @ inverse

    return map_batched(one, (fitted, weight, around), batch)


@partial(jax.jit, static_argnames=("model", "size_px", "batch"))
def draw_stars(model: PsfModel, fitted: StarsInPsf, size_px: int, batch: int) -> Array:
    """Model stamps in ADU, (n, S, S)."""
    return map_batched(lambda one: star_model(model, one.stars, one.params, size_px), fitted, batch)
