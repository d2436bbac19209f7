"""Prior of the residual grid: node values g = U z of coefficients z with unit prior variance.

The node values are a Gaussian process: smooth over about three nodes, and the smaller the fainter
the profile. U holds its strongest modes, so that some hundred coefficients z (of prior variance
1 / precision, which the stars decide: ztfpsf.psf.weights.evidence) stand for all nodes. They fade
out towards a circle: there the PSF has neither a step nor corners.

The process is conditioned on what belongs to others. It has no flux, wherever in a pixel the star
is, since the pixels of a star hold all its light: the integral over the plane is 1. It has no
centroid in a Gaussian window of the star's width. Its part along the derivatives of the profile by
what varies over the field, size and ellipticity, is in modes of its own, the first ones: where the
profile has these already they are held at 0, so that the fit of both is well conditioned.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.profile.residual_grid import ResidualGrid, spline_weights
from ztfpsf.psf.profile.widths import FWHM_PER_SIGMA, PIXEL_FWHM_PX

ROUGHNESS = 0.01  # curvature against amplitude in the prior: correlated over ~3 nodes
ENVELOPE = 0.75  # the prior's amplitude goes as the profile to this power
TAPER = 0.7  # of the radius: where the residual begins to fade out
PHASES = 8  # of a star within a pixel, along an axis
SMALLEST_RIPPLE = 0.1  # of the sum with the phase: less of it is suppressed by the spline itself
FAINTEST = 0.02  # of the peak: where the sky decides the weight of a pixel


def make_modes(model: PsfModel, params: np.ndarray) -> np.ndarray:
    """Modes U of the prior of the model's grid, (nodes, M): node values of unit coefficients.

    The first count_shapes(model) of them are those of size and ellipticity. `params`: (K,) profile
    parameters of a typical star. Raises ValueError without a grid.
    """
    if model.grid is None:
        raise ValueError(f"model '{model.name}' has no grid")
    grid = model.grid
    x, y = (axis.ravel() for axis in np.meshgrid(grid.nodes_px, grid.nodes_px))
    fwhm_px = float(_find_fwhm(model, params))
    # The prior is for what is seen: a profile narrower than the pixel looks as wide as it.
    seen_fwhm_px = float(np.hypot(fwhm_px, PIXEL_FWHM_PX))
    stretch = seen_fwhm_px / fwhm_px
    light, by_params = (
        np.asarray(part) / stretch**2 for part in _evaluate(model, x / stretch, y / stretch, params)
    )
    relative = np.maximum(light / light.max(), 1e-12)
    tangents = by_params.T[model.is_varying]
    # Between the weights of faint stars, all pixels alike, and of bright ones, the inverse light.
    weight = np.maximum(relative, FAINTEST) ** -0.5
    window = np.exp(-0.5 * (x**2 + y**2) / (seen_fwhm_px / FWHM_PER_SIGMA) ** 2)
    held = np.stack([*_sums(grid), window * x, window * y], axis=1)
    shapes = (weight * tangents).T
    amplitude = light.max() * relative**ENVELOPE * _fade(np.hypot(x, y) / grid.radius_px)
    inside = np.flatnonzero(amplitude)
    root = amplitude[inside, None] * _smooth_root(grid)[inside]
    covariance = root @ root.T
    along = _find_part(covariance, held[inside])
    covariance -= along @ along.T
    along = _find_part(covariance, shapes[inside])
    covariance -= along @ along.T
    variance, mode = np.linalg.eigh(covariance)
    strongest = slice(-1, -1 - grid.n_modes, -1)
    modes = np.zeros((len(x), along.shape[1] + grid.n_modes))
    of_grid = mode[:, strongest] * np.sqrt(np.maximum(variance[strongest], 0.0))
    modes[inside] = np.hstack([along, of_grid])
    return modes


def count_shapes(model: PsfModel) -> int:
    """Modes of what the profile has as well."""
    return int(model.is_varying.sum())


def _find_part(covariance: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Root A (n, k) of the part A A^T of a covariance (n, n) that vectors (n, k) see."""
    along = covariance @ vectors
    value, axes = np.linalg.eigh(vectors.T @ along)
    seen = value > value.max() * len(value) * np.finfo(float).eps
    root = np.where(seen, 1.0 / np.sqrt(np.where(seen, value, 1.0)), 0.0)
    return along @ axes * root


@partial(jax.jit, static_argnames="model")
def _find_fwhm(model: PsfModel, params: np.ndarray) -> Array:
    return model.describe(model.Params(*params)).fwhm_px


@partial(jax.jit, static_argnames="model")
def _evaluate(
    model: PsfModel, x: np.ndarray, y: np.ndarray, params: np.ndarray
) -> tuple[Array, Array]:
    """The profile at nodes, and its derivatives by the parameters, (nodes, K)."""

    def profile(params: Array) -> Array:
        return model.profile(jnp.asarray(x), jnp.asarray(y), model.Params(*params))

    vector = jnp.asarray(params, float)
    return profile(vector), jax.jacfwd(profile)(vector)


def _fade(radius: np.ndarray) -> np.ndarray:
    """1 up to TAPER, 0 from 1 on, with a continuous slope."""
    t = np.clip((1.0 - radius) / (1.0 - TAPER), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@cache
def _sums(grid: ResidualGrid) -> np.ndarray:
    """Weights of the nodes in the sum over a star's pixels, (c, nodes), for a star anywhere."""
    size_px = grid.stamp_px + 2
    phases = np.arange(PHASES) / PHASES
    weights = jax.jit(jax.vmap(lambda phase: spline_weights(grid, phase, size_px).sum(axis=0)))
    line = np.asarray(weights(phases))
    mean = line.mean(axis=0)
    _, size, ripples = np.linalg.svd(line - mean)
    n_kept = int(np.sum(size > SMALLEST_RIPPLE * np.linalg.norm(line)))
    basis = np.concatenate([mean[None], ripples[:n_kept]])
    return np.einsum("aj,bk->abjk", basis, basis).reshape(len(basis) ** 2, -1)


@cache
def _smooth_root(grid: ResidualGrid) -> np.ndarray:
    """Square root of the covariance (curvature^2 + ROUGHNESS)^-1 of a smooth unit field."""
    w = grid.width
    second = np.diff(np.eye(w), 2, axis=0)
    first = np.diff(np.eye(w), axis=0)
    a, b, one = second.T @ second, first.T @ first, np.eye(w)
    curvature = np.kron(a, one) + np.kron(one, a) + 2.0 * np.kron(b, b)
    value, vector = np.linalg.eigh(curvature + ROUGHNESS * np.eye(w * w))
    # ROUGHNESS as the unit: the field has a variance of about 1.
    return vector * np.sqrt(ROUGHNESS / value)
