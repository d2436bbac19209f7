"""Elliptical Moffat profile with a wing that falls as r^-4.

    P(r) = (1 - w) Moffat(r; FWHM, alpha) + w Moffat(r; FWHM, 2),   integral over the plane 1

Turbulence makes wings that fall as r^-11/3 at large radii and slightly steeper where stars of a
stamp show them (Roddier 1981, Progress in Optics 19, 281; Racine 1996, PASP 108, 699), whatever
the core looks like. A Moffat alone takes alpha from the core; extrapolated, it misses 1 to 2 % of
the light. Both parts share the half-maximum ellipse; alpha > 2 and w > 0, so that no wing is
negative or falls more slowly than r^-4, are the same over the field.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn import softplus

from ztfpsf.psf.models import GaussianPrior, PsfModel, moffat
from ztfpsf.psf.models._elliptical import radius_squared

WING_HALF = np.sqrt(2.0) - 1.0  # 2^(1/alpha) - 1
SOFTNESS = 0.05  # a wing above twice that is linear in its parameter
START_WING = 0.1


class Params(NamedTuple):
    ln_fwhm: Array  # ln(FWHM / px), geometric mean of the axes
    ln_alpha_minus_2: Array
    soft_wing: Array  # u, w = s ln(1 + exp(u / s)): w itself but near 0; s = SOFTNESS
    e1: Array  # elongation along x
    e2: Array  # elongation along y = x


class Description(NamedTuple):
    fwhm_px: Array
    alpha: Array
    wing: Array
    e1: Array
    e2: Array


def start(fwhm_px: float) -> Params:
    """A round profile with alpha = 3 and a tenth of the light in the wing."""
    zero = jnp.zeros(())
    return Params(jnp.log(fwhm_px), zero, jnp.asarray(START_WING), zero, zero)


def _wing(params: Params) -> Array:
    """w, the part of the light in the wing."""
    return SOFTNESS * softplus(params.soft_wing / SOFTNESS)


def profile(dx_px: Array, dy_px: Array, params: Params) -> Array:
    """Surface brightness in px^-2 at an offset from the centre, for a flux of 1."""
    ln_alpha_minus_1 = jnp.log1p(jnp.exp(params.ln_alpha_minus_2))
    core = moffat.Params(params.ln_fwhm, ln_alpha_minus_1, params.e1, params.e2)
    part = _wing(params)
    t = radius_squared(dx_px, dy_px, params.ln_fwhm, params.e1, params.e2)
    # Moffat with alpha = 2, without a logarithm and an exponential per pixel.
    wing = 4.0 * WING_HALF / jnp.pi * jnp.exp(-2.0 * params.ln_fwhm) / (1.0 + WING_HALF * t) ** 2
    return (1.0 - part) * moffat.profile(dx_px, dy_px, core) + part * wing


def describe(params: Params) -> Description:
    """FWHM, alpha of the core, light in the wing component and the two distortions."""
    alpha = 2.0 + jnp.exp(params.ln_alpha_minus_2)
    return Description(jnp.exp(params.ln_fwhm), alpha, _wing(params), params.e1, params.e2)


MODEL = PsfModel(
    "moffat_wing",
    Params,
    start,
    profile,
    Description,
    describe,
    # The same for all stars of an image: polynomial terms beyond the first stay 0.
    constant=("ln_alpha_minus_2", "soft_wing"),
    # With a grid, many exponents would do as well.
    settled=("ln_alpha_minus_2",),
    # The wing means nothing when alpha is near its own exponent, and alpha nothing when the wing is
    # all there is.
    prior=(
        GaussianPrior("ln_alpha_minus_2", mean=0.5, sigma=1.5),
        GaussianPrior("soft_wing", mean=0.2, sigma=0.5),
    ),
)
