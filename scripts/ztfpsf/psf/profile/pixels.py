"""Integration of a profile over the pixels of a stamp.

ZTF is undersampled (FWHM 1 to 2.5 px): the value at a pixel's centre is wrong by several per
cent of the pixel. Three nested grids share the work. Near the star, Gauss-Legendre nodes; outside,
pixel-centre samples turned into pixel averages by a separable five-point formula, the Taylor
series of a cell average with finite differences, exact to fifth order. The error of a pixel
relative to the flux is below 1e-5 for FWHM >= 1 px (tests/test_psf_pixels.py).
"""

from collections.abc import Callable

import numpy as np
from jax import Array

# (width of the square around the stamp's centre in px, Gauss-Legendre nodes per pixel and axis)
LEVELS = ((9, 3), (5, 6))
_AVERAGE = np.array([-17.0, 308.0, 5178.0, 308.0, -17.0]) / 5760.0


def offsets(size_px: int) -> np.ndarray:
    """Pixel centres of a stamp relative to its central pixel, shape (size_px,)."""
    return np.arange(size_px, dtype=float) - size_px // 2


def _nodes(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    node, weight = np.polynomial.legendre.leggauss(n)
    dx, dy = np.meshgrid(node / 2.0, node / 2.0)
    return dx.ravel(), dy.ravel(), np.outer(weight / 2.0, weight / 2.0).ravel()


def _gauss_legendre(profile: Callable, x: Array, y: Array, width: int, n: int) -> Array:
    dx, dy, weight = _nodes(n)
    centre = offsets(width)
    at_nodes = profile(centre[None, :, None] + dx - x, centre[:, None, None] + dy - y)
    # A matrix product: XLA keeps the nodes' values out of the sum it would otherwise unroll.
    return at_nodes @ weight


def _sampled(profile: Callable, x: Array, y: Array, width: int) -> Array:
    centre = offsets(width + 4)
    values = profile(centre[None, :] - x, centre[:, None] - y)
    values = sum(_AVERAGE[k] * values[:, k : k + width] for k in range(5))
    return sum(_AVERAGE[k] * values[k : k + width, :] for k in range(5))


def integrate(profile: Callable, x: Array, y: Array, size_px: int) -> Array:
    """Integral of `profile(dx, dy)`, centred on (x, y), over each pixel of a stamp.

    `x`, `y`: offset of the star from the centre of the stamp's central pixel, px, at most ~1.
    `size_px`: odd. Returns shape (size_px, size_px), [row, column].
    """
    stamp = _sampled(profile, x, y, size_px)
    for level_width, n in LEVELS:
        width = min(level_width, size_px)
        low = size_px // 2 - width // 2
        core = _gauss_legendre(profile, x, y, width, n)
        stamp = stamp.at[low : low + width, low : low + width].set(core)
    return stamp


def count_values(size_px: int) -> int:
    """Values of the profile that one stamp takes."""
    nodes = sum((min(width, size_px) * n) ** 2 for width, n in LEVELS)
    return nodes + (size_px + 4) ** 2
