"""Normal equations of all stars of an image: their solution and its errors.

The unknowns of a star are flux, x and y. The matrix has a 3 x 3 block on the diagonal for each star
and one for each pair of stars, and is otherwise empty.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import splu

PAIR_CHUNK = 2048
# Added to the unit diagonal: two entries for one star stay solvable, with huge errors.
RIDGE = 1e-9


class Normal(NamedTuple):
    """J^T W J and J^T W r of n stars; zero where an unknown is held or has no data."""

    own: np.ndarray  # (n, 3, 3)
    pairs: np.ndarray  # (m, 2) stars
    coupling: np.ndarray  # (m, 3, 3) unknowns of the first star, of the second
    gradient: np.ndarray  # (n, 3)


def make_normal(
    columns: np.ndarray,
    weight: np.ndarray,
    residual: np.ndarray,
    centre_px: np.ndarray,
    pairs: np.ndarray,
) -> Normal:
    """`columns`: (n, 3, S, S) derivatives of the model; `weight`, `residual`: (n, S, S)."""
    n, k, size, _ = columns.shape
    flat = columns.reshape(n, k, -1)
    weighted = flat * weight.reshape(n, 1, -1)
    own = weighted @ flat.transpose(0, 2, 1)
    gradient = weighted @ residual.reshape(n, -1, 1)
    coupling = np.zeros((len(pairs), k, k))
    for start in range(0, len(pairs), PAIR_CHUNK):
        chunk = slice(start, start + PAIR_CHUNK)
        first, second = pairs[chunk].T
        pixel, is_shared = _find_overlap(centre_px[first] - centre_px[second], size)
        theirs = np.take_along_axis(flat[second], pixel[:, None, :], axis=2)
        ours = weighted[first] * is_shared[:, None, :]
        coupling[chunk] = ours @ theirs.transpose(0, 2, 1)
    return Normal(own.astype(float), pairs, coupling, gradient[..., 0].astype(float))


def _find_overlap(shift_px: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the first stamp its index in the second, and whether that holds it.

    `shift_px`: (m, 2) x and y of the first stamp minus those of the second. Returns (m, S^2).
    """
    column, row = (shift[:, None] + np.arange(size) for shift in shift_px.T)
    is_shared = ((row >= 0) & (row < size))[:, :, None] & ((column >= 0) & (column < size))[:, None]
    pixel = row.clip(0, size - 1)[:, :, None] * size + column.clip(0, size - 1)[:, None]
    return pixel.reshape(len(shift_px), -1), is_shared.reshape(len(shift_px), -1)


def _scaled(normal: Normal) -> tuple[Normal, np.ndarray]:
    """The same with unit diagonal, and the scale (n, 3) of the unknowns."""
    diagonal = np.diagonal(normal.own, axis1=1, axis2=2)
    scale = np.where(diagonal > 0, diagonal, 1.0) ** -0.5
    own = normal.own * scale[:, :, None] * scale[:, None, :]
    k = np.arange(own.shape[1])
    own[:, k, k] = 1.0 + RIDGE
    first, second = normal.pairs.T
    coupling = normal.coupling * scale[first][:, :, None] * scale[second][:, None, :]
    return Normal(own, normal.pairs, coupling, normal.gradient * scale), scale


def solve(normal: Normal) -> np.ndarray:
    """The Gauss-Newton step of all unknowns, (n, 3)."""
    scaled, scale = _scaled(normal)
    factors = splu(
        _assemble(scaled),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return factors.solve(scaled.gradient.ravel()).reshape(scale.shape) * scale


def _assemble(normal: Normal) -> csc_array:
    """The sparse matrix, (3 n, 3 n)."""
    n, k = normal.gradient.shape
    star, (first, second) = np.arange(n), normal.pairs.T
    blocks = np.concatenate([normal.own, normal.coupling, normal.coupling.transpose(0, 2, 1)])
    row, column = (
        np.concatenate(stars)[:, None] * k + np.arange(k)
        for stars in ((star, first, second), (star, second, first))
    )
    row, column = np.broadcast_arrays(row[:, :, None], column[:, None, :])
    is_filled = blocks != 0
    entries = (blocks[is_filled], (row[is_filled], column[is_filled]))
    return coo_array(entries, shape=(n * k, n * k)).tocsc()


def covariances(normal: Normal, group: np.ndarray) -> np.ndarray:
    """Covariance of the unknowns of each star, marginalised over those of its group, (n, 3, 3).

    `group`: (n,) number of each star's group.
    """
    scaled, scale = _scaled(normal)
    size = np.bincount(group)[group]
    order = np.lexsort((group, size))  # stars of a group follow each other
    slot, row = np.empty((2, len(group)), int)
    is_inside = group[normal.pairs[:, 0]] == group[normal.pairs[:, 1]]
    pair_size = np.where(is_inside, size[normal.pairs[:, 0]], 0)
    result = np.empty(normal.own.shape)
    for m in np.unique(size):
        stars = order[size[order] == m].reshape(-1, m)
        row[stars], slot[stars] = np.arange(len(stars))[:, None], np.arange(m)
        blocks = _Blocks(stars, scaled, pair_size == m, row, slot)
        result[stars] = _invert(blocks)
    return result * scale[:, :, None] * scale[:, None, :]


class _Blocks(NamedTuple):
    """Groups of one size."""

    stars: np.ndarray  # (groups, m)
    normal: Normal
    is_theirs: np.ndarray  # pairs within these groups
    row: np.ndarray  # of each star: its group
    slot: np.ndarray  # of each star: its rank in the group


def _invert(blocks: _Blocks) -> np.ndarray:
    """Diagonal blocks of the inverse, (groups, m, 3, 3)."""
    (n, m), k = blocks.stars.shape, blocks.normal.own.shape[1]
    matrix = np.zeros((n, m, m, k, k))
    rank = np.arange(m)
    matrix[:, rank, rank] = blocks.normal.own[blocks.stars]
    first, second = blocks.normal.pairs[blocks.is_theirs].T
    coupling = blocks.normal.coupling[blocks.is_theirs]
    row, slot = blocks.row, blocks.slot
    matrix[row[first], slot[first], slot[second]] = coupling
    matrix[row[first], slot[second], slot[first]] = coupling.transpose(0, 2, 1)
    square = matrix.transpose(0, 1, 3, 2, 4).reshape(n, m * k, m * k)
    inverse = np.linalg.inv(square).reshape(n, m, k, m, k)
    return inverse[:, rank, :, rank, :].transpose(1, 0, 2, 3)
