"""Round profile (1 + r^2 / s^2)^(-3/2) / (2 pi s^2), whose FWHM is 2 s sqrt(2^(2/3) - 1)."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ztfpsf.psf.models import PsfModel


class Params(NamedTuple):
    ln_fwhm: Array  # ln(FWHM / px)


class Description(NamedTuple):
    fwhm_px: Array


def start(fwhm_px: float) -> Params:
    """A round profile."""
    return Params(jnp.log(fwhm_px))


def profile(dx_px: Array, dy_px: Array, params: Params) -> Array:
    """Surface brightness in px^-2 at an offset from the centre, for a flux of 1."""
    s2 = jnp.exp(2.0 * params.ln_fwhm) / 4.0 / (2.0 ** (2.0 / 3.0) - 1.0)
    return (1.0 + (dx_px**2 + dy_px**2) / s2) ** -1.5 / (2.0 * jnp.pi * s2)


def describe(params: Params) -> Description:
    """FWHM."""
    return Description(jnp.exp(params.ln_fwhm))


MODEL = PsfModel("lorentzian", Params, start, profile, Description, describe)
