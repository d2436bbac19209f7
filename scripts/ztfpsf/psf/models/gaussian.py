"""Gaussian profile with full covariance.

P(d) = exp(-d^T C^-1 d / 2) / (2 pi sqrt(det C)),   integral over the plane 1
FWHM = 2 sqrt(2 ln 2) sigma along each axis
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models._elliptical import axes, radius_squared

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


class Shape(NamedTuple):
    ln_fwhm: Array  # ln(FWHM / px), geometric mean of the axes
    e1: Array  # elongation along x
    e2: Array  # elongation along y = x


class Description(NamedTuple):
    fwhm_px: Array
    sigma_major_px: Array
    sigma_minor_px: Array
    theta_deg: Array  # major axis from +x towards +y
    e1: Array
    e2: Array


def start(fwhm_px: float) -> Shape:
    """A round profile."""
    return Shape(jnp.log(fwhm_px), jnp.zeros(()), jnp.zeros(()))


def profile(dx_px: Array, dy_px: Array, shape: Shape) -> Array:
    """Surface brightness in px^-2 at an offset from the centre, for a flux of 1."""
    t = radius_squared(dx_px, dy_px, *shape)
    peak = 4.0 * jnp.log(2.0) / jnp.pi * jnp.exp(-2.0 * shape.ln_fwhm)
    return peak * jnp.exp(-jnp.log(2.0) * t)


def describe(shape: Shape) -> Description:
    """Widths along the axes, orientation and the two distortions."""
    major, minor, theta = axes(*shape)
    return Description(
        jnp.exp(shape.ln_fwhm),
        major / FWHM_PER_SIGMA,
        minor / FWHM_PER_SIGMA,
        theta,
        shape.e1,
        shape.e2,
    )
