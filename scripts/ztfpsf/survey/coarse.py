"""The survey in few unknowns: one zero point (and polynomial) per field, and the common terms.

What is slow to converge lives here: fields hang together by few stars. Its matrix

    C = Z^T N Z ,    Z = one constant per field, component and coefficient, and the common terms

is small enough for a Cholesky decomposition; its smallest eigenvalues are the survey's weak modes,
its inverse holds nearly all of the zero points' covariance. A star flat of many superpixels enters
as a polynomial over each quadrant; what is finer is settled by a matrix for each quadrant.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve, lapack

from ztfpsf.errors import InputError
from ztfpsf.survey.assembly import add_rows, add_superpixels, find_ends, take_together
from ztfpsf.survey.normal import Normal
from ztfpsf.survey.space import Groups, Space, make_space
from ztfpsf.survey.weights import map_blocks

MAX_SIZE = 20000  # 3.2 GB


class Coarse(NamedTuple):
    """Decomposed matrices."""

    space: Space
    factor: np.ndarray  # (n, n), lower triangle L of C + null modes = L L^T
    null_modes: np.ndarray  # (n, n_components), of length 1
    null_weight: float  # what was added to the null modes' eigenvalue 0
    quadrants: np.ndarray  # (maps, p, p), inverse matrices of the superpixels of each quadrant
    maps: np.ndarray  # (maps, m, m), the same for the functions that they are taken together in
    fields: np.ndarray  # (G, K, K), inverse of the sum of the matrices of a group's units

    def correct(self, residual: np.ndarray) -> np.ndarray:
        """Z C^-1 Z^T times a residual, and the inverse of each quadrant's star flat.

        What the inverses of quadrants and units hold of the coarse unknowns is taken out: counted
        twice, it would double the iterations.
        """
        space, restricted = self.space, self.space.restrict(residual)
        coarse = cho_solve((self.factor, True), restricted)
        for first, inverses in ((0, self.maps), (space.n_common, self.fields)):
            part = slice(first, first + inverses.shape[0] * inverses.shape[1])
            values = restricted[part].reshape(inverses.shape[:2])
            coarse[part] -= np.einsum("gij,gj->gi", inverses, values).ravel()
        out = space.prolong(coarse)
        start = space.layout.n_of_units
        flat = slice(start, start + space.layout.counts["star_flat"])
        values = residual[flat].reshape(self.quadrants.shape[:2])
        out[flat] += np.einsum("qij,qj->qi", self.quadrants, values).ravel()
        return out


def make_coarse(normal: Normal, groups: Groups) -> Coarse:
    """Assemble and decompose. Raises InputError where the matrix would be too large."""
    space = make_space(normal.problem.layout, groups)
    if space.size > MAX_SIZE:
        raise InputError(
            f"{space.size} zero points of fields and common terms are more than the {MAX_SIZE} "
            "that fit; take zero points of exposures instead of quadrants (config key "
            "solve_survey.zero_point.unit), a lower degree, fewer periods of the star flat, or "
            "fewer fields."
        )
    matrix, quadrants = _assemble(normal, space)
    _add_probed(normal, space, matrix)
    index, prior = np.arange(space.size), space.restrict(normal.prior)
    # The basis of the star flat is orthonormal.
    prior[: space.n_flat] = space.layout.prior_weights()[0] if space.n_flat else 0.0
    matrix[index, index] += prior
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
    maps = np.linalg.inv(space.basis.T @ quadrants @ space.basis)
    fields = np.linalg.inv(sum_groups(normal, groups))
    return Coarse(space, factor, modes, null_weight, np.linalg.inv(quadrants), maps, fields)


def sum_groups(normal: Normal, groups: Groups) -> np.ndarray:
    """Sum of the normal matrices of the units of each group, (G, K, K)."""
    total = np.zeros((groups.n, *normal.diagonal.shape[1:]))
    is_in = groups.group >= 0
    np.add.at(total, groups.group[is_in], normal.diagonal[is_in])
    return total


def _assemble(normal: Normal, space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Z^T N Z without priors, and the matrix of each quadrant's star flat with them."""
    problem, (p, m) = normal.problem, space.basis.shape
    matrix = np.zeros((space.size, space.size))
    flat = np.zeros((space.n_maps * p, space.size))  # rows not yet taken together
    quadrants = np.zeros((space.n_maps, p, p))
    if space.n_maps:
        quadrants += space.layout.prior_weights()[0] * np.eye(p)
    ends = find_ends(space)
    for rows in map_blocks(
        take_together,
        problem.blocks,
        normal.weights,
        problem.executor,
        space.layout,
        space.groups,
    ):
        add_rows(rows, ends, flat, matrix)
        if space.n_maps:
            add_superpixels(rows, quadrants)
    flat = space.basis.T @ flat.reshape(space.n_maps, p, space.size)
    matrix[: space.n_flat] = flat.reshape(space.n_maps * m, space.size)
    # It is symmetric; LAPACK wants its columns together.
    return matrix.T, quadrants


def _add_probed(normal: Normal, space: Space, matrix: np.ndarray) -> None:
    """Columns of the few common terms that change from measurement to measurement."""
    layout = space.layout
    counts = layout.counts
    first, n = counts["star_flat"] + counts["colour"], counts["airmass"] + counts["linearity"]
    for index in range(first, first + n):
        unit = np.zeros(layout.size)
        unit[layout.n_of_units + index] = 1.0
        place = index - counts["star_flat"] + space.n_flat
        column = space.restrict(normal.multiply(unit) - normal.prior * unit)
        matrix[:, place] = column
        matrix[place, :] = column


def _find_null_modes(space: Space) -> np.ndarray:
    """The same constant in every field of a component: nothing measures it."""
    component = space.groups.component
    names = np.unique(component[component >= 0])
    modes = np.zeros((space.size, len(names)))
    for column, name in enumerate(names):
        where = np.flatnonzero(component == name)
        modes[space.constants[where], column] = len(where) ** -0.5
    return modes
