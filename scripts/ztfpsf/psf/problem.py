"""The weighted least-squares problem that every optimiser solves.

One problem is a set of stars sharing one shape: all stars of a quadrant, or a single star. The
model of star i in its stamp is

    m_i = flux_i P(pixel - (x_i, y_i); shape_i) + background_i,   shape_i = coefficients @ basis_i

and the objective is loss = chi2 / 2 = sum weight (data - m)^2 / 2, plus the weak priors that some
models have. Here: arrays of one problem; a leading axis of problems is added by the drivers.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.grid import add_residual, get_base, get_grid
from ztfpsf.psf.pixels import integrate

N_STAR_PARAMETERS = 4  # x, y, flux, background


class GridTerms(NamedTuple):
    """What the residual grid of a problem depends on. C = terms, M = modes, G = nodes."""

    basis: Array  # (n, C) terms of field position and flux at each star
    modes: Array  # (G, M) node values of unit coefficients
    precision: Array  # (C,) of the prior of each term's coefficients


class Stars(NamedTuple):
    """Data of the stars of one problem. S = stamp size, B = terms of the field polynomial."""

    data: Array  # (n, S, S) ADU
    weight: Array  # (n, S, S) 1/ADU^2, 0 where masked
    basis: Array  # (n, B) polynomial terms at the star's position
    grid: GridTerms | None = None


class Parameters(NamedTuple):
    """Free parameters of one problem. K = shape parameters of the model."""

    star: Array  # (n, 4): x, y from the stamp's centre (px), flux (ADU), background (ADU/px)
    shape: Array  # (K, B) polynomial coefficients of each shape parameter
    grid: Array | None = None  # (M, C) coefficients of the modes


class Batch(NamedTuple):
    """How much is worked on at once: small on a CPU to stay in cache, large on a GPU."""

    stars: int
    problems: int


class Problem(NamedTuple):
    """Independent problems of one size; every array has the leading axis `problem`."""

    model: Any
    stars: Stars  # (p, n, ...)
    start: Parameters  # (p, n, 4), (p, K, B)
    batch: Batch


class Solution(NamedTuple):
    """What an optimiser returns, leading axis `problem`."""

    parameters: Parameters
    loss_history: Array  # (p, steps + 1), loss after each step, NaN after the last one
    iterations: Array  # (p,) int
    normal: Any = None  # ztfpsf.psf.arrow.Normal at `parameters`, of an optimiser that has them


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


def count_terms(degree: int) -> int:
    """Terms of a field polynomial of a total degree."""
    return (degree + 1) * (degree + 2) // 2


def star_psf(model: Any, position: Array, shape: Array, size_px: int) -> Array:
    """Pixel-integrated PSF of one star, flux 1, shape (S, S).

    `shape`: (K + G,) the model's `Shape`, followed by the nodes of its grid if it has one.
    """
    k = len(model.Shape._fields)

    def profile(dx: Array, dy: Array) -> Array:
        return model.profile(dx, dy, model.Shape(*shape[:k]))

    stamp = integrate(profile, position[0], position[1], size_px)
    grid = get_grid(model)
    return stamp if grid is None else add_residual(grid, stamp, *position, shape[k:])


def star_model(model: Any, star: Array, shape: Array, size_px: int) -> Array:
    """Model of one stamp in ADU, shape (S, S)."""
    return star[2] * star_psf(model, star[:2], shape, size_px) + star[3]


def free_coefficients(model: Any, n_terms: int) -> np.ndarray:
    """1 where a polynomial coefficient of the shape is free, (K, B).

    See `CONSTANT` and `SETTLED` in ztfpsf.psf.models.
    """
    base = get_base(model)
    free = np.ones((len(model.Shape._fields), n_terms))
    for row, name in enumerate(model.Shape._fields):
        if name in getattr(base, "CONSTANT", ()):
            free[row, 1:] = 0.0
        if get_grid(model) is not None and name in getattr(base, "SETTLED", ()):
            free[row] = 0.0
    return free


def star_shapes(model: Any, parameters: Parameters, stars: Stars) -> Array:
    """Shape parameters and grid nodes at each star, (n, K + G)."""
    free = free_coefficients(model, parameters.shape.shape[1])
    held = jax.lax.stop_gradient(parameters.shape)
    profiles = stars.basis @ (parameters.shape * free + held * (1.0 - free)).T
    if parameters.grid is None:
        return profiles
    nodes = (stars.grid.basis @ parameters.grid.T) @ stars.grid.modes.T
    return jnp.concatenate([profiles, nodes], axis=1)


class Prior(NamedTuple):
    """Independent Gaussian priors: chi2 = sum precision (parameter - mean)^2."""

    mean: Parameters
    precision: Parameters


def make_prior(model: Any, parameters: Parameters, stars: Stars) -> Prior:
    """Priors of a model's `PRIOR` and of its grid; stars have none."""
    shape_mean = np.zeros(parameters.shape.shape)
    shape_precision = np.zeros(parameters.shape.shape)
    free = free_coefficients(model, parameters.shape.shape[1])
    for name, (mean, sigma) in getattr(get_base(model), "PRIOR", {}).items():
        row = model.Shape._fields.index(name)
        shape_mean[row, 0], shape_precision[row, 0] = mean, free[row, 0] * sigma**-2
    no_star = jnp.zeros_like(parameters.star)
    mean = Parameters(no_star, jnp.asarray(shape_mean))
    precision = Parameters(no_star, jnp.asarray(shape_precision))
    if parameters.grid is None:
        return Prior(mean, precision)
    grid_precision = jnp.broadcast_to(stars.grid.precision, parameters.grid.shape)
    return Prior(
        mean._replace(grid=jnp.zeros_like(parameters.grid)),
        precision._replace(grid=grid_precision),
    )


def prior_chi2(parameters: Parameters, prior: Prior) -> Array:
    """Part of chi2 that is the priors'."""
    terms = jax.tree.map(lambda p, m, w: jnp.sum(w * (p - m) ** 2), parameters, *prior)
    return sum(jax.tree.leaves(terms))


def loss(model: Any, parameters: Parameters, stars: Stars) -> Array:
    """Half of chi2, the objective of all optimisers."""
    size_px = stars.data.shape[-1]

    def star_loss(star: Array, shape: Array, data: Array, weight: Array) -> Array:
        residual = data - star_model(model, star, shape, size_px)
        return 0.5 * jnp.sum(weight * residual * residual)

    shapes = star_shapes(model, parameters, stars)
    losses = jax.vmap(star_loss)(parameters.star, shapes, stars.data, stars.weight)
    prior = make_prior(model, parameters, stars)
    return jnp.sum(losses) + 0.5 * prior_chi2(parameters, prior)
