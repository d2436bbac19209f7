"""Statistics that outliers do not change: scatter, means and linear fits."""

from typing import NamedTuple

import numpy as np

# Standard deviation of Gaussian values over their median absolute deviation (MAD).
MAD_TO_SIGMA = 1.4826
MEDIAN_CHI2 = 0.4549  # of chi2 with one degree of freedom
# In Gaussian noise one value in two million is further off.
CLIP_SIGMA = 5.0
# Fits of values with a tenth of outliers keep the same ones after two or three.
N_ROUNDS = 5


class ClippedFit(NamedTuple):
    """A linear fit with k terms to n values; NaN where too few of them are usable."""

    coefficients: np.ndarray  # (k,)
    covariance: np.ndarray  # (k, k)
    kept: np.ndarray  # (n,) bool, values in the fit
    scatter: float  # of the values around the fit, beyond their errors
    rms: float  # of the values around the fit, 1.4826 MAD

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the coefficients, (k,)."""
        return np.sqrt(np.diagonal(self.covariance))

    @property
    def sigmas(self) -> np.ndarray:
        """Significance of each coefficient, with its sign, (k,)."""
        return self.coefficients / self.errors


class ClippedMean(NamedTuple):
    """A mean, in the unit of the values; NaN for fewer than two."""

    value: float
    error: float
    rms: float
    n: int  # values in it


def mad_sigma(values: np.ndarray, axis: int | None = None) -> np.ndarray | float:
    """Standard deviation from the median absolute deviation, 1.4826 MAD; NaN are left out."""
    centre = np.nanmedian(values, axis=axis, keepdims=True)
    return MAD_TO_SIGMA * np.nanmedian(np.abs(values - centre), axis=axis)


def fit_clipped(
    design: np.ndarray, values: np.ndarray, errors: np.ndarray, min_values: int
) -> ClippedFit:
    """Linear least squares of values (n,) on a design (n, k), weights 1 / (error^2 + scatter^2).

    The scatter is what makes the median of the normalised squares that of a chi2 of one degree of
    freedom: where the model errs from star to star, the brightest stars must not decide alone.
    Values further off than CLIP_SIGMA are left out, in N_ROUNDS rounds. Usable are finite values
    with finite, positive errors; with fewer than `min_values` of them the fit is NaN.
    """
    kept = np.isfinite(values) & np.isfinite(errors) & (errors > 0) & np.isfinite(design).all(1)
    found = _make_nothing(design)
    scatter = 0.0
    for _ in range(N_ROUNDS):
        if kept.sum() < max(min_values, 1):
            return _make_nothing(design)
        used, weights = design[kept], 1.0 / (errors[kept] ** 2 + scatter**2)
        covariance = np.linalg.pinv(used.T @ (weights[:, None] * used))
        coefficients = covariance @ (used.T @ (weights * values[kept]))
        residuals = values - design @ coefficients
        scatter = find_scatter(residuals[kept], errors[kept])
        rms = MAD_TO_SIGMA * float(np.median(np.abs(residuals[kept])))
        found = ClippedFit(coefficients, covariance, kept, scatter, rms)
        with np.errstate(invalid="ignore"):
            kept = kept & (residuals**2 < CLIP_SIGMA**2 * (errors**2 + scatter**2))
    return found


def _make_nothing(design: np.ndarray) -> ClippedFit:
    n, k = design.shape
    return ClippedFit(
        np.full(k, np.nan), np.full((k, k), np.nan), np.zeros(n, bool), np.nan, np.nan
    )


def find_scatter(residuals: np.ndarray, errors: np.ndarray) -> float:
    """Scatter beyond the errors, 0 where the errors explain the residuals; both (n,)."""
    # Many that need MAD_TO_SIGMA need no solver, which takes 0.4 s to import.
    from scipy.optimize import brentq

    def excess(scatter: float) -> float:
        return float(np.median(residuals**2 / (errors**2 + scatter**2))) - MEDIAN_CHI2

    if excess(0.0) <= 0:
        return 0.0
    return brentq(excess, 0.0, 10.0 * float(np.abs(residuals).max()), rtol=1e-3)


def clipped_mean(values: np.ndarray, errors: np.ndarray) -> ClippedMean:
    """Weighted mean of values (n,) by fit_clipped; NaN for fewer than two."""
    fit = fit_clipped(np.ones((len(values), 1)), values, errors, min_values=2)
    return ClippedMean(
        float(fit.coefficients[0]), float(fit.errors[0]), fit.rms, int(fit.kept.sum())
    )
