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

from ztfpsf.psf.problem.elimination import marginalise
from ztfpsf.psf.problem.normal import NormalEquations
from ztfpsf.psf.problem.parameters import Parameters

START_PRECISION = 100.0  # residuals of a tenth of the peak
LARGEST_PRECISION = 1e10
STRONG_EVIDENCE = 5.0  # ln of the Bayes factor (Kass & Raftery 1995, JASA 90, 773)
ITERATIONS = 12
CHANGE = 0.1  # of ln precision, when the iteration ends: less than its own error


class Evidence(NamedTuple):
    """Precision of each term of the grid, and what it leaves to the stars."""

    precision: np.ndarray  # (C,)
    n_effective: np.ndarray  # (groups,) coefficients that the data determine


def update_precision(
    normal: NormalEquations, parameters: Parameters, precision: np.ndarray, groups: np.ndarray
) -> Evidence:
    """The precision of most evidence around a solution.

    `normal`: normal equations at `parameters` with the prior of `precision` (C,); `groups`: (C,)
    the group of each term.
    """
    n_profile = parameters.profile.size
    z = np.asarray(parameters.grid)
    n_modes = len(z)
    current = np.concatenate([np.zeros(n_profile), np.tile(precision, n_modes)])
    position = np.concatenate([np.zeros(n_profile), z.ravel()])
    curvature, gradient = (np.array(part) for part in marginalise(normal))
    curvature[np.diag_indices_from(curvature)] -= current
    slope = gradient + current * position + curvature @ position
    group = np.concatenate([np.full(n_profile, -1), np.tile(groups, n_modes)])
    values = np.array([precision[groups == g][0] for g in range(groups.max() + 1)])
    n_effective = np.zeros(len(values))
    is_in = np.ones(len(values), bool)
    while is_in.any():
        rows = (group < 0) | is_in[group]
        part = curvature[np.ix_(rows, rows)], slope[rows], group[rows]
        numbers = np.flatnonzero(is_in)
        values[is_in], n_effective[is_in], ln_bayes = _maximise(*part, numbers, values[is_in])
        if ln_bayes.min() > STRONG_EVIDENCE:
            break
        weakest = numbers[np.argmin(ln_bayes)]
        is_in[weakest], values[weakest], n_effective[weakest] = False, LARGEST_PRECISION, 0.0
    return Evidence(values[groups], n_effective)


def _maximise(
    curvature: np.ndarray,
    slope: np.ndarray,
    group: np.ndarray,
    numbers: np.ndarray,
    values: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, effective coefficients and ln Bayes factor of the groups `numbers`, each (g,).

    `group`: (m,) that of each coefficient, -1 of the profile's; `values`: (g,) the first guess.
    """
    members = [group == number for number in numbers]
    for _ in range(ITERATIONS):
        prior = sum(value * mine for value, mine in zip(values, members, strict=True))
        inverse = _invert(curvature + np.diag(prior))
        best = inverse @ slope
        variance = np.diag(inverse)
        n_effective = np.array(
            [m.sum() - p * variance[m].sum() for m, p in zip(members, values, strict=True)]
        )
        power = np.array([np.sum(best[m] ** 2) for m in members])
        old = values
        values = np.clip(np.maximum(n_effective, 0.1) / power, 1e-3, LARGEST_PRECISION)
        if np.all(np.abs(np.log(values / old)) < CHANGE):
            break
    ln_bayes = [
        _ln_bayes_factor(best[m], inverse[np.ix_(m, m)], p)
        for m, p in zip(members, old, strict=True)
    ]
    return values, n_effective, np.array(ln_bayes)


def _invert(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a positive definite matrix of mixed units."""
    scale = np.diag(matrix) ** -0.5
    return np.linalg.inv(matrix * scale[:, None] * scale) * scale[:, None] * scale


def _ln_bayes_factor(best: np.ndarray, covariance: np.ndarray, precision: float) -> float:
    """Evidence for coefficients with the prior N(0, 1 / precision) against their being 0."""
    _, ln_determinant = np.linalg.slogdet(covariance * precision)
    return 0.5 * float(ln_determinant + best @ np.linalg.solve(covariance, best))
