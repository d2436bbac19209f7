"""Means and trends of values with known errors, without their outliers."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

# Median of chi2 for one degree of freedom.
MEDIAN_CHI2 = 0.4549
CLIP_SIGMA = 5.0
N_ROUNDS = 5


class Trend(NamedTuple):
    """Coefficients of k terms; NaN where fewer than k + 1 values are usable."""

    coefficients: np.ndarray  # (k,)
    covariance: np.ndarray  # (k, k)
    scatter: float  # of the values around the trend, beyond their errors
    rms: float  # of the values around the trend, 1.4826 MAD
    n: int  # values used

    @property
    def errors(self) -> np.ndarray:
        return np.sqrt(np.diagonal(self.covariance))

    @property
    def sigmas(self) -> np.ndarray:
        """Significance of each coefficient, with its sign."""
        return self.coefficients / self.errors


class Mean(NamedTuple):
    value: float
    error: float
    rms: float
    n: int


def fit_trend(terms: np.ndarray, value: np.ndarray, error: np.ndarray) -> Trend:
    """Linear least squares of values (n,) on terms (n, k), weights 1 / (error^2 + scatter^2).

    The scatter is what makes the median of the normalised squares that of a chi2 of one degree of
    freedom: where the model errs from star to star, the brightest stars must not decide alone.
    Values further off than CLIP_SIGMA are left out, in N_ROUNDS rounds.
    """
    k = terms.shape[1]
    keep = np.isfinite(value) & np.isfinite(error) & (error > 0) & np.isfinite(terms).all(axis=1)
    scatter = 0.0
    for _ in range(N_ROUNDS):
        if keep.sum() <= k:
            return Trend(np.full(k, np.nan), np.full((k, k), np.nan), np.nan, np.nan, 0)
        used, weight = terms[keep], 1.0 / (error[keep] ** 2 + scatter**2)
        covariance = np.linalg.pinv(used.T @ (weight[:, None] * used))
        coefficients = covariance @ (used.T @ (weight * value[keep]))
        residual = value - terms @ coefficients
        scatter = find_scatter(residual[keep], error[keep])
        n_used, rms = int(keep.sum()), 1.4826 * float(np.median(np.abs(residual[keep])))
        with np.errstate(invalid="ignore"):
            keep &= residual**2 < CLIP_SIGMA**2 * (error**2 + scatter**2)
    return Trend(coefficients, covariance, scatter, rms, n_used)


def find_scatter(residual: np.ndarray, error: np.ndarray) -> float:
    """Scatter beyond the errors, 0 where the errors explain the residuals; both (n,)."""

    def excess(scatter: float) -> float:
        return float(np.median(residual**2 / (error**2 + scatter**2))) - MEDIAN_CHI2

    if excess(0.0) <= 0:
        return 0.0
    return brentq(excess, 0.0, 10.0 * float(np.abs(residual).max()), rtol=1e-3)


def mean(value: np.ndarray, error: np.ndarray) -> Mean:
    """Robust weighted mean of values (n,); NaN for fewer than two."""
    trend = fit_trend(np.ones((len(value), 1)), value, error)
    return Mean(float(trend.coefficients[0]), float(trend.errors[0]), trend.rms, trend.n)
