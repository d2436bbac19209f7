"""Does the PSF depend on magnitude? The size and the ellipticity of stars against their flux.

Three causes, three functions: the brighter-fatter effect is linear in flux (Antilogus et al. 2014,
JINST 9, C03048); charge that is left behind in read-out (traps, ZTF's pocket effect) is a fixed
number of electrons, so that its share goes as 1 / flux; a slope against magnitude is what one sees.
Fitted and reserved stars are used alike: a star of hundreds does not move the PSF, and an error of
the PSF itself is common to all and belongs to the constant.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.robust import ClippedFit, fit_clipped

FLUX_UNIT_ADU = 1e5
PIVOT_MAG = 16.0  # in the middle of the stars of a PSF, 14 to 18
# Of the fluxes of the stars: between these quantiles the trend is told.
RANGE = (0.05, 0.95)


class FluxTerm(NamedTuple):
    """When a term linear in flux is worth having in the PSF model."""

    min_sigma: float
    min_change: float  # of the size, over the range of fluxes


def find_trends(stars: pd.DataFrame, flux_term: FluxTerm) -> dict[str, float | bool]:
    """Trends of the residuals of measured stars, with errors; NaN with too few stars.

    size_per_mag: slope of dT/T = (T - T_model) / T_model. size_per_1e5adu and size_charge_adu, a
    and b of dT/T = constant + a flux / 1e5 ADU + b / flux, and g1_charge_adu, g2_charge_adu, their
    b. size_range: dT/T of the faint minus the bright end (RANGE) on that curve. needs_flux_term:
    `flux_term` is fulfilled.
    """
    mag, flux = (stars[name].to_numpy(float) for name in ("mag", "flux_adu"))
    size = (stars["size_residual"].to_numpy(), stars["size_residual_error"].to_numpy())
    row: dict[str, float | bool] = {"n_trend": 0}
    row |= _describe("size_per_mag", _fit(_terms(np.ones_like(mag), mag - PIVOT_MAG), *size), 1)
    scaled = flux / FLUX_UNIT_ADU
    terms = _terms(np.ones_like(flux), scaled, 1.0 / scaled)
    trend = _fit(terms, *size)
    row["n_trend"] = n = int(trend.kept.sum())
    row |= _describe("size_per_1e5adu", trend, 1)
    row |= _describe("size_charge_adu", trend, 2, FLUX_UNIT_ADU)
    for name in ("g1", "g2"):
        residual = (stars[name] - stars[f"{name}_model"]).to_numpy()
        tilt = _fit(terms, residual, stars[f"{name}_error"].to_numpy())
        row |= _describe(f"{name}_charge_adu", tilt, 2, FLUX_UNIT_ADU)
    faint, bright = np.quantile(scaled, RANGE) if n else (np.nan, np.nan)
    step = np.array([0.0, faint - bright, 1.0 / faint - 1.0 / bright])
    row["size_range"] = float(step @ trend.coefficients)
    row["size_range_error"] = float(np.sqrt(step @ trend.covariance @ step))
    change = abs(trend.coefficients[1]) * (bright - faint)
    row["needs_flux_term"] = bool(
        abs(trend.sigmas[1]) > flux_term.min_sigma and change > flux_term.min_change
    )
    return row


def _fit(terms: np.ndarray, values: np.ndarray, errors: np.ndarray) -> ClippedFit:
    """A fit with at least one value more than terms."""
    return fit_clipped(terms, values, errors, min_values=terms.shape[1] + 1)


def _terms(*columns: np.ndarray) -> np.ndarray:
    return np.stack(columns, axis=1)


def _describe(name: str, trend: ClippedFit, term: int, unit: float = 1.0) -> dict[str, float]:
    return {
        name: unit * float(trend.coefficients[term]),
        f"{name}_error": unit * float(trend.errors[term]),
        f"{name}_sigma": float(trend.sigmas[term]),
    }
