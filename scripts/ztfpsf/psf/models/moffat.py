"""Elliptical Moffat profile (Moffat 1969, A&A 3, 455).

    P(r) = (alpha - 1) / (pi gamma^2) (1 + r^2 / gamma^2)^(-alpha),   integral over the plane 1
    FWHM = 2 gamma sqrt(2^(1/alpha) - 1)

with r the elliptical radius of equal area. Needs alpha > 1; alpha -> infinity is the Gaussian.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.models._elliptical import find_form, peak_scale, radius_squared


class Params(NamedTuple):
    ln_fwhm: Array  # ln(FWHM / px), geometric mean of the axes
    ln_alpha_minus_1: Array
    e1: Array  # elongation along x
    e2: Array  # elongation along y = x


class Description(NamedTuple):
    fwhm_px: Array
    alpha: Array
    gamma_px: Array
    e1: Array
    e2: Array


def start(fwhm_px: float) -> Params:
    """A round profile with alpha = 3, typical of seeing-limited images."""
    return Params(jnp.log(fwhm_px), jnp.log(2.0), jnp.zeros(()), jnp.zeros(()))


def _half_maximum(ln_alpha_minus_1: Array) -> tuple[Array, Array]:
    """alpha and 2^(1/alpha) - 1, the latter without loss of digits for large alpha."""
    alpha = 1.0 + jnp.exp(ln_alpha_minus_1)
    return alpha, jnp.expm1(jnp.log(2.0) / alpha)


def profile(dx_px: Array, dy_px: Array, params: Params) -> Array:
    """Surface brightness in px^-2 at an offset from the centre, for a flux of 1."""
    t = radius_squared(dx_px, dy_px, find_form(params.ln_fwhm, params.e1, params.e2))
    return peak_scale(params.ln_fwhm) * radial(t, params.ln_alpha_minus_1)


def radial(t: Array, ln_alpha_minus_1: Array) -> Array:
    """The same as a function of the squared elliptical radius."""
    alpha, half = _half_maximum(ln_alpha_minus_1)
    return (alpha - 1.0) / jnp.pi * half * jnp.exp(-alpha * jnp.log(1.0 + half * t))


def describe(params: Params) -> Description:
    """FWHM, alpha, gamma and the two distortions."""
    alpha, half = _half_maximum(params.ln_alpha_minus_1)
    fwhm = jnp.exp(params.ln_fwhm)
    return Description(fwhm, alpha, fwhm / (2.0 * jnp.sqrt(half)), params.e1, params.e2)


MODEL = PsfModel("moffat", Params, start, profile, Description, describe, radial=radial)
