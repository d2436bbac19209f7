"""The normal matrix, the stars eliminated, between few unknowns: groups of units, common terms."""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ztfpsf.star_flat import N_QUADRANTS
from ztfpsf.survey.block import Block
from ztfpsf.survey.loops import compiled
from ztfpsf.survey.terms import Layout, make_basis
from ztfpsf.survey.weights import Kept, find_weight

MAX_EXACT = 2000  # superpixels in all; more are taken together
DEGREE = 5  # of the polynomials over a quadrant that they are taken together in


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

    @property
    def projection(self) -> sparse.csr_array:
        """Z of a vector of groups instead of units, (n_common + G K of the fine ones, n)."""
        flat = sparse.kron(sparse.eye_array(self.n_maps), self.basis)
        return sparse.block_diag([flat, sparse.eye_array(self.size - self.n_flat)], format="csr")

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
    u: np.ndarray  # weighted mean place, 0 without a polynomial
    v: np.ndarray


def compress(block: Block, layout: Layout, weight: np.ndarray, groups: Groups) -> Rows:
    """Rows of a block, star by star."""
    n = len(block.unit)
    group = groups.group[block.units][block.unit]
    has_flat = layout.counts["star_flat"] > 0
    superpixel = block.superpixel if has_flat else np.zeros(n, block.superpixel.dtype)
    u, v = (x if len(x) else np.zeros(n, np.float32) for x in (block.u, block.v))
    star, first, *sums = _take_together(
        block.star_start, group, superpixel, block.quadrant, weight, u, v
    )
    return Rows(star, group[first], superpixel[first], block.quadrant[first], *sums)


@compiled
def _take_together(
    star_start: np.ndarray,
    group: np.ndarray,
    superpixel: np.ndarray,
    quadrant: np.ndarray,
    weight: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
) -> Any:
    """Star, first measurement, weight and mean place of each row."""
    n, n_rows = len(group), 0
    stars, first = np.empty(n, np.int64), np.empty(n, np.int64)
    total, mean_u, mean_v = np.zeros(n), np.zeros(n), np.zeros(n)
    for star in range(len(star_start) - 1):
        begin = n_rows
        for i in range(star_start[star], star_start[star + 1]):
            row = begin
            while row < n_rows:
                j = first[row]
                same = group[i] == group[j] and quadrant[i] == quadrant[j]
                if same and superpixel[i] == superpixel[j]:
                    break
                row += 1
            if row == n_rows:
                stars[row], first[row] = star, i
                n_rows += 1
            total[row] += weight[i]
            mean_u[row] += weight[i] * u[i]
            mean_v[row] += weight[i] * v[i]
    for row in range(n_rows):
        if total[row] > 0:
            mean_u[row] /= total[row]
            mean_v[row] /= total[row]
    used = slice(0, n_rows)
    return stars[used], first[used], total[used], mean_u[used], mean_v[used]


def make_design(block: Block, space: Space, rows: Rows) -> sparse.csr_array:
    """Unknowns of the rows, (m, n) with superpixels one by one; without airmass and linearity."""
    layout, number, entries = space.layout, np.arange(len(rows.star)), []
    n_flat = layout.counts["star_flat"]
    is_in = rows.group >= 0
    k = layout.n_coefficients
    basis = [np.ones(len(number)), *make_basis(rows.u, rows.v, layout.terms.degree)]
    for index, values in enumerate(basis):
        column = layout.n_common + rows.group * k + index
        entries.append((number[is_in], column[is_in], values[is_in]))
    if n_flat:
        image = np.flatnonzero(rows.quadrant < N_QUADRANTS)
        entries.append((image, rows.superpixel[image].astype(int), np.ones(len(image))))
    if layout.counts["colour"]:
        entries.append((number, n_flat + rows.quadrant.astype(int), block.colour[rows.star]))
    row, column, value = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    shape = len(number), layout.n_common + space.groups.n * k
    return sparse.csr_array((value, (row, column)), shape)


def share(block: Block, rows: Rows) -> sparse.csr_array:
    """Share of each row in the weight of its star, (S, m)."""
    total = np.bincount(rows.star, rows.weight, block.n_stars)
    values = rows.weight / np.where(total > 0, total, 1.0)[rows.star]
    start = np.searchsorted(rows.star, np.arange(block.n_stars + 1))
    return sparse.csr_array((values, np.arange(len(values)), start), (block.n_stars, len(values)))


Entries = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, columns, values


def assemble(
    block: Block, kept: Kept, scatter_mag: np.ndarray, space: Space
) -> tuple[Entries, Entries]:
    """N Z of a block, and its normal matrix of superpixels that share a quadrant."""
    weight = find_weight(block, kept, scatter_mag)
    rows = compress(block, space.layout, weight, space.groups)
    design, shares = make_design(block, space, rows), share(block, rows)
    mean = shares @ design
    star_weight = np.bincount(rows.star, rows.weight, block.n_stars)
    projection = space.projection
    product = _weigh(design, rows.weight, design @ projection)
    product = (product - _weigh(mean, star_weight, mean @ projection)).tocoo()
    coarse = product.row, product.col, product.data
    n = space.layout.counts["star_flat"]
    if not n:
        return coarse, (np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    flat, mean = design[:, :n], mean[:, :n]
    own = (_weigh(flat, rows.weight, flat) - _weigh(mean, star_weight, mean)).tocoo()
    same = own.row // len(space.basis) == own.col // len(space.basis)
    return coarse, (own.row[same], own.col[same], own.data[same])


def _weigh(left: sparse.csr_array, weight: np.ndarray, right: sparse.csr_array) -> sparse.csr_array:
    """Left^T W right."""
    return left.T @ (sparse.diags_array(weight) @ right)
