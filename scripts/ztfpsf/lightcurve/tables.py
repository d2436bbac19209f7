"""Light curves as tables: one row per exposure, bad ones too; and what all of it says."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ztfpsf.lightcurve.calibration import ZeroPoint, to_microjansky
from ztfpsf.lightcurve.flags import Limits, find_flags
from ztfpsf.lightcurve.scene import OK, LightCurve
from ztfpsf.lightcurve.sights import MAG_PER_LN, Sights

FROM_EXPOSURES = (
    "image", "field", "filtercode", "ccdid", "qid", "mjd", "exptime_s", "fwhm_px", "airmass",
    "parallactic_deg", "sky_adu", "magzp_mag", "infobits", "verdict",
)  # fmt: skip
FROM_CURVE = {
    "flux_adu": "flux_adu",
    "flux_error_adu": "flux_error_adu",
    "probe_flux_adu": "probe_flux_adu",
    "probe_flux_error_adu": "probe_error_adu",
    "common_mode_adu": "common_mode_adu",
    "background_adu": "background_adu",
    "background_error_adu": "background_error_adu",
    "host_adu": "host_adu",
    "chi2": "chi2",
    "dof": "dof",
    "n_masked": "n_masked",
}
# A star varies whose chi2 per degree of freedom is above, by this and by 3 / sqrt(dof).
MAX_CHI2 = 2.0
MIN_BASELINE = 5
CHI2_RANGE = (0.9, 1.1)


def make_rows(exposures: pd.DataFrame, sights: Sights, curve: LightCurve) -> pd.DataFrame:
    """Exposures with what was fitted in them, on the common scale."""
    return pd.DataFrame(
        {
            **{name: exposures[name].to_numpy() for name in FROM_EXPOSURES},
            "x_px": curve.position_px[:, 0],
            "y_px": curve.position_px[:, 1],
            "ratio_mag": sights.ratio_mag,
            "ratio_error_mag": sights.ratio_error_mag,
            **{name: getattr(curve, field) for name, field in FROM_CURVE.items()},
            "status": curve.status,
        }
    )


def finish_rows(
    rows: pd.DataFrame,
    name: str,
    in_baseline: np.ndarray,
    zero_point: ZeroPoint,
    limits: Limits,
    refraction_arcsec_mag: float,
    colour_mag: float,
) -> pd.DataFrame:
    """The rows of a target with magnitudes and flags; `colour_mag`: NaN where it is not known."""
    flux, error = rows["flux_adu"].to_numpy(), rows["flux_error_adu"].to_numpy()
    positive = np.where(flux > 0, flux, np.nan)
    mag = zero_point.zero_point_mag - 2.5 * np.log10(positive)
    mag_error = MAG_PER_LN * error / positive
    redder, shared_error = zero_point.correct_colour(colour_mag)
    rows = rows.assign(
        target=name,
        in_baseline=in_baseline,
        flux_ujy=to_microjansky(flux, zero_point),
        flux_error_ujy=to_microjansky(error, zero_point),
        mag_ab=mag,
        mag_error=mag_error,
        reference_mag=mag + redder,
        reference_mag_error=np.hypot(mag_error, shared_error),
        zero_point_mag=zero_point.zero_point_mag,
        zero_point_error_mag=zero_point.error_mag,
    )
    of_unknown = 0.0 if np.isfinite(colour_mag) else refraction_arcsec_mag
    return rows.assign(flags=find_flags(rows, limits, of_unknown))


def describe_star(star: pd.Series, rows: pd.DataFrame) -> dict[str, Any]:
    """A star's mean flux, its scatter and what noise alone would give."""
    used = rows[(rows["status"] == OK) & (rows["flux_error_adu"] > 0)]
    flux, error = used["flux_adu"].to_numpy(), used["flux_error_adu"].to_numpy()
    n, weight = np.float64(len(used)), 1.0 / error**2
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = float(np.divide(weight @ flux, weight.sum()))
        chi2 = float(weight @ (flux - mean) ** 2)
        rms, expected = (float(np.sqrt(x @ x / n)) / mean for x in (flux - mean, error))
    dof = max(int(n) - 1, 0)
    return {
        **{name: star[name] for name in ("name", "ra_deg", "dec_deg", "distance_arcsec")},
        **{name: star[name] for name in ("colour_mag", "reference_mag", "reference_error_mag")},
        "mean_flux_adu": mean,
        "mean_flux_error_adu": float(weight.sum() ** -0.5) if n else np.nan,
        "n_used": int(n),
        "chi2": chi2,
        "dof": dof,
        "rms_mmag": 1e3 * MAG_PER_LN * rms if n else np.nan,
        "expected_rms_mmag": 1e3 * MAG_PER_LN * expected if n else np.nan,
        "is_constant": bool(dof > 0 and chi2 / dof < MAX_CHI2 + 3.0 / np.sqrt(dof)),
    }


def make_empty_stars() -> pd.DataFrame:
    """The table of describe_star without a row."""
    blank = pd.Series(dtype=float)
    columns = (
        "name", "ra_deg", "dec_deg", "distance_arcsec", "colour_mag", "reference_mag",
        "reference_error_mag", "mean_flux_adu", "mean_flux_error_adu", "n_used", "chi2", "dof",
        "rms_mmag", "expected_rms_mmag", "is_constant",
    )  # fmt: skip
    kinds = {"name": str, "is_constant": bool, "n_used": int, "dof": int}
    return pd.DataFrame({name: blank.astype(kinds.get(name, float)) for name in columns})


def judge(rows: pd.DataFrame) -> tuple[str, str]:
    """Verdict on a light curve, and its reason."""
    fitted = rows[rows["status"] == OK]
    if not len(fitted):
        return "bad", "no exposure could be fitted: " + rows["status"].value_counts().index[0]
    reasons = []
    if not fitted["in_baseline"].any():
        reasons.append(
            "no exposure before or after the dates can be used: the zero of the fluxes is that of "
            "the host's model, and common_mode_adu is the error that they share"
        )
    elif fitted["in_baseline"].sum() < MIN_BASELINE:
        reasons.append(
            f"{fitted['in_baseline'].sum()} exposures without light of the target, below "
            f"{MIN_BASELINE}"
        )
    chi2 = float((fitted["chi2"] / fitted["dof"]).median())
    low, high = CHI2_RANGE
    if not low <= chi2 <= high:
        reasons.append(f"chi2 per degree of freedom {chi2:.2f}, beyond {low:g} to {high:g}")
    if len(fitted) < 0.5 * len(rows):
        reasons.append(f"{len(fitted)} of {len(rows)} exposures fitted")
    return ("usable", "; ".join(reasons)) if reasons else ("good", "all numbers as they should be")


def make_record(
    name: str, rows: pd.DataFrame, curve: LightCurve, zero_point: ZeroPoint, stars: pd.DataFrame
) -> dict[str, Any]:
    """Numbers of the light curve as a whole."""
    verdict, reason = judge(rows)
    fitted = rows[rows["status"] == OK]
    constant = stars[stars["is_constant"]] if len(stars) else stars
    record: dict[str, Any] = {
        "target": name,
        "verdict": verdict,
        "reason": reason,
        "has_baseline": curve.has_baseline,
        "n_exposures": len(rows),
        "n_fitted": len(fitted),
        "n_baseline": int(fitted["in_baseline"].sum()),
        "chi2_per_dof": float(fitted["chi2"].sum() / fitted["dof"].sum()) if len(fitted) else None,
        "n_stars": len(stars),
        "n_constant_stars": len(constant),
        "stars_rms_mmag": _median(constant, "rms_mmag"),
        "stars_expected_rms_mmag": _median(constant, "expected_rms_mmag"),
        "shift_arcsec": curve.shift_arcsec.tolist(),
        "shift_error_arcsec": np.sqrt(np.diagonal(curve.shift_covariance)).tolist(),
        "zero_point": zero_point._asdict(),
    }
    return _without_nan(record)


def _median(table: pd.DataFrame, name: str) -> float | None:
    return float(table[name].median()) if len(table) else None


def _without_nan(record: Any) -> Any:
    """None for numbers that are not known: JSON has no NaN."""
    if isinstance(record, Mapping):
        return {key: _without_nan(value) for key, value in record.items()}
    if isinstance(record, list):
        return [_without_nan(value) for value in record]
    return None if isinstance(record, float) and not np.isfinite(record) else record
