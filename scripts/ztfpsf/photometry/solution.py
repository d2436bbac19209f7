"""The step that solves the equations, and its errors: groups by their inverse, crowds by GMRES.

The unknowns of a star are flux, x and y: a 3 x 3 block per star, and one per pair of a group.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from ztfpsf.photometry.equations import Evaluation, StarNormal
from ztfpsf.photometry.groups import Overlaps, iterate_groups
from ztfpsf.photometry.light import Light

# Added to the unit diagonal, above the rounding of single precision: two entries for one star stay
# solvable, with errors a thousand times larger.
RIDGE = 1e-6
# Of a step in a crowd: the next pass sees what it leaves over.
RELATIVE_RESIDUAL = 0.05
MAX_ITERATIONS = 20


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


def solve(
    light: Light, overlaps: Overlaps, evaluation: Evaluation, is_free: np.ndarray
) -> tuple[np.ndarray, Inverse]:
    """The step (n, 3) of flux, x and y, and the inverse that tells the errors of where it starts.

    Positions move of the stars `is_free`, (n,) bool.
    """
    normal = hold(evaluation.normal, is_free)
    inverse = invert(normal, overlaps.group)
    step = inverse.apply(normal.gradient)
    if overlaps.is_crowded.any():
        crowd = np.flatnonzero(overlaps.is_crowded)
        step[crowd] = solve_crowd(crowd, light, evaluation, inverse, is_free)
    return step, inverse


def hold(normal: StarNormal, is_free: np.ndarray) -> StarNormal:
    """The equations of all fluxes, and of the positions of the stars `is_free`, (n,) bool."""
    keep = np.ones(normal.gradient.shape, bool)
    keep[:, 1:] = is_free[:, None]
    first, second = normal.pairs.T
    return StarNormal(
        normal.own * keep[:, :, None] * keep[:, None, :],
        normal.pairs,
        normal.coupling * keep[first][:, :, None] * keep[second][:, None, :],
        normal.gradient * keep,
    )


def invert(normal: StarNormal, group: np.ndarray) -> Inverse:
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


def invert_alone(normal: StarNormal) -> Inverse:
    """As if no star had a neighbour."""
    nothing = normal._replace(pairs=normal.pairs[:0], coupling=normal.coupling[:0])
    return invert(nothing, np.arange(len(normal.own)))


def _scaled(normal: StarNormal) -> tuple[StarNormal, np.ndarray]:
    """The same with unit diagonal, and the scale (n, 3) of the unknowns."""
    diagonal = np.diagonal(normal.own, axis1=1, axis2=2)
    scale = np.where(diagonal > 0, diagonal, 1.0) ** -0.5
    own = normal.own * scale[:, :, None] * scale[:, None, :]
    k = np.arange(own.shape[1])
    own[:, k, k] = 1.0 + RIDGE
    first, second = normal.pairs.T
    coupling = normal.coupling * scale[first][:, :, None] * scale[second][:, None, :]
    return StarNormal(own, normal.pairs, coupling, normal.gradient * scale), scale


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


def solve_crowd(
    crowd: np.ndarray,
    light: Light,
    evaluation: Evaluation,
    inverse: Inverse,
    is_free: np.ndarray,
) -> np.ndarray:
    """The step (c, 3) of the stars `crowd`, (c,) of n.

    GMRES (Saad & Schultz 1986) on the pixels: the light that a step adds is drawn, and read by
    every stamp that it reaches. The groups are the preconditioner.
    """
    columns, pixel = evaluation.columns, light.pixel[crowd]
    slot = columns.slot[crowd]
    weighted = columns.weighted[slot]
    added = columns.plain[slot] + columns.mean[slot, :, None, None]
    plane = np.zeros(evaluation.model.size, np.float32)
    keep = np.stack([np.ones(len(crowd)), is_free[crowd], is_free[crowd]], axis=1)
    scale = inverse.scale[crowd] * keep
    everywhere = np.zeros(inverse.scale.shape)

    def multiply(vector: np.ndarray) -> np.ndarray:
        unknowns = (vector.reshape(-1, 3) * scale).astype(np.float32)
        plane[pixel] = 0
        np.add.at(plane, pixel, np.einsum("nkij,nk->nij", added, unknowns))
        return (np.einsum("nkij,nij->nk", weighted, plane[pixel]) * scale).ravel()

    def precondition(vector: np.ndarray) -> np.ndarray:
        everywhere[crowd] = vector.reshape(-1, 3) / inverse.scale[crowd]
        return (inverse.apply(everywhere)[crowd] / inverse.scale[crowd]).ravel()

    shape = (3 * len(crowd), 3 * len(crowd))
    solution, _ = gmres(
        LinearOperator(shape, multiply),
        (evaluation.normal.gradient[crowd] * scale).ravel(),
        M=LinearOperator(shape, precondition),
        rtol=RELATIVE_RESIDUAL,
        restart=MAX_ITERATIONS,
        maxiter=1,
    )
    return solution.reshape(-1, 3) * scale
