"""PSFs whose origin is their centroid, so that (x, y) of a star means the same all over the field.

The centroid is that of adaptive moments: in an elliptical Gaussian window of the PSF's own width
and shape (Hirata & Seljak 2003, MNRAS 343, 459). The window of the grid's prior is the same for all
the field, and moves the origin of a PSF with coma by some thousandths of a pixel where the width
changes. Here that shift c is taken out,

    P'(d) = P(d + c) = P(d) + c . grad P(d),

the gradient in the nodes of the grid; a star's position moves by c.
"""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import RectBivariateSpline
from scipy.linalg import toeplitz

from ztfpsf.psf.product.psf import Psf
from ztfpsf.psf.product.sampling import draw_oversampled
from ztfpsf.psf.profile.field import count_terms, field_basis
from ztfpsf.psf.profile.residual_grid import ResidualGrid

POSITIONS = 5  # along each axis of the field
OVERSAMPLING = 4
REACH_PX = 2  # of the drawn PSFs beyond the grid
FIRST_VARIANCE_PX2 = 1.0
ITERATIONS = 30  # each more than halves what is left


class Recentred(NamedTuple):
    """A PSF whose origin is its centroid, and how far the origin moved."""

    psf: Psf
    shift_px: np.ndarray  # (C, 2) polynomial of the grid's degree, x and y


def recentre(psf: Psf) -> Recentred:
    """The PSF seen from its centroid, for a star of typical flux; one without grid is symmetric."""
    if psf.grid is None or psf.model.grid is None:
        return Recentred(psf, np.zeros((1, 2)))
    x_px, y_px = _spread(psf.nx, psf.ny)
    half = int(np.ceil(psf.model.grid.radius_px)) + REACH_PX
    images = draw_oversampled(psf, x_px, y_px, OVERSAMPLING, half)
    axis = np.arange(-half * OVERSAMPLING, half * OVERSAMPLING + 1) / OVERSAMPLING
    shift = measure_centroids(images, axis)
    nodes = np.stack(
        [
            _shift_nodes(psf.model.grid, image, axis, c)
            for image, c in zip(images, shift, strict=True)
        ]
    )
    terms = field_basis(x_px, y_px, psf.nx, psf.ny, psf.grid.degree)
    onto = np.linalg.pinv(terms)
    moved = psf.grid.nodes.copy()
    moved[:, : count_terms(psf.grid.degree)] += (onto @ nodes).T
    return Recentred(psf._replace(grid=psf.grid._replace(nodes=moved)), onto @ shift)


def _spread(nx: int, ny: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev's points of the field, (POSITIONS^2,) x and y."""
    u = np.cos(np.pi * (np.arange(POSITIONS) + 0.5) / POSITIONS)
    x, y = np.meshgrid(0.5 * (u * nx + nx - 1), 0.5 * (u * ny + ny - 1))
    return x.ravel(), y.ravel()


def measure_centroids(images: np.ndarray, axis_px: np.ndarray) -> np.ndarray:
    """Centroids of adaptive moments, (n, 2) px. `images`: (n, m, m) at `axis_px` in x and y."""
    centre = np.zeros((len(images), 2))
    xx = yy = np.full((len(images), 1, 1), FIRST_VARIANCE_PX2)
    xy = np.zeros_like(xx)
    for _ in range(ITERATIONS):
        dx = axis_px[None, None, :] - centre[:, 0, None, None]
        dy = axis_px[None, :, None] - centre[:, 1, None, None]
        form = (yy * dx**2 + xx * dy**2 - 2.0 * xy * dx * dy) / (xx * yy - xy**2)
        light = images * np.exp(-0.5 * form)
        light /= light.sum(axis=(1, 2), keepdims=True)

        def mean(values: np.ndarray, light: np.ndarray = light) -> np.ndarray:
            return np.sum(light * values, axis=(1, 2), keepdims=True)

        # In its own window a Gaussian has half its variance, and half its distance.
        centre = centre + 2.0 * np.concatenate([mean(dx), mean(dy)], axis=1)[..., 0]
        xx, yy, xy = 2.0 * mean(dx**2), 2.0 * mean(dy**2), 2.0 * mean(dx * dy)
    return centre


def _shift_nodes(
    grid: ResidualGrid, image: np.ndarray, axis_px: np.ndarray, shift_px: np.ndarray
) -> np.ndarray:
    """Change of the nodes, (nodes,), that moves the origin of a drawn PSF by `shift_px`."""
    spline = RectBivariateSpline(axis_px, axis_px, image)
    at = np.clip(grid.nodes_px, axis_px[0], axis_px[-1])
    change = shift_px[0] * spline(at, at, dy=1) + shift_px[1] * spline(at, at, dx=1)
    # Nodes whose cubic B-splines have these values there.
    to_values = toeplitz([2.0 / 3.0, 1.0 / 6.0, *np.zeros(grid.width - 2)])
    half_way = np.linalg.solve(to_values, change)
    return np.linalg.solve(to_values, half_way.T).T.ravel()
