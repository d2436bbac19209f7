"""The prior of the host, and the solution of the unknowns that exposures share.

The points of the host have a Gaussian prior g ~ N(0, 1 / precision): beyond the resolution of the
images it keeps them from oscillating. Its precision is that of largest evidence (MacKay 1992),

    precision = gamma / sum g^2,  gamma = K - precision tr (S + precision)^-1 .
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

N_ITERATIONS = 100
# Of the mean information on a point.
LOWEST_PRECISION = 3e-6


class Solution(NamedTuple):
    """Step of the K points and 4 numbers of the motion, and their covariance."""

    step: np.ndarray  # (K + 4,)
    covariance: np.ndarray  # (K + 4, K + 4)
    precision: float  # of the host's prior
    n_effective: float  # gamma


def solve_shared(
    normal: np.ndarray,
    gradient: np.ndarray,
    host_adu: np.ndarray,
    motion: np.ndarray,
    motion_precision: np.ndarray,
    precision: float | None = None,
) -> Solution:
    """A Gauss-Newton step from host (K,) and motion (4,), priors included.

    `motion_precision`: (4,) of priors of mean 0, infinite where the motion is held, of which there
    is nothing in S and b; `precision`: of the host, None for the one of largest evidence.
    """
    k = len(host_adu)
    is_held = np.append(np.zeros(k, bool), ~np.isfinite(motion_precision))
    state = np.append(host_adu, motion)
    prior = np.append(np.zeros(k), motion_precision)
    prior[is_held] = 1.0  # their step is 0
    if k and precision is None:
        precision = maximise_evidence(normal, gradient + normal @ state, prior, k)
    prior[:k] = precision or 0.0
    scale = 1.0 / np.sqrt(np.diagonal(normal) + prior)
    factor = cho_factor((normal + np.diag(prior)) * scale[:, None] * scale, lower=True)
    covariance = cho_solve(factor, np.diag(scale)) * scale[:, None]
    covariance[is_held] = 0.0
    covariance[:, is_held] = 0.0
    step = covariance @ (gradient - prior * state)
    n_effective = k - prior[:k] @ np.diagonal(covariance)[:k]
    return Solution(step, covariance, precision or 0.0, n_effective)


def maximise_evidence(normal: np.ndarray, gradient: np.ndarray, prior: np.ndarray, k: int) -> float:
    """Precision of the host's prior, ADU^-2; the motion is integrated out.

    `gradient`: at host and motion 0.
    """
    side = normal[:k, k:] @ np.linalg.inv(normal[k:, k:] + np.diag(prior[k:]))
    values, vectors = np.linalg.eigh(normal[:k, :k] - side @ normal[k:, :k])
    # Rounding of single precision can make values negative where the data say nothing.
    rounding = max(0.0, -float(values.min()))
    values = np.maximum(values, 0.0)
    projected = vectors.T @ (gradient[:k] - side @ gradient[k:])
    lowest = max(LOWEST_PRECISION * float(values.mean()), 2.0 * rounding)
    found = lowest
    for _ in range(N_ITERATIONS):
        gamma = np.sum(values / (values + found))
        used, found = found, gamma / max(np.sum((projected / (values + found)) ** 2), 1e-300)
        found = max(found, lowest)
        if abs(np.log(found / used)) < 1e-3:
            break
    return float(found)
