"""The weighted least-squares problem that every optimiser solves.

One problem is a set of stars sharing one shape: all stars of a quadrant, or a single star. The
model of star i in its stamp is

    m_i = flux_i P(pixel - (x_i, y_i); shape_i) + background_i,   shape_i = coefficients @ basis_i

and the objective is loss = chi2 / 2 = sum weight (data - m)^2 / 2. Here: arrays of one problem;
a leading axis of problems is added by the drivers.
"""

from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.pixels import integrate

N_STAR_PARAMETERS = 4  # x, y, flux, background


class Stars(NamedTuple):
    """Data of the stars of one problem. S = stamp size, B = terms of the field polynomial."""

    data: Array  # (n, S, S) ADU
    weight: Array  # (n, S, S) 1/ADU^2, 0 where masked
    basis: Array  # (n, B) polynomial terms at the star's position


class Parameters(NamedTuple):
    """Free parameters of one problem. K = shape parameters of the model."""

    star: Array  # (n, 4): x, y from the stamp's centre (px), flux (ADU), background (ADU/px)
    shape: Array  # (K, B) polynomial coefficients of each shape parameter


class Batch(NamedTuple):
    """How much is worked on at once: small on a CPU to stay in cache, large on a GPU."""

    stars: int
    problems: int


class Problem(NamedTuple):
    """Independent problems of one size; every array has the leading axis `problem`."""

    model: ModuleType
    stars: Stars  # (p, n, ...)
    start: Parameters  # (p, n, 4), (p, K, B)
    batch: Batch


class Solution(NamedTuple):
    """What an optimiser returns, leading axis `problem`."""

    parameters: Parameters
    loss_history: Array  # (p, steps + 1), loss after each step, NaN after the last one
    iterations: Array  # (p,) int


def field_basis(x_px: np.ndarray, y_px: np.ndarray, nx: int, ny: int, degree: int) -> np.ndarray:
    """Legendre products of total degree <= `degree` at positions scaled to [-1, 1] over the image.

    `x_px`, `y_px`: (n,). Returns shape (n, (degree + 1) (degree + 2) / 2).
    """
    u = (2.0 * np.asarray(x_px, float) - (nx - 1)) / nx
    v = (2.0 * np.asarray(y_px, float) - (ny - 1)) / ny
    legendre_u = np.polynomial.legendre.legvander(u, degree)
    legendre_v = np.polynomial.legendre.legvander(v, degree)
    terms = [
        legendre_u[..., i] * legendre_v[..., total - i]
        for total in range(degree + 1)
        for i in range(total, -1, -1)
    ]
    return np.stack(terms, axis=-1)


def star_psf(model: ModuleType, position: Array, shape: Array, size_px: int) -> Array:
    """Pixel-integrated PSF of one star, flux 1, shape (S, S)."""

    def profile(dx: Array, dy: Array) -> Array:
        return model.profile(dx, dy, model.Shape(*shape))

    return integrate(profile, position[0], position[1], size_px)


def star_model(model: ModuleType, star: Array, shape: Array, size_px: int) -> Array:
    """Model of one stamp in ADU, shape (S, S)."""
    return star[2] * star_psf(model, star[:2], shape, size_px) + star[3]


def star_shapes(parameters: Parameters, stars: Stars) -> Array:
    """Shape parameters at each star, (n, K)."""
    return stars.basis @ parameters.shape.T


def loss(model: ModuleType, parameters: Parameters, stars: Stars) -> Array:
    """Half of chi2, the objective of all optimisers."""
    size_px = stars.data.shape[-1]

    def star_loss(star: Array, shape: Array, data: Array, weight: Array) -> Array:
        residual = data - star_model(model, star, shape, size_px)
        return 0.5 * jnp.sum(weight * residual * residual)

    shapes = star_shapes(parameters, stars)
    return jnp.sum(jax.vmap(star_loss)(parameters.star, shapes, stars.data, stars.weight))
