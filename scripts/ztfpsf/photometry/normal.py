"""Normal equations of groups of overlapping stars, their solution and its errors.

The unknowns of a star are flux, x and y: a 3 x 3 block per star, and one per pair of a group.
"""

from typing import NamedTuple

import numpy as np

from ztfpsf.photometry.groups import iterate_groups

PAIR_CHUNK = 2048
# Added to the unit diagonal, above the rounding of single precision: two entries for one star stay
# solvable, with errors a thousand times larger.
RIDGE = 1e-6


class Normal(NamedTuple):
    """J^T W J and J^T W r of n stars; zero where an unknown is held or has no data."""

    own: np.ndarray  # (n, 3, 3)
    pairs: np.ndarray  # (m, 2) stars
    coupling: np.ndarray  # (m, 3, 3) unknowns of the first star, of the second
    gradient: np.ndarray  # (n, 3)


class Columns(NamedTuple):
    """Derivatives of the models of the p stars that overlap with others."""

    plain: np.ndarray  # (p, 3, S, S) background eliminated
    weighted: np.ndarray  # (p, 3, S, S) times the weight of the pixel
    mean: np.ndarray  # (p, 3) what the background took away
    slot: np.ndarray  # (n,) which of the p a star is


class Inverse(NamedTuple):
    """Inverse of the normal matrix of each group, and the unit (n, 3) of the unknowns in it."""

    groups: list[tuple[np.ndarray, np.ndarray]]  # stars (g, m) and matrices (g, m, 3, m, 3)
    scale: np.ndarray

    def apply(self, gradient: np.ndarray) -> np.ndarray:
        """The inverse times (n, 3)."""
        scaled, result = gradient * self.scale, np.zeros(gradient.shape)
        for stars, matrix in self.groups:
            result[stars] = np.einsum("gakbl,gbl->gak", matrix, scaled[stars])
        return result * self.scale

    def covariances(self) -> np.ndarray:
        """Covariance of each star's unknowns, marginalised over its group, (n, 3, 3)."""
        n, k = self.scale.shape
        result = np.zeros((n, k, k))
        for stars, matrix in self.groups:
            rank = np.arange(stars.shape[1])
            result[stars] = matrix[:, rank, :, rank].transpose(1, 0, 2, 3)
        return result * self.scale[:, :, None] * self.scale[:, None, :]


def make_coupling(columns: Columns, centre_px: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Blocks (m, 3, 3) of the pairs; `centre_px`: (n, 2) of the stamps."""
    _, k, size, _ = columns.plain.shape
    coupling = np.zeros((len(pairs), k, k))
    for start in range(0, len(pairs), PAIR_CHUNK):
        chunk = slice(start, start + PAIR_CHUNK)
        first, second = pairs[chunk].T
        pixel, is_shared = _find_overlap(centre_px[first] - centre_px[second], size)
        theirs = columns.plain[columns.slot[second]].reshape(len(first), k, -1)
        theirs = np.take_along_axis(theirs, pixel[:, None, :], axis=2)
        ours = columns.weighted[columns.slot[first]].reshape(len(first), k, -1)
        coupling[chunk] = (ours * is_shared[:, None, :]) @ theirs.transpose(0, 2, 1)
    return coupling


def _find_overlap(shift_px: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the first stamp its index in the second, and whether that holds it.

    `shift_px`: (m, 2) x and y of the first stamp minus those of the second. Returns (m, S^2).
    """
    column, row = (shift[:, None] + np.arange(size) for shift in shift_px.T)
    is_shared = ((row >= 0) & (row < size))[:, :, None] & ((column >= 0) & (column < size))[:, None]
    pixel = row.clip(0, size - 1)[:, :, None] * size + column.clip(0, size - 1)[:, None]
    return pixel.reshape(len(shift_px), -1), is_shared.reshape(len(shift_px), -1)


def hold(normal: Normal, is_free: np.ndarray) -> Normal:
    """The equations of all fluxes, and of the positions of the stars `is_free`, (n,) bool."""
    keep = np.ones(normal.gradient.shape, bool)
    keep[:, 1:] = is_free[:, None]
    first, second = normal.pairs.T
    return Normal(
        normal.own * keep[:, :, None] * keep[:, None, :],
        normal.pairs,
        normal.coupling * keep[first][:, :, None] * keep[second][:, None, :],
        normal.gradient * keep,
    )


def invert(normal: Normal, group: np.ndarray) -> Inverse:
    """`group`: (n,) number of each star's group, whose pairs must all be there."""
    scaled, scale = _scaled(normal)
    group_of_pair = group[normal.pairs[:, 0]]
    size_of_pair = np.bincount(group)[group_of_pair]
    row, slot = np.zeros((2, len(group)), int)
    inverses = []
    for stars in iterate_groups(group):
        row[stars], slot[stars] = np.arange(len(stars))[:, None], np.arange(stars.shape[1])
        is_theirs = size_of_pair == stars.shape[1]
        first, second = normal.pairs[is_theirs].T
        place = (row[first], slot[first], slot[second])
        inverses.append((stars, _invert(scaled.own[stars], scaled.coupling[is_theirs], place)))
    return Inverse(inverses, scale)


def invert_alone(normal: Normal) -> Inverse:
    """As if no star had a neighbour."""
    nothing = normal._replace(pairs=normal.pairs[:0], coupling=normal.coupling[:0])
    return invert(nothing, np.arange(len(normal.own)))


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


def _invert(
    own: np.ndarray, coupling: np.ndarray, place: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> np.ndarray:
    """Inverses for groups of m stars, (groups, m, 3, m, 3).

    `own`: (groups, m, 3, 3); `coupling`: (pairs, 3, 3), of the group and the two stars in `place`.
    """
    n, m, k, _ = own.shape
    matrix = np.zeros((n, m, m, k, k))
    rank = np.arange(m)
    matrix[:, rank, rank] = own
    group, first, second = place
    matrix[group, first, second] = coupling
    matrix[group, second, first] = coupling.transpose(0, 2, 1)
    square = matrix.transpose(0, 1, 3, 2, 4).reshape(n, m * k, m * k)
    return np.linalg.inv(square).reshape(n, m, k, m, k)
