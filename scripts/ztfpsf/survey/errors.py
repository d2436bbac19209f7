"""Errors of the solution: the covariance of the coarse unknowns, and what each unit adds to it.

    Cov(unit) = D^-1 - (sum of D over the group)^-1 + Cov(group)

where D is a unit's own normal matrix. Exact where all stars are on all exposures of a field; within
1 % of the exact inverse otherwise. The gauge is that of the solution: the mean zero point of a
component is 0.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh, lapack

from ztfpsf.errors import InputError
from ztfpsf.survey.assembly import find_ends, find_variance, take_together
from ztfpsf.survey.block import Block
from ztfpsf.survey.coarse import Coarse
from ztfpsf.survey.gauge import settle_covariance
from ztfpsf.survey.rounds import Fit
from ztfpsf.survey.space import Space
from ztfpsf.survey.weights import Kept, find_weight

N_MODES = 6


class Covariance(NamedTuple):
    """Of the coarse unknowns, and what superpixels add to it by themselves."""

    coarse: np.ndarray  # (n, n)
    space: Space
    superpixels: np.ndarray  # (n superpixels,) mag^2, of each around the coarse star flat

    @property
    def common(self) -> np.ndarray:
        """Errors of the common terms, (n_common,)."""
        space = self.space
        n, m = space.n_flat, space.basis.shape[1]
        maps = np.arange(space.n_maps)[:, None, None] * m
        own = self.coarse[maps + np.arange(m)[:, None], maps + np.arange(m)]
        flat = np.einsum("pi,qij,pj->qp", space.basis, own, space.basis).ravel() + self.superpixels
        rest = np.diagonal(self.coarse)[n : space.n_common]
        return np.sqrt(np.maximum(np.concatenate([flat, rest]), 0.0))

    @property
    def zero_points(self) -> np.ndarray:
        """Covariance of the groups' constants, (G, G)."""
        constants = self.space.constants
        return self.coarse[np.ix_(constants, constants)]


def invert(fit: Fit) -> Covariance:
    """Covariance of the coarse unknowns. The decomposition of `fit.coarse` is used up."""
    coarse = fit.coarse
    lower, status = lapack.dpotri(coarse.factor, lower=True, overwrite_c=True)
    if status:
        raise InputError("the normal matrix of the fields cannot be inverted; see the weak modes.")
    n = len(lower)
    for first in range(0, n, 1000):  # the upper triangle from the lower one, without a copy
        rows, below = slice(first, first + 1000), slice(first + 1000, n)
        lower[rows, rows] = np.tril(lower[rows, rows]) + np.tril(lower[rows, rows], -1).T
        lower[rows, below] = lower[below, rows].T
    # The null modes have no variance: what was added to their eigenvalue is taken out.
    for mode in coarse.null_modes.T:
        where = np.flatnonzero(mode)
        lower[np.ix_(where, where)] -= np.outer(mode[where], mode[where]) / coarse.null_weight
    settle_covariance(coarse.space, lower)
    return Covariance(lower, coarse.space, _find_own(coarse))


def _find_own(coarse: Coarse) -> np.ndarray:
    """Variance of superpixels around the coarse ones: B^-1 - P (P^T B P)^-1 P^T per quadrant."""
    basis = coarse.space.basis
    own = np.diagonal(coarse.quadrants, axis1=1, axis2=2)
    return np.maximum(own - np.einsum("pi,qij,pj->qp", basis, coarse.maps, basis), 0.0).ravel()


def find_unit_covariance(fit: Fit, covariance: Covariance) -> np.ndarray:
    """Covariance of the coefficients of each unit, (U, K, K); NaN where not fitted."""
    groups, k = covariance.space.groups, covariance.space.layout.n_coefficients
    is_in = groups.group >= 0
    group = groups.group[is_in]
    first = covariance.space.constants[:, None] + np.arange(k)
    of_groups = covariance.coarse[first[:, :, None], first[:, None, :]]
    result = np.full((len(is_in), k, k), np.nan)
    result[is_in] = fit.inverse[is_in] + (of_groups - fit.coarse.fields)[group]
    return result


def find_star_variance(
    block: Block, kept: Kept, scatter_mag: np.ndarray, covariance: Covariance, own: np.ndarray
) -> np.ndarray:
    """Variance of the stars' magnitudes, (S,) mag^2: noise, zero points, common terms.

    `own`: variance of each unit's zero point from its own stars, (U,).
    """
    space, weight = covariance.space, find_weight(block, kept, scatter_mag)
    rows = take_together(block, kept, scatter_mag, space.layout, space.groups)
    star_weight = block.sum_stars(weight)
    used = np.where(star_weight > 0, star_weight, np.nan)
    variance = block.sum_stars(weight.astype(float) ** 2 * own[block.units][block.unit]) / used**2
    of_terms = find_variance(rows, find_ends(space), covariance.coarse, covariance.superpixels)
    return 1.0 / used + variance + of_terms


class Gradient(NamedTuple):
    """Of the fields' zero points across the sky, mag per deg, with its error."""

    to_east: float
    to_east_error: float
    to_north: float
    to_north_error: float


def find_gradient(
    zero_point_mag: np.ndarray,
    covariance_mag2: np.ndarray,
    ra_deg: np.ndarray,
    dec_deg: np.ndarray,
) -> Gradient:
    """Straight lines through zero points (G,) against RA cos(Dec) and Dec from their middle."""
    middle = np.degrees(np.angle(np.exp(1j * np.radians(ra_deg)).mean()))
    east = (np.mod(ra_deg - middle + 180.0, 360.0) - 180.0) * np.cos(np.radians(dec_deg))
    design = np.stack([np.ones(len(east)), east, dec_deg], axis=1)
    estimator = np.linalg.pinv(design)
    value = estimator @ zero_point_mag
    error = np.sqrt(np.maximum(np.diagonal(estimator @ covariance_mag2 @ estimator.T), 0.0))
    return Gradient(value[1], error[1], value[2], error[2])


class Modes(NamedTuple):
    """Patterns of the fields' zero points that are measured worst."""

    error_mag: np.ndarray  # (m,), rms over the fields, the worst first
    pattern: np.ndarray  # (m, G), of rms 1


def find_weak_modes(covariance: Covariance) -> Modes:
    """Principal axes of the covariance of the fields' zero points."""
    matrix = covariance.zero_points
    n = len(matrix)
    n_modes = min(N_MODES, n)
    value, vector = eigh(matrix, subset_by_index=[n - n_modes, n - 1])
    error = np.sqrt(np.maximum(value[::-1], 0.0) / n)
    return Modes(error, vector.T[::-1] * np.sqrt(n))
