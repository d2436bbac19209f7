"""The elliptical radius shared by the analytic models."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Axes(NamedTuple):
    """Half-maximum ellipse in terms of its axes."""

    major: Array  # full width at half maximum along the major axis, px
    minor: Array  # along the minor axis, px
    theta_deg: Array  # major axis from +x towards +y, -90..90


def radius_squared(dx: Array, dy: Array, ln_fwhm: Array, e1: Array, e2: Array) -> Array:
    """Squared elliptical radius, 1 on the half-maximum contour.

    The quadratic form has determinant (2 / FWHM)^4 for all real e1, e2, so that FWHM is the
    geometric mean of the two axes and no value of (e1, e2) is forbidden. For an axis ratio
    q <= 1, |e| = (1/q - q) / 2; e1 > 0 is elongated along x, e2 > 0 along y = x.
    """
    root = jnp.sqrt(1.0 + e1 * e1 + e2 * e2)
    x2, y2 = dx * dx, dy * dy
    form = root * (x2 + y2) - e1 * (x2 - y2) - 2.0 * e2 * dx * dy
    return 4.0 * jnp.exp(-2.0 * ln_fwhm) * form


def axes(ln_fwhm: Array, e1: Array, e2: Array) -> Axes:
    """Axes of the half-maximum ellipse."""
    e = jnp.hypot(e1, e2)
    stretch = jnp.sqrt(jnp.sqrt(1.0 + e * e) + e)
    fwhm = jnp.exp(ln_fwhm)
    return Axes(fwhm * stretch, fwhm / stretch, jnp.rad2deg(0.5 * jnp.arctan2(e2, e1)))
