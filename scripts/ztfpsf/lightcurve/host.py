"""The prior of the host, and the solution of the unknowns that exposures share.

Beyond the resolution of the images a prior keeps the points of the host from oscillating. They are
Gaussian, half of their variance smooth and half of each point alone,

    g ~ N(0, c C),  C = V^1/2 (1 + G) / 2 V^1/2 ,

V = diag(v), G a Gaussian of the distance of two points (Geometry.nearness): light that is smooth
costs little, however faint it is. c is of largest evidence (MacKay 1992); with C = L L^T,
h = L^-1 g and S' = L^T S L,

    1 / c = gamma / sum h^2,  gamma = K - tr (S' + 1 / c)^-1 / c .

v_k is the expectation of g^2 around the point, of mean 1, found in turns with c: a nucleus has
room, and places where there is no light are held.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

N_ITERATIONS = 100
N_TURNS = 3
# Of the mean information on a point.
LOWEST_PRECISION = 3e-6


class Solution(NamedTuple):
    """Step of the K points and 4 numbers of the motion, and their covariance."""

    step: np.ndarray  # (K + 4,)
    covariance: np.ndarray  # (K + 4, K + 4)
    precision: np.ndarray  # (K, K) of the host's prior, (c C)^-1
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
    is nothing in S and b; `precision`: (K, K) of the host, see find_precision.
    """
    k = len(host_adu)
    is_held = np.append(np.zeros(k, bool), ~np.isfinite(motion_precision))
    state = np.append(host_adu, motion)
    prior = np.diag(np.append(np.zeros(k), motion_precision))
    prior[is_held, is_held] = 1.0  # their step is 0
    prior[:k, :k] = precision
    scale = 1.0 / np.sqrt(np.diagonal(normal) + np.diagonal(prior))
    factor = cho_factor((normal + prior) * scale[:, None] * scale, lower=True)
    covariance = cho_solve(factor, np.diag(scale)) * scale[:, None]
    covariance[is_held] = 0.0
    covariance[:, is_held] = 0.0
    step = covariance @ (gradient - prior @ state)
    n_effective = float(k - np.sum(precision * covariance[:k, :k]))
    return Solution(step, covariance, precision, n_effective)


def find_precision(
    normal: np.ndarray, gradient: np.ndarray, motion_precision: np.ndarray, nearness: np.ndarray
) -> np.ndarray:
    """(c C)^-1, (K, K) ADU^-2; the motion is integrated out.

    `gradient`: at host and motion 0; `nearness`: (K, K) of the points, 1 with themselves.
    """
    k = len(nearness)
    if not k:
        return np.zeros((0, 0))
    held = np.where(np.isfinite(motion_precision), motion_precision, 1.0)
    side = normal[:k, k:] @ np.linalg.inv(normal[k:, k:] + np.diag(held))
    matrix = normal[:k, :k] - side @ normal[k:, :k]
    vector = gradient[:k] - side @ gradient[k:]
    base = np.linalg.cholesky((np.eye(k) + nearness) / 2)
    near = nearness / nearness.sum(axis=1, keepdims=True)
    root, found = base, 1.0
    for turn in range(N_TURNS):
        values, vectors = np.linalg.eigh(root.T @ matrix @ root)
        # Rounding of single precision can make values negative where the data say nothing.
        rounding = max(0.0, -float(values.min()))
        values = np.maximum(values, 0.0)
        projected = vectors.T @ (root.T @ vector)
        found = _maximise_evidence(values, projected, rounding)
        if turn == N_TURNS - 1:
            break
        width = root @ vectors
        square = (width @ (projected / (values + found))) ** 2 + width**2 @ (1 / (values + found))
        root = np.sqrt(near @ (square / square.mean()))[:, None] * base
    inverse = solve_triangular(root, np.eye(k), lower=True)
    return found * inverse.T @ inverse


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
