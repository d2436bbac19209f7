"""What the measured stars of an image say about its PSF: one row of numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ztfpsf.quality import PIXEL_ARCSEC, Bin
from ztfpsf.robust import ClippedMean, clipped_mean
from ztfpsf.stamps import N_APCOR
from ztfpsf.validation.header import describe_header
from ztfpsf.validation.trends import FluxTerm, find_trends

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
# The core is judged on the brightest quarter: on faint stars the noise of the noise decides.
BRIGHT_FRACTION, FEWEST_BRIGHT = 0.25, 3
SMALLEST_APERTURE_PX = 4.0  # smaller ones tell of the core, not of the flux


@dataclass(frozen=True)
class ValidationSettings:
    """Configuration of the validation, without the limits of the verdict."""

    min_snr: float  # of stars that count in means and trends
    min_stars_rho: int
    aperture_diameters_px: Sequence[float]
    flux_term: FluxTerm


def measurable(stars: pd.DataFrame, settings: ValidationSettings) -> pd.DataFrame:
    """Stars that count in means and trends."""
    return stars[(stars["moments"] == "ok") & (stars["snr"] >= settings.min_snr)]


def summarise(
    stars: pd.DataFrame,
    fit: Mapping[str, Any],
    camera: Mapping[str, Any],
    bins: Sequence[Bin],
    settings: ValidationSettings,
) -> dict[str, Any]:
    """The numbers of one image.

    `stars`: its rows of measure_stars; `fit`, `camera`: its row of the fit's images table and of
    the stamps' IMAGES. What cannot be measured is NaN.
    """
    reserved = stars[stars["is_reserved"]]
    measured = measurable(reserved, settings)
    counts = {
        "fit_status": fit["status"],
        "n_fitted": int(stars["is_fitted"].sum()),
        "n_reserved": len(reserved),
        "n_measured": len(measured),
        "rejected_fraction": fit.get("n_rejected", np.nan) / max(fit.get("n_stars", 0), 1),
        "clipped_fraction": fit.get("clipped_fraction", np.nan),
        "pocket_misfit_adu": float(fit.get("pocket_misfit_adu", np.nan)),
        "failed_moments_fraction": _fraction(reserved["moments"] != "ok"),
    }
    return (
        counts
        | describe_header(fit, camera)
        | find_sky(stars, camera)
        | describe_moments(measured)
        | describe_core(measured)
        | describe_residuals(measured)
        | find_trends(measurable(stars, settings), settings.flux_term)
        | compare_apertures(measured, camera, settings.aperture_diameters_px)
        | describe_bins(reserved, measured, bins)
    )


def _fraction(which: pd.Series) -> float:
    return float(which.mean()) if len(which) else np.nan


def _median(values: pd.Series) -> float:
    return float(values.median()) if values.notna().any() else np.nan


def find_sky(stars: pd.DataFrame, camera: Mapping[str, Any]) -> dict[str, float]:
    """Zero point of the PSF fluxes in the catalogue's magnitudes, and the sky's brightness."""
    lit = stars[(stars["flux_adu"] > 0) & (stars["moments"] == "ok")]
    zero_point = _median(lit["mag"] + 2.5 * np.log10(lit["flux_adu"]))
    sky = camera["sky_adu"] / PIXEL_ARCSEC**2
    brightness = zero_point - 2.5 * np.log10(sky) if sky > 0 else np.nan
    return {"zero_point_mag": zero_point, "sky_mag_arcsec2": float(brightness)}


def describe_moments(measured: pd.DataFrame) -> dict[str, float]:
    """Size and ellipticity of the stars, whatever the model says; the pixel is part of them."""
    sigma = np.sqrt(_median(measured["t_px2"]) / 2.0)
    return {
        "fwhm_px": float(FWHM_PER_SIGMA * sigma),  # of the Gaussian of these moments
        "ellipticity": _median(np.hypot(measured["g1"], measured["g2"])),
        "g1": _median(measured["g1"]),
        "g2": _median(measured["g2"]),
        "fourth_moment": _median(measured["fourth_moment"]),
    }


def describe_core(measured: pd.DataFrame) -> dict[str, float]:
    """Relative error of the model within 4 px, and core chi2, of the brightest quarter."""
    n = max(int(BRIGHT_FRACTION * len(measured)), FEWEST_BRIGHT)
    bright = measured.nlargest(n, "flux_adu")
    squared = clipped_mean(bright["misfit2"].to_numpy(), bright["misfit2_error"].to_numpy())
    misfit = np.sqrt(np.maximum(squared.value, 0.0))
    # The error of a square root, and of one that is compatible with zero.
    error = np.sqrt(np.maximum(squared.value, 0.0) + squared.error) - misfit
    return {
        "misfit": float(misfit),
        "misfit_error": float(error),
        "bright_core_chi2": _median(bright["core_chi2"]),
    }


def find_residuals(stars: pd.DataFrame) -> dict[str, ClippedMean]:
    """Means of size_residual, g1_residual and g2_residual of measured stars."""
    values = {"size": stars["size_residual"]}
    values |= {name: stars[name] - stars[f"{name}_model"] for name in ("g1", "g2")}
    errors = {"size": "size_residual_error", "g1": "g1_error", "g2": "g2_error"}
    return {
        f"{name}_residual": clipped_mean(value.to_numpy(), stars[errors[name]].to_numpy())
        for name, value in values.items()
    }


def describe_residuals(measured: pd.DataFrame) -> dict[str, float]:
    """Size and ellipticity, star minus model: mean, its error, and rms from star to star."""
    found = find_residuals(measured)
    row: dict[str, float] = {}
    for name, one in found.items():
        row |= {name: one.value, f"{name}_error": one.error, f"{name}_rms": one.rms}
    g1, g2 = found["g1_residual"], found["g2_residual"]
    row["ellipticity_residual"] = float(np.hypot(g1.value, g2.value))
    row["ellipticity_residual_error"] = float(np.hypot(g1.error, g2.error))
    return row


def compare_apertures(
    measured: pd.DataFrame, camera: Mapping[str, Any], diameters_px: Sequence[float]
) -> dict[str, float]:
    """PSF minus aperture magnitudes in mmag, means over stars, beside IPAC's APCOR.

    For each aperture d: psf_minus_ap_<d>px_mmag as observed; corrected_<d>px_mmag with the PSF's
    own light outside the aperture added, 0 expected, and its error; apcor_<d>px_mmag and
    minus_apcor_<d>px_mmag, ours minus IPAC's less what is common to all apertures of
    SMALLEST_APERTURE_PX and more: apcor_offset_mmag. That offset is between two definitions of the
    PSF's flux (ours: over the whole plane), and sits in the zero point.
    photometric_offset_mmag: median of the corrected ones over those apertures.
    """
    apcor = read_apcor(camera)
    row: dict[str, float] = {}
    for diameter in diameters_px:
        data, model, error = (
            1e3 * measured[f"psf_minus_ap_{part}{diameter:g}px_mag"].to_numpy()
            for part in ("", "model_", "error_")
        )
        corrected = clipped_mean(data - model, error)
        row[f"psf_minus_ap_{diameter:g}px_mmag"] = clipped_mean(data, error).value
        row[f"corrected_{diameter:g}px_mmag"] = corrected.value
        row[f"corrected_error_{diameter:g}px_mmag"] = corrected.error
        row[f"apcor_{diameter:g}px_mmag"] = apcor.get(float(diameter), np.nan)
    large = [diameter for diameter in diameters_px if diameter >= SMALLEST_APERTURE_PX]

    def middle(pattern: str) -> float:
        return _median(pd.Series([row[pattern.format(d)] for d in large], dtype=float))

    row["photometric_offset_mmag"] = middle("corrected_{:g}px_mmag")
    row["photometric_offset_error_mmag"] = middle("corrected_error_{:g}px_mmag")
    differences = {
        d: row[f"psf_minus_ap_{d:g}px_mmag"] - row[f"apcor_{d:g}px_mmag"] for d in diameters_px
    }
    offset = _median(pd.Series([differences[d] for d in large], dtype=float))
    row["apcor_offset_mmag"] = offset
    return row | {f"minus_apcor_{d:g}px_mmag": differences[d] - offset for d in diameters_px}


def read_apcor(camera: Mapping[str, Any]) -> dict[float, float]:
    """APCOR in mmag by the diameter of the aperture in px; none for images without."""
    found = {
        camera[f"aperture{n}_px"]: 1e3 * camera[f"apcor{n}_mag"] for n in range(1, N_APCOR + 1)
    }
    return {diameter: value for diameter, value in found.items() if np.isfinite(diameter)}


def describe_bins(
    reserved: pd.DataFrame, measured: pd.DataFrame, bins: Sequence[Bin]
) -> dict[str, float]:
    """Medians of chi2 and mean residuals of each magnitude bin, `<name>_14_15mag`."""
    row: dict[str, float] = {}
    for one in bins:
        mine, shaped = (stars[one.holds(stars["mag"])] for stars in (reserved, measured))
        values = {
            "n": len(mine),
            "core_chi2": _median(mine["core_chi2"]),
            "chi2_per_dof": _median(mine["chi2_per_dof"]),
        }
        for name, found in find_residuals(shaped).items():
            values |= {name: found.value, f"{name}_error": found.error, f"{name}_rms": found.rms}
        row |= {f"{name}_{one.low}_{one.low + 1}mag": value for name, value in values.items()}
    return row
