"""Few unknowns (ztfpsf.survey.space) and the stars: the normal matrix, the stars eliminated.

A star's measurements in one field and one superpixel share their coarse unknowns; taken together
they are the few rows of the star.
"""

from typing import Any, NamedTuple

import numpy as np

from ztfpsf.star_flat import N_QUADRANTS
from ztfpsf.survey.block import Block
from ztfpsf.survey.loops import compiled
from ztfpsf.survey.space import Groups, Space
from ztfpsf.survey.terms import Layout, make_basis
from ztfpsf.survey.weights import Kept, find_weight


class Rows(NamedTuple):
    """Measurements of a star in one group and one superpixel, taken together: m rows of S stars."""

    start: np.ndarray  # (S + 1,) first row of each star, and m
    group: np.ndarray  # (m,)
    superpixel: np.ndarray  # (m,)
    quadrant: np.ndarray  # (m,)
    weight: np.ndarray  # (m,)
    unit: np.ndarray  # (m, K), mean of 1 and make_basis
    colour: np.ndarray  # (m,)


def take_together(
    block: Block, kept: Kept, scatter_mag: np.ndarray, layout: Layout, groups: Groups
) -> Rows:
    """Rows of a block."""
    n = len(block.unit)
    weight = find_weight(block, kept, scatter_mag)
    group = groups.group[block.units][block.unit]
    superpixel = block.superpixel if layout.counts["star_flat"] else np.zeros(n, np.uint16)
    u, v = (x if len(x) else np.zeros(n, np.float32) for x in (block.u, block.v))
    start, first, total, u, v = _take_together(
        block.star_start, group, superpixel, block.quadrant, weight, u, v
    )
    unit = np.stack([np.ones(len(first)), *make_basis(u, v, layout.terms.degree)], axis=1)
    colour = np.repeat(block.colour, np.diff(start))
    return Rows(start, group[first], superpixel[first], block.quadrant[first], total, unit, colour)


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
    """First row of each star; first measurement, weight and mean place of each row."""
    n, n_rows = len(group), 0
    start, first = np.zeros(len(star_start), np.int64), np.empty(n, np.int64)
    total, mean_u, mean_v = np.zeros(n), np.zeros(n), np.zeros(n)
    for star in range(len(star_start) - 1):
        for i in range(star_start[star], star_start[star + 1]):
            row = start[star]
            while row < n_rows:
                j = first[row]
                same = group[i] == group[j] and quadrant[i] == quadrant[j]
                if same and superpixel[i] == superpixel[j]:
                    break
                row += 1
            if row == n_rows:
                first[row] = i
                n_rows += 1
            total[row] += weight[i]
            mean_u[row] += weight[i] * u[i]
            mean_v[row] += weight[i] * v[i]
        start[star + 1] = n_rows
    for row in range(n_rows):
        if total[row] > 0:
            mean_u[row] /= total[row]
            mean_v[row] /= total[row]
    used = slice(0, n_rows)
    return start, first[used], total[used], mean_u[used], mean_v[used]


class Ends(NamedTuple):
    """Where the terms stand in the coarse unknowns, -1 for one that is not fitted; arrays: once."""

    basis: np.ndarray  # (p, m) of the superpixels, empty without a star flat
    colour: int
    units: int


def find_ends(space: Space) -> Ends:
    """Places of the terms of a row."""
    counts = space.layout.counts
    basis = space.basis if counts["star_flat"] else np.zeros((1, 0))
    return Ends(basis, space.n_flat if counts["colour"] else -1, space.n_common)


@compiled
def add_rows(rows: Rows, ends: Ends, flat: np.ndarray, matrix: np.ndarray) -> None:
    """Adds Z^T N Z of rows to `matrix` (n, n), without airmass and linearity.

    The rows of the star flat go to `flat` (superpixels, n), each superpixel by itself.
    """
    for star in range(len(rows.start) - 1):
        first, end = rows.start[star], rows.start[star + 1]
        total = rows.weight[first:end].sum()
        for i in range(first, end if total > 0 else first):
            for j in range(first, end):
                value = rows.weight[i] * ((i == j) - rows.weight[j] / total)
                if len(flat) and rows.quadrant[i] < N_QUADRANTS:
                    _add_row(flat[rows.superpixel[i]], value, rows, ends, j)
                if ends.colour >= 0:
                    row = matrix[ends.colour + rows.quadrant[i]]
                    _add_row(row, value * rows.colour[i], rows, ends, j)
                for k in range(rows.unit.shape[1] if rows.group[i] >= 0 else 0):
                    row = matrix[ends.units + rows.group[i] * rows.unit.shape[1] + k]
                    _add_row(row, value * rows.unit[i, k], rows, ends, j)


@compiled
def add_superpixels(rows: Rows, quadrants: np.ndarray) -> None:
    """Adds the normal matrix of the superpixels of each quadrant to `quadrants` (maps, p, p)."""
    p = quadrants.shape[1]
    for star in range(len(rows.start) - 1):
        first, end = rows.start[star], rows.start[star + 1]
        total = rows.weight[first:end].sum()
        for i in range(first, end if total > 0 else first):
            for j in range(first, end):
                image = max(rows.quadrant[i], rows.quadrant[j]) < N_QUADRANTS
                number = rows.superpixel[i] // p
                if image and number == rows.superpixel[j] // p:
                    value = rows.weight[i] * ((i == j) - rows.weight[j] / total)
                    quadrants[number, rows.superpixel[i] % p, rows.superpixel[j] % p] += value


@compiled
def _add_row(target: np.ndarray, factor: float, rows: Rows, ends: Ends, j: int) -> None:
    """Adds the coarse design of row j times a factor to `target` (n,)."""
    p, m = ends.basis.shape
    if m and rows.quadrant[j] < N_QUADRANTS:
        first = rows.superpixel[j] // p * m
        for k in range(m):
            target[first + k] += factor * ends.basis[rows.superpixel[j] % p, k]
    if ends.colour >= 0:
        target[ends.colour + rows.quadrant[j]] += factor * rows.colour[j]
    if rows.group[j] >= 0:
        for k in range(rows.unit.shape[1]):
            target[ends.units + rows.group[j] * rows.unit.shape[1] + k] += factor * rows.unit[j, k]


@compiled
def _dot_row(source: np.ndarray, rows: Rows, ends: Ends, j: int) -> float:
    """Coarse design of row j times `source` (n,)."""
    p, m = ends.basis.shape
    out = 0.0
    if m and rows.quadrant[j] < N_QUADRANTS:
        first = rows.superpixel[j] // p * m
        for k in range(m):
            out += source[first + k] * ends.basis[rows.superpixel[j] % p, k]
    if ends.colour >= 0:
        out += source[ends.colour + rows.quadrant[j]] * rows.colour[j]
    if rows.group[j] >= 0:
        for k in range(rows.unit.shape[1]):
            out += source[ends.units + rows.group[j] * rows.unit.shape[1] + k] * rows.unit[j, k]
    return out


@compiled
def _dot_rows(rows: Rows, ends: Ends, matrix: np.ndarray, i: int, j: int) -> float:
    """Coarse designs of rows i and j on either side of `matrix` (n, n)."""
    p, m = ends.basis.shape
    out = 0.0
    if m and rows.quadrant[i] < N_QUADRANTS:
        first = rows.superpixel[i] // p * m
        for k in range(m):
            part = _dot_row(matrix[first + k], rows, ends, j)
            out += ends.basis[rows.superpixel[i] % p, k] * part
    if ends.colour >= 0:
        row = matrix[ends.colour + rows.quadrant[i]]
        out += rows.colour[i] * _dot_row(row, rows, ends, j)
    if rows.group[i] >= 0:
        for k in range(rows.unit.shape[1]):
            row = matrix[ends.units + rows.group[i] * rows.unit.shape[1] + k]
            out += rows.unit[i, k] * _dot_row(row, rows, ends, j)
    return out


@compiled
def find_variance(
    rows: Rows, ends: Ends, matrix: np.ndarray, superpixels: np.ndarray
) -> np.ndarray:
    """Variance of the stars' mean terms, (S,): of the coarse ones, and of superpixels around them.

    `matrix`: covariance (n, n) of the coarse unknowns; `superpixels`: variances, or empty.
    """
    result = np.zeros(len(rows.start) - 1)
    for star in range(len(result)):
        first, end = rows.start[star], rows.start[star + 1]
        total = rows.weight[first:end].sum()
        for i in range(first, end if total > 0 else first):
            share = rows.weight[i] / total
            for j in range(first, i):
                other = 2.0 * share * rows.weight[j] / total
                result[star] += other * _dot_rows(rows, ends, matrix, i, j)
            result[star] += share**2 * _dot_rows(rows, ends, matrix, i, i)
            if len(superpixels) and rows.quadrant[i] < N_QUADRANTS:
                result[star] += share**2 * superpixels[rows.superpixel[i]]
    return result
