"""The elliptical radius shared by the analytic models."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Axes(NamedTuple):
    """Half-maximum ellipse in terms of its axes."""

    major: Array  # full width at half maximum along the major axis, px
    minor: Array  # along the minor axis, px
    theta_deg: Array  # major axis from +x towards +y, -90..90


class Form(NamedTuple):
    """Squared elliptical radius xx dx^2 + yy dy^2 + xy dx dy, 1 on the half-maximum contour."""

    xx: Array
    yy: Array
    xy: Array


def find_form(ln_fwhm: Array, e1: Array, e2: Array) -> Form:
    """The quadratic form of a width and two distortions.

    Its determinant is (2 / FWHM)^4 for all real e1, e2, so that FWHM is the geometric mean of the
    two axes and no value of (e1, e2) is forbidden. For an axis ratio q <= 1, |e| = (1/q - q) / 2;
    e1 > 0 is elongated along x, e2 > 0 along y = x.
    """
    root = jnp.sqrt(1.0 + e1 * e1 + e2 * e2)
    scale = peak_scale(ln_fwhm)
    return Form(scale * (root - e1), scale * (root + e1), -2.0 * scale * e2)


def peak_scale(ln_fwhm: Array) -> Array:
    """Root of the determinant, (2 / FWHM)^2: of a profile radial(t), of integral 1 over pi dt."""
    return 4.0 * jnp.exp(-2.0 * ln_fwhm)


def radius_squared(dx: Array, dy: Array, form: Form) -> Array:
    """Squared elliptical radius at an offset."""
    return form.xx * dx * dx + form.yy * dy * dy + form.xy * dx * dy


def axes(ln_fwhm: Array, e1: Array, e2: Array) -> Axes:
    """Axes of the half-maximum ellipse."""
    e = jnp.hypot(e1, e2)
    stretch = jnp.sqrt(jnp.sqrt(1.0 + e * e) + e)
    fwhm = jnp.exp(ln_fwhm)
    return Axes(fwhm * stretch, fwhm / stretch, jnp.rad2deg(0.5 * jnp.arctan2(e2, e1)))
