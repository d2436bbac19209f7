"""A residual image on a grid finer than the pixel, added to the profile of a model.

    P(d) = profile(d) + sum_j g_j B((d_x - x_j) / h) B((d_y - y_j) / h),   g = U z

with nodes (x_j, y_j) of spacing h around the star's centre and B the cubic B-spline, four nodes
wide. The profile is integrated over the pixel; the residual is that of the integrated PSF and is
read at pixel centres, through each star's sub-pixel offset.

The residual has no flux, no centroid, no size and no ellipticity of its own
(ztfpsf.psf.profile.grid_modes), so that flux, position and profile keep their meaning.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.profile.pixels import offsets

REACH = 3  # nodes further apart than this share no pixel


@dataclass(frozen=True)
class ResidualGrid:
    """Where the nodes are, and how many modes stand for them."""

    spacing_px: float = 0.5  # h
    radius_px: float = 8.0  # where the residual has faded out
    n_modes: int = 150

    @property
    def width(self) -> int:
        """Nodes along an axis."""
        return 2 * round(self.radius_px / self.spacing_px) + 1

    @property
    def nodes_px(self) -> np.ndarray:
        """Positions along an axis, (width,)."""
        return (np.arange(self.width) - self.width // 2) * self.spacing_px

    @property
    def stamp_px(self) -> int:
        """Pixels along an axis that the residual can reach, odd."""
        return 2 * int(np.ceil(self.radius_px + 2 * self.spacing_px + 1.0)) + 1


def spline(t: Array) -> Array:
    """Cubic B-spline."""
    t = jnp.abs(t)
    near = 2.0 / 3.0 - t * t + 0.5 * t**3
    far = jnp.maximum(2.0 - t, 0.0) ** 3 / 6.0
    return jnp.where(t < 1.0, near, far)


def spline_weights(grid: ResidualGrid, offset_px: Array, size_px: int) -> Array:
    """Weight of every node at every pixel along one axis, (size_px, width)."""
    distance = offsets(size_px)[:, None] - offset_px - grid.nodes_px
    return spline(distance / grid.spacing_px)


def middle(grid: ResidualGrid, size_px: int) -> slice:
    """Rows or columns of a stamp that the residual can reach."""
    width = min(grid.stamp_px, size_px)
    low = size_px // 2 - width // 2
    return slice(low, low + width)


def add_residual(grid: ResidualGrid, stamp: Array, x: Array, y: Array, nodes: Array) -> Array:
    """Add the residual of a star at (x, y) with node values `nodes` to its stamp."""
    inner = middle(grid, stamp.shape[-1])
    width = inner.stop - inner.start
    square = nodes.reshape(grid.width, grid.width)
    columns = spline_weights(grid, x, width)
    rows = spline_weights(grid, y, width)
    return stamp.at[inner, inner].add(rows @ square @ columns.T)


def respond(grid: ResidualGrid, images: Array, x: Array, y: Array) -> Array:
    """Transpose of `add_residual`: (c, S, S) pixels -> (c, nodes)."""
    inner = middle(grid, images.shape[-1])
    width = inner.stop - inner.start
    columns = spline_weights(grid, x, width)
    rows = spline_weights(grid, y, width)
    square = jnp.einsum("aj,cab,bk->cjk", rows, images[:, inner, inner], columns)
    return square.reshape(len(images), -1)


def _products(weights: Array) -> Array:
    """Products of the weights of nodes j and j + o at each pixel, ((REACH + 1) width, size)."""
    padded = jnp.pad(weights, ((0, 0), (0, REACH)))
    width = weights.shape[1]
    shifted = [weights * padded[:, o : o + width] for o in range(REACH + 1)]
    return jnp.concatenate(shifted, axis=1).T


def band(grid: ResidualGrid, weight: Array, x: Array, y: Array) -> Array:
    """Normal matrix of one star's nodes, ((REACH + 1) width, (REACH + 1) width).

    `weight`: (S, S), times the flux squared. Element [(oy, jy), (ox, jx)] couples the nodes
    (jy, jx) and (jy + oy, jx + ox), and just as well (jy, jx + ox) and (jy + oy, jx).
    """
    inner = middle(grid, weight.shape[-1])
    width = inner.stop - inner.start
    rows = _products(spline_weights(grid, y, width))
    columns = _products(spline_weights(grid, x, width))
    return rows @ weight[inner, inner] @ columns.T


def project_band(grid: ResidualGrid, bands: Array, modes: Array) -> Array:
    """Normal matrix of the modes (nodes, M), (M, M), from that of the nodes, as `band` gives it."""
    w, n_modes = grid.width, modes.shape[1]
    # Each row of nodes with itself and the next REACH rows: dense along x, zero beyond the reach.
    apart = np.arange(w) - np.arange(w)[:, None]
    is_near = np.abs(apart) <= REACH
    first = np.minimum(np.arange(w), np.arange(w)[:, None])
    bands = bands.reshape(REACH + 1, w, REACH + 1, w)
    dense = jnp.where(is_near, bands[:, :, np.abs(apart) * is_near, first], 0.0)
    # A row with itself is counted once, when the transpose is added.
    dense = dense * np.where(np.arange(REACH + 1) == 0, 0.5, 1.0)[:, None, None, None]
    rows = modes.reshape(w, w, n_modes)
    below = jnp.stack([jnp.pad(rows, ((0, o), (0, 0), (0, 0)))[o:] for o in range(REACH + 1)])
    half = jnp.einsum("oyij,oyjm->yim", dense, below)
    half = modes.T @ half.reshape(w * w, n_modes)
    return half + half.T
