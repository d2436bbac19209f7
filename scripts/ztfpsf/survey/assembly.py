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
            row = n_rows - 1  # the next measurement is often of the last one's field
            while row >= start[star]:
                j = first[row]
                same = group[i] == group[j] and quadrant[i] == quadrant[j]
                if same and superpixel[i] == superpixel[j]:
                    break
                row -= 1
            if row < start[star]:
                row, first[n_rows] = n_rows, i
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
    """Where the terms stand in the coarse unknowns; -1: not fitted."""

    basis: np.ndarray  # (p, m) of the superpixels, empty without a star flat
    common: int  # after the star flat
    colour: int
    units: int


def find_ends(space: Space) -> Ends:
    """Places of the terms of a row."""
    counts = space.layout.counts
    basis = space.basis if counts["star_flat"] else np.zeros((1, 0))
    return Ends(basis, space.n_flat, space.n_flat if counts["colour"] else -1, space.n_common)


class Star(NamedTuple):
    """Weighted mean of the designs of a star's rows, for one star after the other."""

    mean: np.ndarray  # (n,), 0 but in the runs
    run: np.ndarray  # (N, 2) first coarse unknown of each run, and its length


@compiled
def _start(rows: Rows, n: int) -> Star:
    longest = 0
    for star in range(len(rows.start) - 1):
        longest = max(longest, rows.start[star + 1] - rows.start[star])
    return Star(np.zeros(n), np.zeros((3 * longest, 2), np.int64))


@compiled
def _open(star: Star, rows: Rows, ends: Ends, first: int, end: int, total: float) -> int:
    """Fills in the mean of rows first .. end; number of runs."""
    n_runs, (p, m), k = 0, ends.basis.shape, rows.unit.shape[1]
    for i in range(first, end):
        _add_row(star.mean, rows.weight[i] / total, rows, ends, i)
        is_image = rows.quadrant[i] < N_QUADRANTS
        for run in (
            (rows.superpixel[i] // p * m, m if is_image else 0),
            (ends.colour + rows.quadrant[i], 1 if ends.colour >= 0 else 0),
            (ends.units + rows.group[i] * k, k if rows.group[i] >= 0 else 0),
        ):
            known = run[1] == 0
            for number in range(n_runs):
                known |= star.run[number, 0] == run[0]
            if not known:
                star.run[n_runs, 0], star.run[n_runs, 1] = run
                n_runs += 1
    return n_runs


@compiled
def _close(star: Star, n_runs: int) -> None:
    for number in range(n_runs):
        first, length = star.run[number]
        star.mean[first : first + length] = 0.0


@compiled
def _add_mean(target: np.ndarray, factor: float, star: Star, n_runs: int) -> None:
    for number in range(n_runs):
        first, length = star.run[number]
        for column in range(first, first + length):
            target[column] += factor * star.mean[column]


@compiled
def add_rows(rows: Rows, ends: Ends, flat: np.ndarray, matrix: np.ndarray) -> None:
    """Adds Z^T N Z of rows to `matrix` (n, n), without airmass and linearity.

    The rows of the star flat go to `flat` (superpixels, n), each superpixel by itself.
    """
    mine, k = _start(rows, len(matrix)), rows.unit.shape[1]
    for star in range(len(rows.start) - 1):
        first, end = rows.start[star], rows.start[star + 1]
        total = rows.weight[first:end].sum()
        if total <= 0:
            continue
        n_runs = _open(mine, rows, ends, first, end, total)
        for i in range(first, end):
            if len(flat) and rows.quadrant[i] < N_QUADRANTS:
                row = flat[rows.superpixel[i]]
                _add_row(row, rows.weight[i], rows, ends, i)
                _add_mean(row, -rows.weight[i], mine, n_runs)
            if ends.colour >= 0:
                row = matrix[ends.colour + rows.quadrant[i]]
                _add_row(row, rows.weight[i] * rows.colour[i], rows, ends, i)
            for number in range(k if rows.group[i] >= 0 else 0):
                row = matrix[ends.units + rows.group[i] * k + number]
                _add_row(row, rows.weight[i] * rows.unit[i, number], rows, ends, i)
        for number in range(n_runs):
            for column in range(mine.run[number, 0], mine.run[number].sum()):
                if column >= ends.common:
                    _add_mean(matrix[column], -total * mine.mean[column], mine, n_runs)
        _close(mine, n_runs)


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
        first, basis = rows.superpixel[j] // p * m, ends.basis[rows.superpixel[j] % p]
        for k in range(m):
            target[first + k] += factor * basis[k]
    if ends.colour >= 0:
        target[ends.colour + rows.quadrant[j]] += factor * rows.colour[j]
    if rows.group[j] >= 0:
        for k in range(rows.unit.shape[1]):
            target[ends.units + rows.group[j] * rows.unit.shape[1] + k] += factor * rows.unit[j, k]


@compiled
def find_variance(
    rows: Rows, ends: Ends, matrix: np.ndarray, superpixels: np.ndarray
) -> np.ndarray:
    """Variance of the stars' mean terms, (S,): of the coarse ones, and of superpixels around them.

    `matrix`: covariance (n, n) of the coarse unknowns; `superpixels`: variances, or empty.
    """
    mine, result = _start(rows, len(matrix)), np.zeros(len(rows.start) - 1)
    for star in range(len(result)):
        first, end = rows.start[star], rows.start[star + 1]
        total = rows.weight[first:end].sum()
        if total <= 0:
            continue
        n_runs = _open(mine, rows, ends, first, end, total)
        for left in range(n_runs):
            for i in range(mine.run[left, 0], mine.run[left].sum()):
                part = 0.0
                for right in range(n_runs):
                    for j in range(mine.run[right, 0], mine.run[right].sum()):
                        part += matrix[i, j] * mine.mean[j]
                result[star] += mine.mean[i] * part
        _close(mine, n_runs)
        for i in range(first, end if len(superpixels) else first):
            if rows.quadrant[i] < N_QUADRANTS:
                result[star] += (rows.weight[i] / total) ** 2 * superpixels[rows.superpixel[i]]
    return result
