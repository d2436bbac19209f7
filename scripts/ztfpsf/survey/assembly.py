"""The normal matrix, the stars eliminated, between groups of units and common terms."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from ztfpsf.survey.block import Block, make_basis
from ztfpsf.survey.terms import N_QUADRANTS, Layout
from ztfpsf.survey.weights import Kept, find_weight


class Groups(NamedTuple):
    """Units of one field that are connected by stars."""

    group: np.ndarray  # (U,) int, -1: not fitted
    field: np.ndarray  # (G,)
    component: np.ndarray  # (G,), -1: connected to the reference catalogue

    @property
    def n(self) -> int:
        return len(self.field)


def assemble(
    block: Block, kept: Kept, scatter_mag: np.ndarray, layout: Layout, groups: Groups
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal matrix of a block in the constants of groups, and common terms: rows, columns, values.

    Airmass and linearity are left out.
    """
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
