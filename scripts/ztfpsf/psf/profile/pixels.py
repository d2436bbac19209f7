"""Integration of a profile over the pixels of a stamp.

ZTF is undersampled (FWHM 1 to 2.5 px): the value at a pixel's centre is wrong by several per
cent of the pixel. Three nested grids share the work. Near the star, Gauss-Legendre nodes; outside,
pixel-centre samples turned into pixel averages by a separable five-point formula, the Taylor
series of a cell average with finite differences, exact to fifth order. The error of a pixel
relative to the flux is below 1e-5 for FWHM >= 1 px (tests/test_psf_pixels.py).
"""

import math
from collections.abc import Callable

import numpy as np
from jax import Array

# (width of the square around the stamp's centre in px, Gauss-Legendre nodes per pixel and axis)
LEVELS = ((9, 3), (5, 6))
_AVERAGE = np.array([-17.0, 308.0, 5178.0, 308.0, -17.0]) / 5760.0


def offsets(size_px: int) -> np.ndarray:
    """Pixel centres of a stamp relative to its central pixel, shape (size_px,)."""
    return np.arange(size_px, dtype=float) - size_px // 2


def pixel_nodes(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes of a pixel, x and y from its centre, and their weights, (n^2,) each."""
    node, weight = np.polynomial.legendre.leggauss(n)
    dx, dy = np.meshgrid(node / 2.0, node / 2.0)
    return dx.ravel(), dy.ravel(), np.outer(weight / 2.0, weight / 2.0).ravel()


def list_levels(size_px: int) -> list[tuple[int, int]]:
    """LEVELS of a stamp, which may be smaller than they are."""
    return [(min(width, size_px), n) for width, n in LEVELS]


def list_nodes(size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """All places of a stamp where a profile is evaluated, x and y (count_values,).

    First the centres of the pixels, of two more on each side, then the nodes of each level.
    """
    places = [_centres(size_px + 4)]
    for width, n in list_levels(size_px):
        u, v, _ = pixel_nodes(n)
        x, y = _centres(width)
        places.append(((x[:, None] + u).ravel(), (y[:, None] + v).ravel()))
    x, y = zip(*places, strict=True)
    return np.concatenate(x), np.concatenate(y)


def _centres(width: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(offsets(width), offsets(width))
    return x.ravel(), y.ravel()


def split_nodes(values: Array, size_px: int) -> tuple[Array, list[Array]]:
    """Values at `list_nodes` apart: (..., (S + 4)^2), and (..., w^2, n^2) of each level."""
    begin, width = 0, size_px + 4
    samples, levels = values[..., : width**2], []
    begin = width**2
    for width, n in list_levels(size_px):
        end = begin + (width * n) ** 2
        levels.append(values[..., begin:end].reshape(*values.shape[:-1], width**2, n**2))
        begin = end
    return samples, levels


def average_samples(values: Array) -> Array:
    """Averages over pixels (..., w - 4, w - 4) from values at the centres of w x w, (..., w^2)."""
    n = math.isqrt(values.shape[-1])
    width = n - 4
    values = values.reshape(*values.shape[:-1], n, n)
    # A matrix product: XLA keeps the values out of the sum it would otherwise unroll.
    values = values @ sum(_AVERAGE[k] * np.eye(n, width, -k) for k in range(5))
    return sum(_AVERAGE[k] * values[..., k : k + width, :] for k in range(5))


def paste(stamp: Array, core: Array) -> Array:
    """The stamp (..., S, S) with other values (..., w^2) in the square around its centre."""
    width = math.isqrt(core.shape[-1])
    low = stamp.shape[-1] // 2 - width // 2
    square = core.reshape(*core.shape[:-1], width, width)
    return stamp.at[..., low : low + width, low : low + width].set(square)


def integrate_nodes(values: Array, size_px: int) -> Array:
    """Integrals over the pixels of a stamp (S, S), from values at `list_nodes`."""
    samples, levels = split_nodes(values, size_px)
    stamp = average_samples(samples)
    for core, (_, n) in zip(levels, list_levels(size_px), strict=True):
        stamp = paste(stamp, core @ pixel_nodes(n)[2])
    return stamp


def integrate(profile: Callable, x: Array, y: Array, size_px: int) -> Array:
    """Integral of `profile(dx, dy)`, centred on (x, y), over each pixel of a stamp.

    `x`, `y`: offset of the star from the centre of the stamp's central pixel, px, at most ~1.
    `size_px`: odd. Returns shape (size_px, size_px), [row, column].
    """
    x_nodes, y_nodes = list_nodes(size_px)
    return integrate_nodes(profile(x_nodes - x, y_nodes - y), size_px)


def count_values(size_px: int) -> int:
    """Values of the profile that one stamp takes."""
    return len(list_nodes(size_px)[0])
