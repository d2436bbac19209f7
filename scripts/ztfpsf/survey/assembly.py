"""The normal matrix, the stars eliminated, between few unknowns: groups of units, common terms."""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from ztfpsf.star_flat import N_QUADRANTS
from ztfpsf.survey.block import Block
from ztfpsf.survey.terms import Layout, make_basis
from ztfpsf.survey.weights import Kept, find_weight

MAX_EXACT = 2000  # superpixels in all; more are taken together
DEGREE = 3  # of the polynomials over a quadrant that they are taken together in


class Groups(NamedTuple):
    """Units of one field that are connected by stars."""

    group: np.ndarray  # (U,) int, -1: not fitted
    field: np.ndarray  # (G,)
    component: np.ndarray  # (G,), -1: connected to the reference catalogue

    @property
    def n(self) -> int:
        return len(self.field)


class Space(NamedTuple):
    """The coarse unknowns: star flat, other common terms, the groups' coefficients."""

    groups: Groups
    layout: Layout
    basis: np.ndarray  # (p, m), orthonormal: functions of the p superpixels of a quadrant

    @property
    def n_maps(self) -> int:
        """Quadrants with a star flat, of all periods."""
        return self.layout.counts["star_flat"] // len(self.basis)

    @property
    def n_flat(self) -> int:
        return self.n_maps * self.basis.shape[1]

    @property
    def n_common(self) -> int:
        return self.n_flat + self.layout.n_common - self.layout.counts["star_flat"]

    @property
    def size(self) -> int:
        return self.n_common + self.groups.n * self.layout.n_coefficients

    @property
    def constants(self) -> np.ndarray:
        """Places of the groups' zero points, (G,)."""
        return np.arange(self.n_common, self.size, self.layout.n_coefficients)

    def restrict(self, vector: np.ndarray) -> np.ndarray:
        """Z^T times a vector of unknowns."""
        units, _ = self.layout.split(vector)
        group, n = self.groups.group, self.groups.n
        is_in = group >= 0
        sums = [np.bincount(group[is_in], column[is_in], n) for column in units.T]
        flat, rest = self._cut(vector)
        return np.concatenate([(flat @ self.basis).ravel(), rest, np.stack(sums, axis=1).ravel()])

    def prolong(self, coarse: np.ndarray) -> np.ndarray:
        """Z times a coarse vector."""
        group, k = self.groups.group, self.layout.n_coefficients
        of_groups = np.append(coarse[self.n_common :], np.zeros(k)).reshape(-1, k)
        flat = coarse[: self.n_flat].reshape(self.n_maps, self.basis.shape[1]) @ self.basis.T
        return np.concatenate(
            [of_groups[group].ravel(), flat.ravel(), coarse[self.n_flat : self.n_common]]
        )

    def _cut(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Star flat (maps, p) and the other common terms of a vector of unknowns."""
        common = vector[self.layout.n_of_units :]
        n = self.layout.counts["star_flat"]
        return common[:n].reshape(self.n_maps, len(self.basis)), common[n:]


def make_space(layout: Layout, groups: Groups) -> Space:
    """All superpixels where these are few, else smooth functions of them."""
    side = layout.terms.superpixels
    if layout.counts["star_flat"] <= MAX_EXACT:
        return Space(groups, layout, np.eye(side**2))
    x = (2.0 * np.arange(side) + 1.0) / side - 1.0
    powers = [
        x[None, :] ** i * x[:, None] ** j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)
    ]
    basis, _ = np.linalg.qr(np.stack([power.ravel() for power in powers], axis=1))
    return Space(groups, layout, basis)


class Rows(NamedTuple):
    """Measurements of a star in one group and one superpixel, taken together; all (m,)."""

    star: np.ndarray
    group: np.ndarray
    superpixel: np.ndarray
    quadrant: np.ndarray
    weight: np.ndarray
    u: np.ndarray  # mean place, empty without a polynomial
    v: np.ndarray


def compress(block: Block, layout: Layout, weight: np.ndarray, groups: Groups) -> Rows:
    """Rows of a block, sorted by star."""
    group = groups.group[block.units][block.unit]
    star = np.repeat(np.arange(block.n_stars), block.n_per_star)
    n_cells = layout.n_periods * N_QUADRANTS * layout.terms.superpixels**2
    key = (star * (groups.n + 1) + (group + 1)) * (N_QUADRANTS + 1) + block.quadrant
    if layout.counts["star_flat"]:
        key = key * n_cells + block.superpixel
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
    superpixel = block.superpixel[at] if len(block.superpixel) else block.superpixel
    return Rows(star[at], group[at], superpixel, block.quadrant[at], total, u, v)


def make_design(block: Block, space: Space, rows: Rows) -> sparse.csr_array:
    """Coarse unknowns of the rows, (m, n); airmass and linearity are left out."""
    layout, number, entries = space.layout, np.arange(len(rows.star)), []
    is_in = rows.group >= 0
    k = layout.n_coefficients
    basis = [np.ones(len(number)), *make_basis(rows.u, rows.v, layout.terms.degree)]
    for index, values in enumerate(basis):
        column = space.n_common + rows.group * k + index
        entries.append((number[is_in], column[is_in], values[is_in]))
    if layout.counts["star_flat"]:
        is_image = rows.quadrant < N_QUADRANTS
        flat, within = np.divmod(rows.superpixel[is_image].astype(int), len(space.basis))
        for index, values in enumerate(space.basis.T):
            column = flat * space.basis.shape[1] + index
            entries.append((number[is_image], column, values[within]))
    if layout.counts["colour"]:
        entries.append((number, space.n_flat + rows.quadrant.astype(int), block.colour[rows.star]))
    row, column, value = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    design = sparse.csr_array((value, (row, column)), (len(number), space.size))
    design.eliminate_zeros()
    return design


def share(block: Block, rows: Rows) -> sparse.csr_array:
    """Share of each row in the weight of its star, (S, m)."""
    total = np.bincount(rows.star, rows.weight, block.n_stars)
    values = rows.weight / np.where(total > 0, total, 1.0)[rows.star]
    number = np.arange(len(values))
    return sparse.csr_array((values, (rows.star, number)), (block.n_stars, len(values)))


Entries = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, columns, values


def assemble(
    block: Block, kept: Kept, scatter_mag: np.ndarray, space: Space
) -> tuple[Entries, Entries]:
    """Z^T N Z of a block, and its normal matrix of superpixels that share a quadrant."""
    weight = find_weight(block, kept, scatter_mag)
    rows = compress(block, space.layout, weight, space.groups)
    design, shares = make_design(block, space, rows), share(block, rows)
    star_weight = np.bincount(rows.star, rows.weight, block.n_stars)
    coarse = _eliminate(design, shares, rows.weight, star_weight)
    n = space.layout.counts["star_flat"]
    if not n:
        return coarse, (np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    is_image = np.flatnonzero(rows.quadrant < N_QUADRANTS)
    ends = (is_image, rows.superpixel[is_image])
    fine = sparse.csr_array((np.ones(len(is_image)), ends), (len(rows.star), n))
    row, column, value = _eliminate(fine, shares, rows.weight, star_weight)
    own = row // len(space.basis) == column // len(space.basis)
    return coarse, (row[own], column[own], value[own])


def _eliminate(
    design: sparse.csr_array, shares: sparse.csr_array, weight: np.ndarray, star_weight: np.ndarray
) -> Entries:
    mean = shares @ design
    matrix = design.T @ sparse.diags_array(weight) @ design
    matrix = (matrix - mean.T @ sparse.diags_array(star_weight) @ mean).tocoo()
    return matrix.row, matrix.col, matrix.data
