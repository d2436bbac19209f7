"""The survey in few unknowns: one zero point (and polynomial) per field, and the common terms.

What is slow to converge lives here: fields hang together by few stars. Its matrix

    C = Z^T N Z ,    Z = one constant per field, component and coefficient, and the common terms

is small enough for a Cholesky decomposition; its smallest eigenvalues are the survey's weak modes,
its inverse holds nearly all of the zero points' covariance.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import cho_solve, lapack

from ztfpsf.errors import InputError
from ztfpsf.survey.block import Block, make_basis
from ztfpsf.survey.normal import Normal
from ztfpsf.survey.terms import N_QUADRANTS, Layout
from ztfpsf.survey.weights import Kept, find_weight, map_blocks

MAX_SIZE = 20000  # 3.2 GB


class Groups(NamedTuple):
    """Units of one field that are connected by stars."""

    group: np.ndarray  # (U,) int, -1: not fitted
    field: np.ndarray  # (G,)
    component: np.ndarray  # (G,), -1: connected to the reference catalogue

    @property
    def n(self) -> int:
        return len(self.field)


class Coarse(NamedTuple):
    """Decomposed matrix; common terms first, then the groups' coefficients, group by group."""

    groups: Groups
    layout: Layout
    factor: np.ndarray  # (n, n), lower triangle L of C + null modes = L L^T
    null_modes: np.ndarray  # (n, n_components), of length 1
    null_weight: float  # what was added to the null modes' eigenvalue 0

    def restrict(self, vector: np.ndarray) -> np.ndarray:
        """Z^T times a vector of unknowns."""
        units, _ = self.layout.split(vector)
        is_in = self.groups.group >= 0
        sums = np.zeros((self.groups.n, self.layout.n_coefficients))
        for k in range(self.layout.n_coefficients):
            sums[:, k] = np.bincount(self.groups.group[is_in], units[is_in, k], self.groups.n)
        return np.concatenate([vector[self.layout.n_of_units :], sums.ravel()])

    def prolong(self, coarse: np.ndarray) -> np.ndarray:
        """Z times a coarse vector."""
        n_common, group = self.layout.n_common, self.groups.group
        sums = coarse[n_common:].reshape(self.groups.n, self.layout.n_coefficients)
        units = np.where(group[:, None] >= 0, sums[group], 0.0)
        return np.concatenate([units.ravel(), coarse[:n_common]])

    def correct(self, residual: np.ndarray) -> np.ndarray:
        """Z C^-1 Z^T times a residual."""
        return self.prolong(cho_solve((self.factor, True), self.restrict(residual)))


def make_coarse(normal: Normal, groups: Groups) -> Coarse:
    """Assemble and decompose. Raises InputError where the matrix would be too large."""
    layout = normal.problem.layout
    n = layout.n_common + groups.n * layout.n_coefficients
    if n > MAX_SIZE:
        raise InputError(
            f"{n} fields and common terms are more than the {MAX_SIZE} that fit; take fewer "
            "superpixels, fewer periods, or a lower degree of the zero points."
        )
    matrix = np.zeros((n, n), order="F")
    for rows, columns, values in map_blocks(
        _assemble, normal.problem.blocks, normal.weights, normal.problem.executor, layout, groups
    ):
        matrix[rows, columns] += values
    _add_probed(normal, groups, matrix)
    _add_prior(normal, groups, matrix)
    modes = _find_null_modes(layout, groups)
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
    return Coarse(groups, layout, factor, modes, null_weight)


def _assemble(
    block: Block, kept: Kept, scatter_mag: np.ndarray, layout: Layout, groups: Groups
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z^T N Z of a block, but for airmass and linearity: rows, columns, values."""
    weight = find_weight(block, kept, scatter_mag)
    design, total, star = compress(block, layout, weight, groups)
    mean = mean_of_stars(block, design, total, star)
    star_weight = sparse.diags_array(block.sum_stars(weight))
    matrix = design.T @ sparse.diags_array(total) @ design - mean.T @ star_weight @ mean
    matrix = matrix.tocoo()
    return matrix.row, matrix.col, matrix.data


def mean_of_stars(
    block: Block, design: sparse.csr_array, total: np.ndarray, star: np.ndarray
) -> sparse.csr_array:
    """Weighted mean of the rows of `compress` over each star, (S, n)."""
    star_weight = np.bincount(star, total, block.n_stars)
    share = total / np.where(star_weight > 0, star_weight, 1.0)[star]
    rows = np.arange(len(total))
    return sparse.csr_array((share, (star, rows)), (block.n_stars, len(total))) @ design


def compress(
    block: Block, layout: Layout, weight: np.ndarray, groups: Groups
) -> tuple[sparse.csr_array, np.ndarray, np.ndarray]:
    """One row for the measurements of a star in a group and superpixel.

    Returns the design (m, n) in the coarse unknowns at their mean place, their weight and star.
    """
    group = groups.group[block.units][block.unit]
    counts = layout.counts
    cell = block.superpixel if counts["star_flat"] else block.quadrant
    has_cells = counts["star_flat"] or counts["colour"]
    n_cells = max(counts["star_flat"], N_QUADRANTS + 1) if has_cells else 1
    star = np.repeat(np.arange(block.n_stars), block.n_per_star)
    key = star * (groups.n + 1) + (group + 1)
    key = key * n_cells + (cell if has_cells else 0)
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    total = np.add.reduceat(weight[order], first, dtype=np.float64)
    used = np.where(total > 0, total, 1.0)
    at = order[first]
    u, v = (
        np.add.reduceat((weight * x)[order], first, dtype=np.float64) / used if len(x) else x
        for x in (block.u, block.v)
    )
    group, star, quadrant = group[at], star[at], block.quadrant[at]
    is_in, rows, n_rows = group >= 0, np.arange(len(at)), len(at)
    entries = []
    basis = [np.ones(n_rows), *make_basis(u, v, layout.terms.degree)]
    for k, values in enumerate(basis):
        column = layout.n_common + group * layout.n_coefficients + k
        entries.append((rows[is_in], column[is_in], values[is_in]))
    if counts["star_flat"]:
        is_image = quadrant < N_QUADRANTS
        entries.append((rows[is_image], block.superpixel[at][is_image], np.ones(is_image.sum())))
    if counts["colour"]:
        entries.append((rows, counts["star_flat"] + quadrant.astype(int), block.colour[star]))
    row, column, value = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    shape = (n_rows, layout.n_common + groups.n * layout.n_coefficients)
    return sparse.csr_array((value, (row, column)), shape), total, star


def _add_probed(normal: Normal, groups: Groups, matrix: np.ndarray) -> None:
    """Columns of the few common terms that change from measurement to measurement."""
    layout = normal.problem.layout
    counts = layout.counts
    empty = Coarse(groups, layout, matrix, np.zeros((0, 0)), 0.0)
    first = counts["star_flat"] + counts["colour"]
    for index in range(first, first + counts["airmass"] + counts["linearity"]):
        unit = np.zeros(layout.size)
        unit[layout.n_of_units + index] = 1.0
        product = normal.multiply(unit) - normal.prior * unit
        column = empty.restrict(product)
        matrix[:, index] = column
        matrix[index, :] = column


def _add_prior(normal: Normal, groups: Groups, matrix: np.ndarray) -> None:
    layout = normal.problem.layout
    of_units, _ = layout.split(normal.prior)
    n_units = np.bincount(groups.group[groups.group >= 0], minlength=groups.n)
    of_groups = (n_units[:, None] * of_units[:1]).ravel()
    prior = np.concatenate([normal.prior[layout.n_of_units :], of_groups])
    matrix[np.arange(len(prior)), np.arange(len(prior))] += prior


def _find_null_modes(layout: Layout, groups: Groups) -> np.ndarray:
    """The same constant in every field of a component: nothing measures it."""
    names = np.unique(groups.component[groups.component >= 0])
    modes = np.zeros((layout.n_common + groups.n * layout.n_coefficients, len(names)))
    for column, name in enumerate(names):
        where = np.flatnonzero(groups.component == name)
        modes[layout.n_common + where * layout.n_coefficients, column] = len(where) ** -0.5
    return modes
