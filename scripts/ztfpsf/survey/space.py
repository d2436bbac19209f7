"""The survey in few unknowns: groups of units, common terms."""

from typing import NamedTuple

import numpy as np

from ztfpsf.survey.terms import Layout

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

    @property
    def is_anchored(self) -> np.ndarray:
        """Units that stars connect to the reference catalogue, (U,) bool."""
        return (self.group >= 0) & (np.append(self.component, 0)[self.group] < 0)


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
