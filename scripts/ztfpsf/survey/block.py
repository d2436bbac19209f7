"""Measurements of some stars, all of each star together, and what is done with them.

A pass over the survey is one of these functions for every block; blocks know nothing of each other.
"""

from typing import NamedTuple

import numpy as np

from ztfpsf.survey.terms import N_COEFFICIENTS, Common, Layout, make_basis


class Block(NamedTuple):
    """n measurements of S stars, sorted by star; they touch U_b units.

    An array of a term that is not fitted is empty.
    """

    star_id: np.ndarray  # (S,) int64
    star_start: np.ndarray  # (S + 1,) int64, first measurement of each star, and n
    units: np.ndarray  # (U_b,) int64, the units, ascending
    unit: np.ndarray  # (n,) int32, index into `units`
    mag: np.ndarray  # (n,) float32, instrumental
    variance_mag2: np.ndarray  # (n,) float32, > 0
    u: np.ndarray  # (n,) float32, place on the unit, -1 .. 1
    v: np.ndarray  # (n,) float32
    superpixel: np.ndarray  # (n,) int, period by period
    quadrant: np.ndarray  # (n,) uint8, 0 .. 63; 64: the reference catalogue
    colour: np.ndarray  # (S,) float32, less the mean colour of the survey; 0 where unknown
    airmass: np.ndarray  # (n,) float32, less that of the centre of the exposure

    @property
    def n_stars(self) -> int:
        return len(self.star_start) - 1

    @property
    def n_per_star(self) -> np.ndarray:
        return np.diff(self.star_start)

    def of_stars(self, values: np.ndarray) -> np.ndarray:
        """Values (S,) of the stars, for each measurement."""
        return np.repeat(values, self.n_per_star)

    def sum_stars(self, values: np.ndarray) -> np.ndarray:
        """Sums over the measurements of each star, (S,) float64. Every star has a measurement."""
        return np.add.reduceat(values, self.star_start[:-1], dtype=np.float64)


class Sums(NamedTuple):
    """A vector of unknowns as far as a block touches it."""

    units: np.ndarray  # (U_b, K)
    common: np.ndarray  # (n_common,)


def predict(block: Block, layout: Layout, unknowns: np.ndarray) -> np.ndarray:
    """All terms but the star's magnitude, (n,) float64, mag."""
    units, common = layout.split(unknowns)
    local = units[block.units]
    value = local[:, 0][block.unit]
    for k, basis in enumerate(make_basis(block.u, block.v, layout.terms.degree), start=1):
        value += basis * local[:, k][block.unit]
    for index, factor, coefficients in common_terms(block, layout, common):
        value += factor * coefficients[index]
    return value


def project(block: Block, layout: Layout, weighted: np.ndarray) -> Sums:
    """The transpose of `predict`: sums of (n,) values over the measurements of each unknown."""
    n_units, units = len(block.units), [weighted]
    units += [b * weighted for b in make_basis(block.u, block.v, layout.terms.degree)]
    out = Layout(layout.terms, 0, layout.n_periods)
    sums = np.zeros(out.size)
    _, common = out.split(sums)
    for index, factor, target in common_terms(block, layout, common):
        target += np.bincount(index, factor * weighted, len(target))
    return Sums(np.stack([np.bincount(block.unit, x, n_units) for x in units], axis=1), sums)


def common_terms(
    block: Block, layout: Layout, common: Common
) -> list[tuple[np.ndarray, np.ndarray | float, np.ndarray]]:
    """For each entry of the design: index of the unknown and factor, both (n,), and its vector."""
    entries: list[tuple[np.ndarray, np.ndarray | float, np.ndarray]] = []
    if len(common.star_flat):
        # The reference catalogue has no star flat.
        factor = 1.0 if (block.quadrant < 64).all() else (block.quadrant < 64).astype(float)
        entries.append((block.superpixel, factor, common.star_flat))
    if len(common.colour):
        entries.append((block.quadrant, block.of_stars(block.colour), common.colour))
    if len(common.airmass):
        entries.append((np.zeros(len(block.mag), np.uint8), block.airmass, common.airmass))
    if len(common.linearity):
        knots = np.asarray(layout.terms.knots_mag)
        place = np.interp(block.mag, knots, np.arange(len(knots)))
        lower = np.minimum(place.astype(np.uint8), len(knots) - 2)
        is_image = block.quadrant < 64
        entries.append((lower, (1.0 - (place - lower)) * is_image, common.linearity))
        entries.append((lower + 1, (place - lower) * is_image, common.linearity))
    return entries


def centre(block: Block, weight: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (n,) less their weighted mean over the star; the means (S,), 0 without any weight."""
    total = block.sum_stars(weight)
    mean = block.sum_stars(weight * value) / np.where(total > 0, total, 1.0)
    return value - block.of_stars(mean), mean


def multiply(block: Block, layout: Layout, weight: np.ndarray, unknowns: np.ndarray) -> Sums:
    """Normal matrix of the block, its stars eliminated, times a vector."""
    residual, _ = centre(block, weight, predict(block, layout, unknowns))
    return project(block, layout, weight * residual)


def make_right_side(block: Block, layout: Layout, weight: np.ndarray) -> Sums:
    """Right-hand side of the normal equations, the stars eliminated."""
    residual, _ = centre(block, weight, block.mag.astype(float))
    return project(block, layout, weight * residual)


def make_diagonal(block: Block, layout: Layout, weight: np.ndarray) -> np.ndarray:
    """Normal matrix of each unit by itself, the stars held, (U_b, K, K)."""
    basis = [np.ones(1), *make_basis(block.u, block.v, layout.terms.degree)]
    n_units, k = len(block.units), N_COEFFICIENTS[layout.terms.degree]
    diagonal = np.empty((n_units, k, k))
    for i in range(k):
        for j in range(i + 1):
            product = np.bincount(block.unit, basis[i] * basis[j] * weight, n_units)
            diagonal[:, i, j] = diagonal[:, j, i] = product
    return diagonal
