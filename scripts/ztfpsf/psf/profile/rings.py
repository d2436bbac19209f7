"""Light of a PSF in circles and rings around the star, without its grid, which has none there."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models import PsfModel

N_ANGLES = 8
N_RADII_OF_RING, N_RADII_OF_DISC = 4, 64


def ring_mean(model: PsfModel, params: Array, inner_px: float, outer_px: float) -> Array:
    """Mean surface brightness between two radii, (n,) px^-2. `params`: (n, K) or more."""
    node, share = np.polynomial.legendre.leggauss(N_RADII_OF_RING)
    radius = inner_px + 0.5 * (outer_px - inner_px) * (node + 1.0)
    share = share * radius / np.sum(share * radius)
    return jnp.einsum("rn,r->n", _profile(model, params, jnp.asarray(radius)), share)


def light_within(model: PsfModel, params: Array, radius_px: float) -> Array:
    """Part of the light of one PSF within a radius, (). `params`: (K,) or more."""
    # Nodes r = R t^2 crowd where the star is.
    node, share = np.polynomial.legendre.leggauss(N_RADII_OF_DISC)
    t = 0.5 * (node + 1.0)
    area = 2.0 * np.pi * radius_px**2 * t**3 * share
    return jnp.sum(_profile(model, params[None], jnp.asarray(radius_px * t**2))[:, 0] * area)


def _profile(model: PsfModel, params: Array, radius_px: Array) -> Array:
    """Surface brightness on circles, mean over the angle, (radii, n)."""
    angle = 2.0 * np.pi * np.arange(N_ANGLES) / N_ANGLES
    x, y = (radius_px[:, None] * turn(angle) for turn in (np.cos, np.sin))
    vectors = params[:, : model.n_params].T
    light = model.profile(x[..., None], y[..., None], model.Params(*vectors)).mean(axis=1)
    if model.wings is None:
        return light
    of_wings = vectors[model.n_params - model.n_wings :]
    far = model.wings.functions(radius_px, jnp.zeros_like(radius_px))
    return light * (1.0 - jnp.asarray(model.wings.light) @ of_wings) + far.T @ of_wings
