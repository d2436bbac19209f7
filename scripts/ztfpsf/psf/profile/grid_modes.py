"""Prior of the residual grid: node values g = U z of coefficients z with unit prior variance.

The node values are a Gaussian process: smooth over about three nodes, and the smaller the fainter
the profile. U holds its strongest modes, so that some hundred coefficients z (of prior variance
1 / precision, which the stars decide: ztfpsf.psf.weights.evidence) stand for all nodes. The modes
have no flux, so that the integral over the plane is 1, and no centroid in a Gaussian window of the
star's width, so that (x, y) is the centroid that adaptive moments measure. Nor have they a part
along the derivatives of the profile by what varies over the field, size and ellipticity: these are
the profile's, and the fit of both together is well conditioned.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.profile.residual_grid import ResidualGrid
from ztfpsf.psf.profile.widths import FWHM_PER_SIGMA, PIXEL_FWHM_PX

ROUGHNESS = 0.01  # curvature against amplitude in the prior: correlated over ~3 nodes
ENVELOPE = 0.75  # the prior's amplitude goes as the profile to this power
FAINTEST = 0.02  # of the peak: where the sky decides the weight of a pixel


def make_modes(model: PsfModel, params: np.ndarray) -> np.ndarray:
    """Modes U of the prior of the model's grid, (nodes, n_modes): node values of unit coefficients.

    `params`: (K,) profile parameters of a typical star. Raises ValueError without a grid.
    """
    if model.grid is None:
        raise ValueError(f"model '{model.name}' has no grid")
    grid = model.grid
    x, y = (axis.ravel() for axis in np.meshgrid(grid.nodes_px, grid.nodes_px))
    fwhm_px = float(model.describe(model.Params(*params)).fwhm_px)
    # The prior is for what is seen: a profile narrower than the pixel looks as wide as it.
    seen_fwhm_px = float(np.hypot(fwhm_px, PIXEL_FWHM_PX))
    stretch = seen_fwhm_px / fwhm_px

    def profile(vector: Array) -> Array:
        surface = model.profile(x / stretch, y / stretch, model.Params(*vector))
        return surface / stretch**2

    vector = jnp.asarray(params, float)
    light = np.asarray(profile(vector))
    relative = np.maximum(light / light.max(), 1e-12)
    varying = [name not in model.constant for name in model.Params._fields]
    tangents = np.asarray(jax.jacfwd(profile)(vector)).T[varying]
    # Between the weights of faint stars, all pixels alike, and of bright ones, the inverse light.
    weight = np.maximum(relative, FAINTEST) ** -0.5
    window = np.exp(-0.5 * (x**2 + y**2) / (seen_fwhm_px / FWHM_PER_SIGMA) ** 2)
    held = np.stack([np.ones_like(x), window * x, window * y, *(weight * tangents)], axis=1)
    kept = np.linalg.qr(held)[0]
    root = (light.max() * relative**ENVELOPE)[:, None] * _smooth_root(grid)
    root -= kept @ (kept.T @ root)
    variance, mode = np.linalg.eigh(root @ root.T)
    strongest = slice(-1, -1 - grid.n_modes, -1)
    return mode[:, strongest] * np.sqrt(np.maximum(variance[strongest], 0.0))


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
