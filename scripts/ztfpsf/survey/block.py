"""Measurements of some stars, all of each star together, and what is done with them.

A pass over the survey is one of these functions for every block; blocks know nothing of each other.
"""

from typing import NamedTuple

import numpy as np

from ztfpsf.survey import loops
from ztfpsf.survey.loops import Places
from ztfpsf.survey.terms import N_COEFFICIENTS, Layout, make_basis


class Block(NamedTuple):
    """n measurements of S stars, sorted by star; they touch U_b units.

    An array of a term that is not fitted is empty.
    """

    star_id: np.ndarray  # (S,) int64
    star_start: np.ndarray  # (S + 1,) int64, first measurement of each star, and n
    units: np.ndarray  # (U_b,) int64, the units, ascending
    unit: np.ndarray  # (n,) uint16, int32 where these are many, index into `units`
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


def find_places(block: Block, layout: Layout) -> Places:
    """Where the measurements stand in the design."""
    basis = make_basis(block.u, block.v, layout.terms.degree)
    return Places(
        block.star_start,
        block.unit,
        np.stack(basis) if basis else np.zeros((0, 0), np.float32),
        block.superpixel,
        block.quadrant,
        block.colour,
        block.airmass,
        np.interp(block.mag, layout.terms.knots_mag, np.arange(layout.counts["linearity"]))
        if layout.counts["linearity"]
        else np.zeros(0),
    )


def predict(block: Block, layout: Layout, unknowns: np.ndarray) -> np.ndarray:
    """All terms but the star's magnitude, (n,) float64, mag."""
    units, common = layout.split(unknowns)
    return loops.predict(find_places(block, layout), units[block.units], common)


def project(block: Block, layout: Layout, weighted: np.ndarray) -> Sums:
    """The transpose of `predict`: sums of (n,) values over the measurements of each unknown."""
    units = np.zeros((len(block.units), layout.n_coefficients))
    sums = np.zeros(layout.n_common)
    _, common = Layout(layout.terms, 0, layout.n_periods).split(sums)
    loops.project(find_places(block, layout), weighted, units, common)
    return Sums(units, sums)


def centre(block: Block, weight: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (n,) less their weighted mean over the star; the means (S,), 0 without any weight."""
    return loops.centre(block.star_start, weight, value)


def multiply(block: Block, layout: Layout, weight: np.ndarray, unknowns: np.ndarray) -> Sums:
    """Normal matrix of the block, its stars eliminated, times a vector."""
    residual, _ = centre(block, weight, predict(block, layout, unknowns))
    return project(block, layout, weight * residual)


def find_gradient(block: Block, layout: Layout, weight: np.ndarray, unknowns: np.ndarray) -> Sums:
    """Right-hand side of the normal equations less their matrix times a vector."""
    residual, _ = centre(block, weight, block.mag - predict(block, layout, unknowns))
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
