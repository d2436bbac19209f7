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

from ztfpsf.psf.arrow import Normal
from ztfpsf.psf.problem import Parameters

START_PRECISION = 100.0  # residuals of a tenth of the peak
LARGEST_PRECISION = 1e10
STRONG_EVIDENCE = 5.0  # ln of the Bayes factor (Kass & Raftery 1995, JASA 90, 773)
ITERATIONS = 12
CHANGE = 0.03  # of ln precision, when the iteration ends


class Evidence(NamedTuple):
    """Precision of each term of the grid, and what it leaves to the stars."""

    precision: np.ndarray  # (C,)
    n_effective: np.ndarray  # (groups,) coefficients that the data determine


def update_precision(
    normal: Normal, parameters: Parameters, precision: np.ndarray, groups: np.ndarray
) -> Evidence:
    """The precision of most evidence around a solution.

    `normal`: normal equations at `parameters` with the prior of `precision` (C,); `groups`: (C,)
    the group of each term.
    """
    n_profile = parameters.shape.size
    z = np.asarray(parameters.grid)
    n_modes = len(z)
    current = np.concatenate([np.zeros(n_profile), np.tile(precision, n_modes)])
    position = np.concatenate([np.zeros(n_profile), z.ravel()])
    curvature, gradient = _marginalise(normal)
    curvature[np.diag_indices_from(curvature)] -= current
    slope = gradient + current * position + curvature @ position
    group = np.concatenate([np.full(n_profile, -1), np.tile(groups, n_modes)])
    members = [group == g for g in range(groups.max() + 1)]
    fixed = np.zeros(n_profile)
    is_out = np.zeros(len(members), bool)
    while True:
        for _ in range(ITERATIONS):
            matrix = curvature + np.diag(np.concatenate([fixed, np.tile(precision, n_modes)]))
            inverse = _invert(matrix)
            best = inverse @ slope
            old = np.array([precision[groups == g][0] for g in range(len(members))])
            n_effective = np.array(
                [
                    m.sum() - p * np.trace(inverse[np.ix_(m, m)])
                    for m, p in zip(members, old, strict=True)
                ]
            )
            power = np.array([np.sum(best[m] ** 2) for m in members])
            new = np.clip(np.maximum(n_effective, 0.1) / power, 1e-3, LARGEST_PRECISION)
            new[is_out] = LARGEST_PRECISION
            precision = new[groups]
            if np.all(np.abs(np.log(new / old)) < CHANGE):
                break
        ln_bayes = [
            np.inf if out else _ln_bayes_factor(best[m], inverse[np.ix_(m, m)], p)
            for m, p, out in zip(members, old, is_out, strict=True)
        ]
        if min(ln_bayes) > STRONG_EVIDENCE:
            return Evidence(precision, np.where(is_out, 0.0, n_effective))
        is_out[np.argmin(ln_bayes)] = True
        precision = np.where(is_out[groups], LARGEST_PRECISION, precision)


def _invert(matrix: np.ndarray) -> np.ndarray:
    """Inverse of a positive definite matrix of mixed units."""
    scale = np.diag(matrix) ** -0.5
    return np.linalg.inv(matrix * scale[:, None] * scale) * scale[:, None] * scale


def _ln_bayes_factor(best: np.ndarray, covariance: np.ndarray, precision: float) -> float:
    """Evidence for coefficients with the prior N(0, 1 / precision) against their being 0."""
    _, ln_determinant = np.linalg.slogdet(covariance * precision)
    return 0.5 * float(ln_determinant + best @ np.linalg.solve(covariance, best))


def _marginalise(normal: Normal) -> tuple[np.ndarray, np.ndarray]:
    """Normal matrix and gradient of the coefficients with the stars eliminated."""
    star = np.asarray(normal.star)
    diagonal = np.diagonal(star, axis1=1, axis2=2)
    empty = np.where(diagonal > 0, 0.0, 1.0)
    root = np.linalg.cholesky(star + empty[:, :, None] * np.eye(star.shape[1]))
    white = np.linalg.inv(root)
    border = (white @ np.asarray(normal.border)).reshape(-1, len(normal.shape_gradient))
    residual = np.einsum("nst,nt->ns", white, np.asarray(normal.star_gradient)).ravel()
    curvature = np.array(normal.corner) - border.T @ border
    # Coefficients that are held have no data: any curvature will do.
    held = np.diag(np.asarray(normal.corner)) == 0
    curvature[held, held] = 1.0
    return curvature, np.asarray(normal.shape_gradient) - border.T @ residual
