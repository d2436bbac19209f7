"""Derivatives of elliptical profiles integrated over the pixels, from one derivative at each node.

A profile f(t; s) of the squared elliptical radius t = xx dx^2 + yy dy^2 + xy dx dy changes with the
position, width and ellipticity of the star through t alone. The integrals over a pixel of f, of f_s
and of f_t times dx^2, dy^2, dx dy, dx and dy hold all its derivatives: nodes need f, f_t and f_s
only, which share their logarithms and exponentials.

Images are stacked by arithmetic: XLA would evaluate all of what is concatenated anew, and one by
one, for each of its elements.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models._elliptical import Form, radius_squared
from ztfpsf.psf.profile.pixels import (
    average_samples,
    integrate_nodes,
    list_levels,
    list_nodes,
    offsets,
    paste,
    pixel_nodes,
    split_nodes,
)

# Powers of dx and dy: moments within a pixel, and what f_t is multiplied by.
_MOMENTS = ((0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1))
_BY_FORM = ((2, 0), (0, 2), (1, 1), (1, 0), (0, 1))

Values = TypeVar("Values", np.ndarray, Array)


class Expansion(NamedTuple):
    """Integrals over the pixels of a stamp."""

    profile: Array  # (S, S) of f
    by_shape: list[Array]  # (S, S) each, of f_s
    by_form: Array  # (5, S, S) of f_t times dx^2, dy^2, dx dy, dx, dy


def expand(
    radial: Callable[..., Array], shape: Array, form: Form, position: Array, size_px: int
) -> Expansion:
    """Expand `radial(t, *shape)` around a star.

    `position`: (2,) x and y of the star from the centre of the stamp's central pixel, px, at most
    ~1; `size_px`: odd.
    """
    dx, dy = (jnp.asarray(at) - of for at, of in zip(list_nodes(size_px), position, strict=True))
    t = radius_squared(dx, dy, form)
    f, by_t = jax.jvp(lambda t: radial(t, *shape), (t,), (jnp.ones_like(t),))
    by_shape = [jax.jvp(lambda s: radial(t, *s), (shape,), (one,))[1] for one in np.eye(len(shape))]
    samples, levels = split_nodes(by_t, size_px)
    n = len(samples)
    by_form = average_samples(samples * _powers(dx[:n], dy[:n], _BY_FORM))
    for core, (width, n) in zip(levels, list_levels(size_px), strict=True):
        u, v, weight = pixel_nodes(n)
        about_pixel = core @ (weight * _powers(u, v, _MOMENTS)).T
        x, y = (jnp.asarray(at.ravel()) for at in np.meshgrid(offsets(width), offsets(width)))
        by_form = paste(by_form, _about_star(about_pixel, x - position[0], y - position[1]))
    profile, *by_shape = (integrate_nodes(part, size_px) for part in (f, *by_shape))
    return Expansion(profile, by_shape, by_form)


def _powers(dx: Values, dy: Values, powers: tuple[tuple[int, int], ...]) -> Values:
    """Products of powers up to the second, (k, n)."""

    def power(d: Values, p: np.ndarray) -> Values:
        is_0, is_1, is_2 = ((p == k).astype(float) for k in range(3))
        return is_0 + is_1 * d + is_2 * (d * d)

    of_x, of_y = np.array(powers).T[:, :, None]
    return power(dx, of_x) * power(dy, of_y)


def _about_star(moments: Array, x: Array, y: Array) -> Array:
    """Moments _BY_FORM about the star, (5, n), from _MOMENTS (n, 6) about places (x, y)."""
    m, mx, my, mxx, myy, mxy = moments.T
    return jnp.stack(
        [
            x * x * m + 2.0 * x * mx + mxx,
            y * y * m + 2.0 * y * my + myy,
            x * y * m + x * my + y * mx + mxy,
            x * m + mx,
            y * m + my,
        ]
    )
