"""A residual image on a grid finer than the pixel, added to the profile of a model.

    P(d) = profile(d) + sum_j g_j B((d_x - x_j) / h) B((d_y - y_j) / h),   g = U z

with nodes (x_j, y_j) of spacing h around the star's centre and B the cubic B-spline, four nodes
wide. The profile is integrated over the pixel; the residual is that of the integrated PSF and is
read at pixel centres, through each star's sub-pixel offset.

The node values are a Gaussian process: smooth over about three nodes, and the smaller the fainter
the profile. U holds its strongest modes, so that some hundred coefficients z of unit prior
variance (times 1 / precision, which the stars decide: ztfpsf.psf.evidence) stand for all nodes.
The residual has no flux, so that the integral over the plane is 1, and no centroid in a Gaussian
window of the star's width, so that (x, y) is the centroid that adaptive moments measure. Nor has it
a part along the derivatives of the profile by what varies over the field, size and ellipticity:
these are the profile's, and the fit of both together is well conditioned.
"""

from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.pixels import offsets

REACH = 3  # nodes further apart than this share no pixel
ROUGHNESS = 0.01  # curvature against amplitude in the prior: correlated over ~3 nodes
ENVELOPE = 0.75  # the prior's amplitude goes as the profile to this power
FAINTEST = 0.02  # of the peak: where the sky decides the weight of a pixel
PIXEL_FWHM_PX = 0.68  # that of a Gaussian with the pixel's variance
FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


class Grid(NamedTuple):
    """Where the nodes are, and how many modes stand for them."""

    spacing_px: float = 0.5
    radius_px: float = 6.0  # of the square that holds the nodes
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


class Gridded(NamedTuple):
    """A model with a grid; stands wherever the module of a model does."""

    base: ModuleType
    grid: Grid

    @property
    def Shape(self) -> Any:  # noqa: N802 - the name that a model's module has
        return self.base.Shape

    @property
    def start(self) -> Any:
        return self.base.start

    @property
    def profile(self) -> Any:
        return self.base.profile

    @property
    def describe(self) -> Any:
        return self.base.describe


def add_grid(model: ModuleType, grid: Grid) -> Any:
    """The model as the fits take it: with the grid, if its file names a BASE."""
    return Gridded(model.BASE, grid) if hasattr(model, "BASE") else model


def get_grid(model: Any) -> Grid | None:
    """The grid of a model, None for a profile alone."""
    return model.grid if isinstance(model, Gridded) else None


def get_base(model: Any) -> ModuleType:
    """The module of the profile."""
    return model.base if isinstance(model, Gridded) else model


def spline(t: Array) -> Array:
    """Cubic B-spline."""
    t = jnp.abs(t)
    near = 2.0 / 3.0 - t * t + 0.5 * t**3
    far = jnp.maximum(2.0 - t, 0.0) ** 3 / 6.0
    return jnp.where(t < 1.0, near, far)


def spline_weights(grid: Grid, offset_px: Array, size_px: int) -> Array:
    """Weight of every node at every pixel along one axis, (size_px, width)."""
    distance = offsets(size_px)[:, None] - offset_px - grid.nodes_px
    return spline(distance / grid.spacing_px)


def middle(grid: Grid, size_px: int) -> slice:
    """Rows or columns of a stamp that the residual can reach."""
    width = min(grid.stamp_px, size_px)
    low = size_px // 2 - width // 2
    return slice(low, low + width)


def add_residual(grid: Grid, stamp: Array, x: Array, y: Array, nodes: Array) -> Array:
    """Add the residual of a star at (x, y) with node values `nodes` to its stamp."""
    inner = middle(grid, stamp.shape[-1])
    width = inner.stop - inner.start
    square = nodes.reshape(grid.width, grid.width)
    columns = spline_weights(grid, x, width)
    rows = spline_weights(grid, y, width)
    return stamp.at[inner, inner].add(rows @ square @ columns.T)


def respond(grid: Grid, images: Array, x: Array, y: Array) -> Array:
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


def band(grid: Grid, weight: Array, x: Array, y: Array) -> Array:
    """Normal matrix of one star's nodes, ((REACH + 1) width, (REACH + 1) width).

    `weight`: (S, S), times the flux squared. Element [(oy, jy), (ox, jx)] couples the nodes
    (jy, jx) and (jy + oy, jx + ox), and just as well (jy, jx + ox) and (jy + oy, jx).
    """
    inner = middle(grid, weight.shape[-1])
    width = inner.stop - inner.start
    rows = _products(spline_weights(grid, y, width))
    columns = _products(spline_weights(grid, x, width))
    return rows @ weight[inner, inner] @ columns.T


@cache
def _band_index(grid: Grid) -> tuple[np.ndarray, ...]:
    """Positions in the flattened band, and rows and columns of the two couplings of each."""
    w = grid.width
    oy, jy, ox, jx = np.meshgrid(
        range(REACH + 1), range(w), range(REACH + 1), range(w), indexing="ij"
    )
    inside = (jy + oy < w) & (jx + ox < w)
    oy, jy, ox, jx = (index[inside] for index in (oy, jy, ox, jx))
    position = np.flatnonzero(inside)
    straight = (jy * w + jx, (jy + oy) * w + jx + ox)
    crossed = (jy * w + jx + ox, (jy + oy) * w + jx)
    return position, *straight, *crossed


def dense(grid: Grid, bands: Array) -> Array:
    """Bands (pairs, ...) as dense matrices (pairs, nodes, nodes)."""
    position, row, column, row_crossed, column_crossed = _band_index(grid)
    values = bands.reshape(len(bands), -1)[:, position]
    matrix = jnp.zeros((len(bands), grid.width**2, grid.width**2))
    for a, b in ((row, column), (row_crossed, column_crossed)):
        matrix = matrix.at[:, a, b].set(values).at[:, b, a].set(values)
    return matrix


def make_modes(model: Gridded, shape: np.ndarray) -> np.ndarray:
    """Modes U of the prior, (nodes, n_modes): node values of unit coefficients.

    `shape`: (K,) that of a typical star.
    """
    grid, base = model.grid, model.base
    dx, dy = np.meshgrid(grid.nodes_px, grid.nodes_px)
    # The prior is for what is seen: a profile narrower than the pixel looks as wide as it.
    fwhm_px = float(np.hypot(np.exp(base.Shape(*shape).ln_fwhm), PIXEL_FWHM_PX))
    seen = jnp.asarray([*base.Shape(*shape)._replace(ln_fwhm=np.log(fwhm_px))], float)

    def profile(values: Array) -> Array:
        return base.profile(dx, dy, base.Shape(*values)).ravel()

    light = np.asarray(profile(seen))
    relative = np.maximum(light / light.max(), 1e-12)
    varying = [name not in getattr(base, "CONSTANT", ()) for name in base.Shape._fields]
    tangents = np.asarray(jax.jacfwd(profile)(seen)).T[varying]
    # Between the weights of faint stars, all pixels alike, and of bright ones, the inverse light.
    weight = np.maximum(relative, FAINTEST) ** -0.5
    x, y = dx.ravel(), dy.ravel()
    window = np.exp(-0.5 * (x**2 + y**2) / (fwhm_px / FWHM_PER_SIGMA) ** 2)
    held = np.stack([np.ones_like(x), window * x, window * y, *(weight * tangents)], axis=1)
    kept = np.linalg.qr(held)[0]
    root = (light.max() * relative**ENVELOPE)[:, None] * _smooth_root(grid)
    root -= kept @ (kept.T @ root)
    variance, mode = np.linalg.eigh(root @ root.T)
    strongest = slice(-1, -1 - grid.n_modes, -1)
    return mode[:, strongest] * np.sqrt(np.maximum(variance[strongest], 0.0))


@cache
def _smooth_root(grid: Grid) -> np.ndarray:
    """Square root of the covariance (curvature^2 + ROUGHNESS)^-1 of a smooth unit field."""
    w = grid.width
    second = np.diff(np.eye(w), 2, axis=0)
    first = np.diff(np.eye(w), axis=0)
    a, b, one = second.T @ second, first.T @ first, np.eye(w)
    curvature = np.kron(a, one) + np.kron(one, a) + 2.0 * np.kron(b, b)
    value, vector = np.linalg.eigh(curvature + ROUGHNESS * np.eye(w * w))
    # ROUGHNESS as the unit: the field has a variance of about 1.
    return vector * np.sqrt(ROUGHNESS / value)
