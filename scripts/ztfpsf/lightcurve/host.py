"""The prior of the host, and the solution of the unknowns that exposures share.

The points of the host have a Gaussian prior g_k ~ N(0, c v_k): beyond the resolution of the images
it keeps them from oscillating. c is the one of largest evidence (MacKay 1992); with V = diag(v),
h = V^-1/2 g and S' = V^1/2 S V^1/2,

    1 / c = gamma / sum h^2,  gamma = K - tr (S' + 1 / c)^-1 / c .

v_k is the expectation of g^2 around the point, of mean 1, found in turns with c: a nucleus has
room, and places where there is no light are held.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

N_ITERATIONS = 100
N_TURNS = 3
# Of the mean information on a point.
LOWEST_PRECISION = 3e-6


class Solution(NamedTuple):
    """Step of the K points and 4 numbers of the motion, and their covariance."""

    step: np.ndarray  # (K + 4,)
    covariance: np.ndarray  # (K + 4, K + 4)
    precision: np.ndarray  # (K,) of the host's prior
    n_effective: float  # gamma


def solve_shared(
    normal: np.ndarray,
    gradient: np.ndarray,
    host_adu: np.ndarray,
    motion: np.ndarray,
    motion_precision: np.ndarray,
    precision: np.ndarray,
) -> Solution:
    """A Gauss-Newton step from host (K,) and motion (4,), priors included.

    `motion_precision`: (4,) of priors of mean 0, infinite where the motion is held, of which there
    is nothing in S and b; `precision`: (K,) of the host, see find_precision.
    """
    k = len(host_adu)
    is_held = np.append(np.zeros(k, bool), ~np.isfinite(motion_precision))
    state = np.append(host_adu, motion)
    prior = np.append(precision, motion_precision)
    prior[is_held] = 1.0  # their step is 0
    scale = 1.0 / np.sqrt(np.diagonal(normal) + prior)
    factor = cho_factor((normal + np.diag(prior)) * scale[:, None] * scale, lower=True)
    covariance = cho_solve(factor, np.diag(scale)) * scale[:, None]
    covariance[is_held] = 0.0
    covariance[:, is_held] = 0.0
    step = covariance @ (gradient - prior * state)
    n_effective = float(k - prior[:k] @ np.diagonal(covariance)[:k])
    return Solution(step, covariance, precision, n_effective)


def find_precision(
    normal: np.ndarray, gradient: np.ndarray, motion_precision: np.ndarray, near: np.ndarray
) -> np.ndarray:
    """1 / (c v), (K,) ADU^-2; the motion is integrated out.

    `gradient`: at host and motion 0; `near`: (K, K) weights of the points around a point, sum 1.
    """
    k = len(near)
    if not k:
        return np.zeros(0)
    held = np.where(np.isfinite(motion_precision), motion_precision, 1.0)
    side = normal[:k, k:] @ np.linalg.inv(normal[k:, k:] + np.diag(held))
    matrix = normal[:k, :k] - side @ normal[k:, :k]
    vector = gradient[:k] - side @ gradient[k:]
    precision = relative = np.ones(k)
    for _ in range(N_TURNS):
        root = np.sqrt(relative)
        values, vectors = np.linalg.eigh(matrix * root[:, None] * root)
        # Rounding of single precision can make values negative where the data say nothing.
        rounding = max(0.0, -float(values.min()))
        values = np.maximum(values, 0.0)
        projected = vectors.T @ (root * vector)
        found = _maximise_evidence(values, projected, rounding)
        precision = found / relative
        mean = vectors @ (projected / (values + found))
        square = relative * (mean**2 + vectors**2 @ (1.0 / (values + found)))
        relative = near @ (square / square.mean())
    return precision


def _maximise_evidence(values: np.ndarray, projected: np.ndarray, rounding: float) -> float:
    """1 / c for eigenvalues of S' and the gradient along its eigenvectors."""
    lowest = max(LOWEST_PRECISION * float(values.mean()), 2.0 * rounding)
    found = lowest
    for _ in range(N_ITERATIONS):
        gamma = np.sum(values / (values + found))
        used, found = found, gamma / max(np.sum((projected / (values + found)) ** 2), 1e-300)
        found = max(found, lowest)
        if abs(np.log(found / used)) < 1e-3:
            break
    return float(found)
