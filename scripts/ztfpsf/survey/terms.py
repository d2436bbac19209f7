"""What is fitted beside the stars: which unknowns there are, and where they stand in the vector.

    m = M(star) + sum_k B_k(u, v) a_k(unit) + delta(superpixel) + c(quadrant) colour
        + k (X - X(centre)) + n(instrumental magnitude) + noise

A unit is an exposure, or a quadrant of one; a_0 is its zero point, the other a_k a polynomial over
it. All other terms are common to the survey. Each has a prior of mean 0, wide beside what is
expected, that settles what the measurements leave open (a star flat of the same size everywhere is
a zero point): no superpixel and no exposure is singled out.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ztfpsf.star_flat import N_QUADRANTS

N_COEFFICIENTS = {0: 1, 1: 3, 2: 6}


@dataclass(frozen=True)
class Terms:
    """Which terms are fitted; those of prior width 0 are not."""

    degree: int = 0  # of the polynomial over a unit: 0, 1 or 2
    polynomial_mag: float = 0.05  # prior width of its terms above the constant, to start with
    superpixels: int = 15  # of the star flat along the side of a quadrant
    star_flat_mag: float = 0.0
    colour_mag: float = 0.0  # mag per mag of colour
    airmass_mag: float = 0.0  # mag per unit of airmass
    knots_mag: tuple[float, ...] = ()  # instrumental magnitudes between which n is linear
    linearity_mag: float = 0.0


class Layout(NamedTuple):
    """Where the unknowns stand: units (U x K), then the common terms, group by group."""

    terms: Terms
    n_units: int
    n_periods: int

    @property
    def n_coefficients(self) -> int:
        """Coefficients K of a unit."""
        return N_COEFFICIENTS[self.terms.degree]

    @property
    def n_of_units(self) -> int:
        return self.n_units * self.n_coefficients

    @property
    def counts(self) -> dict[str, int]:
        """Number of unknowns of each common term."""
        terms = self.terms
        n_superpixels = self.n_periods * N_QUADRANTS * terms.superpixels**2
        return {
            "star_flat": n_superpixels if terms.star_flat_mag else 0,
            # The last one is the colour term of the reference catalogue.
            "colour": N_QUADRANTS + 1 if terms.colour_mag else 0,
            "airmass": 1 if terms.airmass_mag else 0,
            "linearity": len(terms.knots_mag) if terms.linearity_mag else 0,
        }

    @property
    def n_common(self) -> int:
        return sum(self.counts.values())

    @property
    def size(self) -> int:
        return self.n_of_units + self.n_common

    def split(self, unknowns: np.ndarray) -> "tuple[np.ndarray, Common]":
        """Views of a vector (size,): coefficients of the units (U, K), common terms."""
        units = unknowns[: self.n_of_units].reshape(self.n_units, self.n_coefficients)
        ends = np.cumsum([self.n_of_units, *self.counts.values()])
        return units, Common(*(unknowns[a:b] for a, b in pairwise(ends)))

    def prior_weights(self) -> np.ndarray:
        """1 / width^2 of the priors of the common terms, (n_common,)."""
        terms = self.terms
        widths = (terms.star_flat_mag, terms.colour_mag, terms.airmass_mag, terms.linearity_mag)
        counts = self.counts.values()
        return np.concatenate(
            [np.full(n, width**-2.0) for width, n in zip(widths, counts, strict=True) if n]
            or [np.zeros(0)]
        )


class Common(NamedTuple):
    """Values of the common terms; empty where a term is not fitted."""

    star_flat: np.ndarray
    colour: np.ndarray
    airmass: np.ndarray
    linearity: np.ndarray


def make_basis(u: np.ndarray, v: np.ndarray, degree: int) -> list[np.ndarray]:
    """Products of Legendre polynomials of u, v (-1 .. 1), of total degree up to `degree`, but 1."""
    linear = [u, v] if degree >= 1 else []
    squares = [1.5 * u**2 - 0.5, u * v, 1.5 * v**2 - 0.5] if degree >= 2 else []
    return linear + squares
