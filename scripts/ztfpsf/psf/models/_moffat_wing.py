"""Elliptical Moffat profile, and the wings that a residual grid leaves to it.

    P(d) = (1 - w / c4^2 - h / c3) Moffat(d; FWHM, alpha) + w W4(r) + h W3(r)
    W4(r) = (1 + r^2 / c4^2)^-2 / (pi c4^4),   W3(r) = (1 + r^2 / c3^2)^-3/2 / (2 pi c3^3)

with c4 = 4 px and c3 = 6 px, so that wings have no cusp: what is inside is the grid's. Far out a
star has the light w / r^2 and h / r beyond the radius r. Turbulence makes wings that fall as
r^-11/3, slightly steeper where stars of a stamp show them (Roddier 1981, Progress in Optics 19,
281; Racine 1996, PASP 108, 699): w is what Moffat's own wing lacks of that. The edges of a pupil of
area A and perimeter L make a halo of r^-3 whatever the aberrations and the seeing are,
h = lambda L / (2 pi^2 A) in radians (Clark, Howard & Freniere 1984, Appl. Opt. 23, 353): 0.04 px
at 640 nm for 1.2 m with an obstruction of 0.4, and 0.06 px with four vanes of 2 % of the aperture.

alpha = 2 + s ln(1 + exp(u / s)) with s = 0.5 is u + 2 but near 2: Moffat's wing falls no more
slowly than r^-4.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.nn import softplus

from ztfpsf.psf.models import GaussianPrior, PsfModel, Wings, moffat

SMALLEST_ALPHA = 2.0
SOFTNESS = 0.5
WING_CORE_PX, HALO_CORE_PX = 4.0, 6.0
START_HALO_PX = 0.03


class Params(NamedTuple):
    ln_fwhm: Array  # ln(FWHM / px), geometric mean of the axes
    soft_alpha: Array  # u
    e1: Array  # elongation along x
    e2: Array  # elongation along y = x
    wing_px2: Array  # w
    halo_px: Array  # h


class Description(NamedTuple):
    fwhm_px: Array
    alpha: Array
    e1: Array
    e2: Array
    wing_px2: Array
    halo_px: Array


def start(fwhm_px: float) -> Params:
    """A round profile with alpha = 3, typical of seeing-limited images, and the pupil's halo."""
    zero = jnp.zeros(())
    soft_alpha = jnp.asarray(3.0 - SMALLEST_ALPHA)
    return Params(jnp.log(fwhm_px), soft_alpha, zero, zero, zero, jnp.asarray(START_HALO_PX))


def _alpha(soft_alpha: Array) -> Array:
    return SMALLEST_ALPHA + SOFTNESS * softplus(soft_alpha / SOFTNESS)


def profile(dx_px: Array, dy_px: Array, params: Params) -> Array:
    """Surface brightness of the Moffat alone, px^-2, at an offset from the centre; flux 1."""
    ln_alpha_minus_1 = jnp.log(_alpha(params.soft_alpha) - 1.0)
    core = moffat.Params(params.ln_fwhm, ln_alpha_minus_1, params.e1, params.e2)
    return moffat.profile(dx_px, dy_px, core)


def radial(t: Array, soft_alpha: Array) -> Array:
    """The same as a function of the squared elliptical radius."""
    return moffat.radial(t, jnp.log(_alpha(soft_alpha) - 1.0))


def wings(dx_px: Array, dy_px: Array) -> Array:
    """W4 and W3 at an offset from the centre, (2, ...)."""
    r2 = dx_px**2 + dy_px**2
    near4, near3 = 1.0 + r2 / WING_CORE_PX**2, 1.0 + r2 / HALO_CORE_PX**2
    return jnp.stack(
        [
            near4**-2 / (np.pi * WING_CORE_PX**4),
            1.0 / (near3 * jnp.sqrt(near3) * 2.0 * np.pi * HALO_CORE_PX**3),
        ]
    )


def describe(params: Params) -> Description:
    """FWHM and alpha of the Moffat, the two distortions and the wings."""
    fwhm, (_, _, *others) = jnp.exp(params.ln_fwhm), params
    return Description(fwhm, _alpha(params.soft_alpha), *others)


MODEL = PsfModel(
    "moffat_wing",
    Params,
    start,
    profile,
    Description,
    describe,
    radial=radial,
    # The same for all stars of an image: polynomial terms beyond the first stay 0.
    constant=("soft_alpha", "wing_px2", "halo_px"),
    # With a grid, many exponents would do as well.
    settled=("soft_alpha",),
    # Few stars leave the wings open. A wing of r^-4 with FWHM = 2 px has w = 2.4 px^2; the halo is
    # the pupil's.
    prior=(
        GaussianPrior("soft_alpha", mean=1.0, sigma=1.0),
        GaussianPrior("wing_px2", mean=0.0, sigma=1.0),
        GaussianPrior("halo_px", mean=START_HALO_PX, sigma=0.02),
    ),
    wings=Wings(("wing_px2", "halo_px"), wings, (WING_CORE_PX**-2, 1.0 / HALO_CORE_PX)),
)
