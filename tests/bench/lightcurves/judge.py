"""Light curves against the truth: bias, scatter, pulls."""

from typing import NamedTuple

import numpy as np
from ztfpsf.lightcurve.scene import LightCurve

MMAG = 1085.74  # per unit of ln flux
BRIGHT = 0.3  # of the peak


class Judged(NamedTuple):
    """One supernova."""

    bias_mmag: float  # of the bright exposures, against stars
    bias_error_mmag: float
    scatter_mmag: float  # of a bright exposure
    pull_bright: float
    pull_zero: float  # exposures within the dates, without light
    mean_zero: float  # mean pull of these
    pull_mean: float  # weighted mean of these with the covariance, in its error
    pull_all: float  # root of their chi2 with the covariance, per exposure
    pull_probe: float  # exposures outside the dates
    chi2: float  # per degree of freedom
    n_effective: float


def judge(found: LightCurve, flux_adu: np.ndarray, in_baseline: np.ndarray) -> Judged:
    """`flux_adu`: (E,) true, on the scale of the stars' light curves."""
    ok = np.isfinite(found.flux_adu)
    on = ok & ~in_baseline
    zero, bright = on & (flux_adu == 0), on & (flux_adu > BRIGHT * flux_adu.max())
    error = found.flux_adu - flux_adu
    pull = np.divide(error, found.flux_error_adu, where=on, out=np.zeros(len(on)))
    factor, sigma = fit_scale(found.flux_adu, flux_adu, found.covariance_adu2, bright)
    inverse = np.linalg.inv(found.covariance_adu2[np.ix_(zero, zero)])
    mean = inverse.sum(axis=0) @ error[zero] / np.sqrt(inverse.sum())
    whole = np.sqrt(error[zero] @ inverse @ error[zero] / zero.sum())
    probe = found.probe_flux_adu / found.probe_error_adu
    return Judged(
        MMAG * (factor - 1),
        MMAG * sigma,
        MMAG * np.std(error[bright] / flux_adu[bright]),
        np.sqrt(np.mean(pull[bright] ** 2)),
        np.std(pull[zero]),
        np.mean(pull[zero]),
        mean,
        whole,
        np.std(probe[ok & in_baseline]),
        np.nansum(found.chi2) / np.nansum(found.dof),
        0.0 if found.host is None else found.host.n_effective,
    )


def fit_scale(
    flux_adu: np.ndarray, true_adu: np.ndarray, covariance: np.ndarray, rows: np.ndarray
) -> tuple[float, float]:
    """Factor between fluxes and truth of some exposures, and its error."""
    weighted = np.linalg.solve(covariance[np.ix_(rows, rows)], true_adu[rows])
    information = weighted @ true_adu[rows]
    return weighted @ flux_adu[rows] / information, information**-0.5


class Star(NamedTuple):
    """One star of constant light."""

    mag: float
    factor: float  # mean flux over the true one
    rms_mmag: float
    expected_mmag: float  # from the errors without ratio and place
    pull: float


def judge_star(found: LightCurve, flux_adu: float, mag: float, own_error: np.ndarray) -> Star:
    """`own_error`: (E,) ADU, noise alone."""
    ok = np.isfinite(found.flux_adu)
    weight = 1 / found.flux_error_adu[ok] ** 2
    mean = weight @ found.flux_adu[ok] / weight.sum()
    off = found.flux_adu[ok] - mean
    return Star(
        mag,
        mean / flux_adu,
        MMAG * np.std(off) / mean,
        MMAG * np.sqrt(np.mean(own_error[ok] ** 2)) / mean,
        np.std(off / found.flux_error_adu[ok]),
    )


def judge_forced(
    flux: np.ndarray, true: np.ndarray, in_baseline: np.ndarray
) -> tuple[float, float]:
    """Bias and scatter (mmag) of bright exposures; the mean outside the dates is subtracted."""
    bright = ~in_baseline & (true > BRIGHT * true.max())
    light = flux - np.nanmean(flux[in_baseline])
    ratio = light[bright] / true[bright]
    return MMAG * (np.nanmean(ratio) - 1), MMAG * np.nanstd(ratio)
