"""The survey in few unknowns: one zero point (and polynomial) per field, and the common terms.

What is slow to converge lives here: fields hang together by few stars. Its matrix

    C = Z^T N Z ,    Z = one constant per field, component and coefficient, and the common terms

is small enough for a Cholesky decomposition; its smallest eigenvalues are the survey's weak modes,
its inverse holds nearly all of the zero points' covariance. A star flat of many superpixels enters
in squares of them; what it does within a quadrant is a matrix per quadrant.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import cho_solve, lapack

from ztfpsf.errors import InputError
from ztfpsf.survey.assembly import Groups, assemble
from ztfpsf.survey.normal import Normal
from ztfpsf.survey.terms import N_QUADRANTS, Layout
from ztfpsf.survey.weights import map_blocks

MAX_SIZE = 20000  # 3.2 GB
MAX_SQUARES = 2000  # of a star flat's superpixels


class Space(NamedTuple):
    """The coarse unknowns: squares of superpixels, other common terms, the groups' coefficients."""

    groups: Groups
    layout: Layout
    square: np.ndarray  # (n superpixels,), the square of each
    n_squares: int

    @property
    def n_common(self) -> int:
        return self.n_squares + self.layout.n_common - len(self.square)

    @property
    def size(self) -> int:
        return self.n_common + self.groups.n * self.layout.n_coefficients

    @property
    def place(self) -> np.ndarray:
        """Coarse unknown of each common term and each group's coefficient."""
        return np.concatenate([self.square, np.arange(self.n_squares, self.size)]).astype(int)

    def restrict(self, vector: np.ndarray) -> np.ndarray:
        """Z^T times a vector of unknowns."""
        units, _ = self.layout.split(vector)
        group, n = self.groups.group, self.groups.n
        is_in = group >= 0
        sums = [np.bincount(group[is_in], column[is_in], n) for column in units.T]
        common = vector[self.layout.n_of_units :]
        n_flat = len(self.square)
        squares = np.bincount(self.square, common[:n_flat], self.n_squares)
        return np.concatenate([squares, common[n_flat:], np.stack(sums, axis=1).ravel()])

    def prolong(self, coarse: np.ndarray) -> np.ndarray:
        """Z times a coarse vector."""
        group, k = self.groups.group, self.layout.n_coefficients
        of_groups = np.append(coarse[self.n_common :], np.zeros(k)).reshape(-1, k)
        common = coarse[: self.n_common]
        flat = common[: self.n_squares][self.square]
        return np.concatenate([of_groups[group].ravel(), flat, common[self.n_squares :]])


class Coarse(NamedTuple):
    """Decomposed matrices."""

    space: Space
    factor: np.ndarray  # (n, n), lower triangle L of C + null modes = L L^T
    null_modes: np.ndarray  # (n, n_components), of length 1
    null_weight: float  # what was added to the null modes' eigenvalue 0
    quadrants: np.ndarray  # (Q, p, p), inverse matrices of the superpixels of each quadrant

    def correct(self, residual: np.ndarray) -> np.ndarray:
        """Z C^-1 Z^T times a residual, and the inverse of each quadrant's star flat."""
        space = self.space
        out = space.prolong(cho_solve((self.factor, True), space.restrict(residual)))
        flat = slice(space.layout.n_of_units, space.layout.n_of_units + len(space.square))
        n_quadrants, n = self.quadrants.shape[:2]
        own = np.einsum("qij,qj->qi", self.quadrants, residual[flat].reshape(n_quadrants, n))
        out[flat] += own.ravel()
        return out


def make_space(layout: Layout, groups: Groups) -> Space:
    """Squares as small as there is room for: of one superpixel, if possible."""
    counts, side = layout.counts, layout.terms.superpixels
    if not counts["star_flat"]:
        return Space(groups, layout, np.zeros(0, int), 0)
    n_maps = layout.n_periods * N_QUADRANTS
    sides = [n for n in range(1, side + 1) if side % n == 0]
    n = max([n for n in sides if n_maps * n**2 <= MAX_SQUARES], default=1)
    axis = np.arange(side) * n // side
    one = axis[:, None] * n + axis
    square = np.arange(n_maps)[:, None] * n**2 + one.ravel()
    return Space(groups, layout, square.ravel(), n_maps * n**2)


def make_coarse(normal: Normal, groups: Groups) -> Coarse:
    """Assemble and decompose. Raises InputError where the matrix would be too large."""
    layout = normal.problem.layout
    space = make_space(layout, groups)
    if space.size > MAX_SIZE:
        raise InputError(
            f"{space.size} fields and common terms are more than the {MAX_SIZE} that fit; take "
            "fewer periods of the star flat, a lower degree of the zero points, or fewer fields."
        )
    matrix, quadrants = _assemble(normal, space)
    _add_probed(normal, space, matrix)
    _add_prior(normal, space, matrix)
    modes = _find_null_modes(space)
    # As heavy as a typical field: too light a weight would spoil the decomposition.
    is_in = groups.group >= 0
    heavy = np.bincount(groups.group[is_in], normal.diagonal[is_in, 0, 0], groups.n)
    null_weight = float(np.median(heavy)) if groups.n else 1.0
    for mode in modes.T:
        where = np.flatnonzero(mode)
        matrix[np.ix_(where, where)] += null_weight * np.outer(mode[where], mode[where])
    # ASSUME: an empty row is an unknown that no measurement touches; it stays 0.
    empty = np.diagonal(matrix) <= 0
    matrix[empty, empty] = 1.0
    factor, status = lapack.dpotrf(matrix, lower=True, overwrite_a=True, clean=False)
    if status:
        raise InputError(
            "the measurements do not settle the fit: widen no prior beyond what is known, and "
            "see that exposures of a field share stars."
        )
    return Coarse(space, factor, modes, null_weight, np.linalg.inv(quadrants))


def _assemble(normal: Normal, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Z^T N Z without priors, and the matrix of each quadrant's star flat with them."""
    layout, problem, place = space.layout, normal.problem, space.place
    matrix = np.zeros((space.size, space.size), order="F")
    n_flat = len(space.square)
    n_own = layout.terms.superpixels**2 if n_flat else 0
    prior = layout.prior_weights()[:1] if n_flat else np.zeros(1)
    quadrants = np.tile(prior * np.eye(n_own), (n_flat // n_own if n_flat else 0, 1, 1))
    for rows, columns, values in map_blocks(
        assemble, problem.blocks, normal.weights, problem.executor, layout, space.groups
    ):
        ends = (place[rows], place[columns])
        part = sparse.coo_array((values, ends), matrix.shape).tocsr().tocoo()
        matrix[part.row, part.col] += part.data
        if n_flat:
            own = (rows < n_flat) & (columns < n_flat) & (rows // n_own == columns // n_own)
            row, column = rows[own], columns[own]
            quadrants[row // n_own, row % n_own, column % n_own] += values[own]
    return matrix, quadrants


def _add_probed(normal: Normal, space: Space, matrix: np.ndarray) -> None:
    """Columns of the few common terms that change from measurement to measurement."""
    layout = space.layout
    counts = layout.counts
    first = counts["star_flat"] + counts["colour"]
    for index in range(first, first + counts["airmass"] + counts["linearity"]):
        unit = np.zeros(layout.size)
        unit[layout.n_of_units + index] = 1.0
        column = space.restrict(normal.multiply(unit) - normal.prior * unit)
        matrix[:, space.place[index]] = column
        matrix[space.place[index], :] = column


def _add_prior(normal: Normal, space: Space, matrix: np.ndarray) -> None:
    index = np.arange(space.size)
    matrix[index, index] += space.restrict(normal.prior)


def _find_null_modes(space: Space) -> np.ndarray:
    """The same constant in every field of a component: nothing measures it."""
    component = space.groups.component
    names = np.unique(component[component >= 0])
    modes = np.zeros((space.size, len(names)))
    for column, name in enumerate(names):
        where = np.flatnonzero(component == name)
        modes[space.n_common + where * space.layout.n_coefficients, column] = len(where) ** -0.5
    return modes
