"""Gaussian profile with full covariance.

P(d) = exp(-d^T C^-1 d / 2) / (2 pi sqrt(det C)),   integral over the plane 1
FWHM = 2 sqrt(2 ln 2) sigma along each axis
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.models._elliptical import axes, find_form, peak_scale, radius_squared
from ztfpsf.psf.profile.widths import FWHM_PER_SIGMA


class Params(NamedTuple):
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


def start(fwhm_px: float) -> Params:
    """A round profile."""
    return Params(jnp.log(fwhm_px), jnp.zeros(()), jnp.zeros(()))


def profile(dx_px: Array, dy_px: Array, params: Params) -> Array:
    """Surface brightness in px^-2 at an offset from the centre, for a flux of 1."""
    return peak_scale(params.ln_fwhm) * radial(radius_squared(dx_px, dy_px, find_form(*params)))


def radial(t: Array) -> Array:
    """The same as a function of the squared elliptical radius."""
    return jnp.log(2.0) / jnp.pi * jnp.exp(-jnp.log(2.0) * t)


def describe(params: Params) -> Description:
    """Widths along the axes, orientation and the two distortions."""
    major, minor, theta = axes(*params)
    return Description(
        jnp.exp(params.ln_fwhm),
        major / FWHM_PER_SIGMA,
        minor / FWHM_PER_SIGMA,
        theta,
        params.e1,
        params.e2,
    )


MODEL = PsfModel("gaussian", Params, start, profile, Description, describe, radial=radial)
