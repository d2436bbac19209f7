"""How strongly the residual grid is held: the precision that the stars themselves ask for.

The coefficients of each group of terms (a degree of the field polynomial, a function of flux) have
the prior N(0, 1 / precision). The precision maximises the evidence, the probability of the data
with all parameters integrated out in the Gaussian approximation (MacKay 1992, Neural Computation
4, 415): precision = gamma / sum z^2, with gamma the number of coefficients that the data determine.
A group without strong evidence against its absence (Savage-Dickey density ratio; Dickey 1971, Ann.
Math. Stat. 42, 204) is left out: it would add noise to the PSF, and no knowledge.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dsymv
from scipy.linalg.lapack import dpotrf, dpotri

from ztfpsf.psf.problem.elimination import marginalise
from ztfpsf.psf.problem.normal import NormalEquations
from ztfpsf.psf.problem.parameters import GridTerms, Parameters
from ztfpsf.psf.profile.field import list_degrees

START_PRECISION = 100.0  # residuals of a tenth of the peak
START_PROFILE_PRECISION = 1.0  # changes by a factor of e over the field
LARGEST_PRECISION = 1e10
PROFILE = -1  # group of a coefficient that needs no prior
HELD = -2  # of a coefficient that stays 0, whatever the stars say
STRONG_EVIDENCE = 5.0  # ln of the Bayes factor (Kass & Raftery 1995, JASA 90, 773)
ITERATIONS = 12
FEWEST = 0.5  # coefficients of a group
LARGEST_RATIO = 0.8  # of two such changes: beyond it no end is in sight
CHANGE = 0.1  # of ln precision, when the iteration ends: less than its own error


class Evidence(NamedTuple):
    """Precision of each term of the grid, and what it leaves to the stars."""

    precision: np.ndarray  # (M, C)
    n_effective: np.ndarray  # (groups,) coefficients of the grid that the data determine
    profile_precision: np.ndarray  # (B,)


class _Inverse(NamedTuple):
    """Inverse of a symmetric matrix of mixed units."""

    half: np.ndarray  # (m, m), of which the lower triangle counts: divided by `scale` on both sides
    scale: np.ndarray  # (m,)

    def times(self, vector: np.ndarray) -> np.ndarray:
        return self.scale * dsymv(1.0, self.half, self.scale * vector, lower=1)

    def diagonal(self) -> np.ndarray:
        return np.diag(self.half) * self.scale**2

    def block(self, rows: np.ndarray) -> np.ndarray:
        """Of the rows and columns `rows`, (m,) bool."""
        half = np.tril(self.half[np.ix_(rows, rows)])
        scale = self.scale[rows]
        return (half + np.tril(half, -1).T) * scale[:, None] * scale


def update_precision(
    normal: NormalEquations,
    parameters: Parameters,
    terms: GridTerms,
    groups: np.ndarray,
    is_varying: np.ndarray,
) -> Evidence:
    """The precision of most evidence around a solution.

    `normal`: normal equations at `parameters` with the priors of `terms`; `groups`: (M, C) that of
    each coefficient of the grid, or HELD; `is_varying`: (K,) profile parameters that vary over the
    field, which have a precision for each degree but the first. Those are never left out: they are
    few.
    """
    precision, of_profile = np.asarray(terms.precision), np.asarray(terms.profile_precision)
    assert parameters.grid is not None  # whose terms these are
    n_groups = groups.max() + 1
    degree = np.array(list_degrees(len(of_profile) - 1))[: len(of_profile)]
    is_weighed = (degree > 0) & is_varying[:, None]
    profile_group = np.where(is_weighed, n_groups + degree - 1, PROFILE).ravel()
    group = np.concatenate([profile_group, groups.ravel()])
    start = np.tile(of_profile, len(is_varying)) * (profile_group >= 0)
    current = np.concatenate([start, precision.ravel()])
    position = np.where(group >= 0, np.asarray(parameters.coefficients()), 0.0)
    curvature, gradient = (np.array(part) for part in marginalise(normal))
    curvature[np.diag_indices_from(curvature)] -= current
    slope = gradient + current * position + curvature @ position
    values = np.array([current[group == g][0] for g in range(group.max() + 1)])
    values[n_groups:] = np.minimum(values[n_groups:], START_PRECISION)
    n_effective = np.zeros(len(values))
    is_in = values < LARGEST_PRECISION
    outside = np.flatnonzero(~is_in)
    while True:
        rows = (group == PROFILE) | np.isin(group, np.flatnonzero(is_in))
        if not is_in.any():
            break
        part = curvature[np.ix_(rows, rows)], slope[rows], group[rows]
        numbers = np.flatnonzero(is_in)
        values[is_in], n_effective[is_in], ln_bayes = _maximise(*part, numbers, values[is_in])
        ln_bayes[numbers >= n_groups] = np.inf
        if ln_bayes.min() > STRONG_EVIDENCE:
            break
        weakest = numbers[np.argmin(ln_bayes)]
        is_in[weakest], values[weakest], n_effective[weakest] = False, LARGEST_PRECISION, 0.0
    for number in outside:
        new = group == number
        prior = np.where((group >= 0) & ~new, values[np.maximum(group, 0)], 0.0)
        values[number], n_effective[number] = _weigh_new(
            *_marginalise_rows(curvature + np.diag(prior), slope, rows, new)
        )
    by_degree = np.concatenate([[0.0], values[n_groups:]])
    precision = np.where(groups == HELD, LARGEST_PRECISION, values[np.maximum(groups, 0)])
    return Evidence(precision, n_effective[:n_groups], by_degree[degree])


def _marginalise_rows(
    matrix: np.ndarray, slope: np.ndarray, rows: np.ndarray, new: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and slope of the coefficients `new` with those of `rows` marginalised; (m,) bool."""
    beside = matrix[np.ix_(rows, new)]
    of_rows = cho_solve(cho_factor(matrix[np.ix_(rows, rows)]), beside)
    return matrix[np.ix_(new, new)] - beside.T @ of_rows, slope[new] - of_rows.T @ slope[rows]


def _weigh_new(curvature: np.ndarray, slope: np.ndarray) -> tuple[float, float]:
    """The precision of most evidence of a group that was left out, and its effective coefficients.

    LARGEST_PRECISION without strong evidence for it.
    """
    # Along its axes the curvature of a group is diagonal, whatever the precision.
    value, axes = np.linalg.eigh(curvature)
    value, slope = np.maximum(value, 0.0), axes.T @ slope
    precision = START_PRECISION
    for _ in range(ITERATIONS):
        old, best = precision, slope / (value + precision)
        n_effective = max(np.sum(value / (value + precision)), 0.1)
        precision = float(np.clip(n_effective / np.sum(best**2), 1e-3, LARGEST_PRECISION))
        if abs(np.log(precision / old)) < CHANGE:
            break
    shrunk = value + precision
    ln_bayes = 0.5 * np.sum(np.log(precision / shrunk) + slope**2 / shrunk)
    if ln_bayes <= STRONG_EVIDENCE:
        return LARGEST_PRECISION, 0.0
    return precision, float(np.sum(value / shrunk))


def _maximise(
    curvature: np.ndarray,
    slope: np.ndarray,
    group: np.ndarray,
    numbers: np.ndarray,
    values: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, effective coefficients and ln Bayes factor of the groups `numbers`, each (g,).

    `group`: (m,) that of each coefficient, or PROFILE; `values`: (g,) the first guess.
    """
    members = [group == number for number in numbers]
    last_change = np.zeros(len(values))
    for _ in range(ITERATIONS):
        prior = sum(value * mine for value, mine in zip(values, members, strict=True))
        inverse = _invert(curvature, prior)
        best, variance = inverse.times(slope), inverse.diagonal()
        n_effective = np.array(
            [m.sum() - p * variance[m].sum() for m, p in zip(members, values, strict=True)]
        )
        power = np.array([np.sum(best[m] ** 2) for m in members])
        old = values
        values = np.clip(np.maximum(n_effective, 0.1) / power, 1e-3, LARGEST_PRECISION)
        change = np.log(values / old)
        # Of so few coefficients there is no strong evidence, and they drift on for long.
        if np.all((np.abs(change) < CHANGE) | (n_effective < FEWEST)):
            break
        # Changes that shrink by the same factor end where their sum does (Aitken).
        ratio = np.divide(change, last_change, out=np.zeros_like(change), where=last_change != 0.0)
        leap = np.clip(ratio, 0.0, LARGEST_RATIO) / (1.0 - np.clip(ratio, 0.0, LARGEST_RATIO))
        values = np.clip(values * np.exp(leap * change), 1e-3, LARGEST_PRECISION)
        last_change = np.where(leap > 0.0, 0.0, change)
    ln_bayes = [
        _ln_bayes_factor(best[m], inverse.block(m), p) for m, p in zip(members, old, strict=True)
    ]
    return values, n_effective, np.array(ln_bayes)


def _invert(matrix: np.ndarray, added: np.ndarray) -> _Inverse:
    """Of a positive definite matrix and the diagonal `added` (m,) to it."""
    scale = (np.diag(matrix) + added) ** -0.5
    scaled = matrix * scale
    scaled *= scale[:, None]
    np.fill_diagonal(scaled, 1.0)
    # LAPACK works in place, and in half the time that an inverse takes; it reads columns.
    factor, _ = dpotrf(scaled.T, lower=1, clean=0, overwrite_a=1)
    half, _ = dpotri(factor, lower=1, overwrite_c=1)
    return _Inverse(half, scale)


def _ln_bayes_factor(best: np.ndarray, covariance: np.ndarray, precision: float) -> float:
    """Evidence for coefficients with the prior N(0, 1 / precision) against their being 0."""
    _, ln_determinant = np.linalg.slogdet(covariance * precision)
    return 0.5 * float(ln_determinant + best @ np.linalg.solve(covariance, best))
