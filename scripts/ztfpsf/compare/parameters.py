"""The table of parameters: one row per fit, as CSV and, turned round, as Markdown."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.compare.fits import Fit, Speed, group_by_model, measure_speeds
from ztfpsf.quality import Bin, format_chi2, magnitude_bins

HEADER = """\
# Parameters of {unit}

One column per fit. `x0` to `FWHM` are medians over the fitted stars, with the median error of one
star: `x0`, `y0` offset from the centre of the nearest pixel, `A` height of the profile before
integration over the pixel, `b` background, `sigma_x`, `sigma_y` widths along the image's axes.
`chi2`, `dof` and `EDM`, the decrease of chi2 still expected, are sums over the fitted stars. Core
chi2 is the mean squared residual in units of its sigma within 4 px of a star, 1 for noise alone:
its median over the reserved stars, which no fit saw. Seconds are without compilation; the time to
the minimum is until chi2 is within 0.1 % of the smallest one found with the model. Of several
images, seconds add up and the iterations are those of the slowest.

"""


CHI2 = "chi2"  # the format of ztfpsf.quality


class Quantity(NamedTuple):
    """A row of the Markdown table."""

    column: str
    label: str
    form: str


QUANTITIES = (
    Quantity("status", "status", "s"),
    Quantity("n_images", "images fitted", ".0f"),
    Quantity("n_stars", "stars fitted", ".0f"),
    Quantity("n_reserved", "stars reserved", ".0f"),
    Quantity("n_rejected", "stars rejected", ".0f"),
    Quantity("x0_px", "x0 (px)", ".4f"),
    Quantity("y0_px", "y0 (px)", ".4f"),
    Quantity("A_adu", "A (ADU/px²)", ".1f"),
    Quantity("b_adu", "b (ADU)", ".2f"),
    Quantity("alpha", "alpha", ".4f"),
    Quantity("gamma_px", "gamma (px)", ".4f"),
    Quantity("sigma_x_px", "sigma_x (px)", ".4f"),
    Quantity("sigma_y_px", "sigma_y (px)", ".4f"),
    Quantity("fwhm_px", "FWHM (px)", ".4f"),
    Quantity("chi2", "chi2", ".1f"),
    Quantity("dof", "dof", ".0f"),
    Quantity("chi2_per_dof", "chi2/dof", ".4f"),
    Quantity("edm", "EDM", ".2g"),
    Quantity("seconds", "seconds", ".3f"),
    Quantity("compile_seconds", "seconds of compilation", ".1f"),
    Quantity("iterations", "iterations", ".0f"),
    Quantity("seconds_to_minimum", "seconds to the minimum", ".3f"),
    Quantity("slowdown", "ratio to gauss_newton", ".1f"),
    Quantity("chi2_excess", "chi2 / smallest chi2 - 1", ".1e"),
)
# Column here: column of the star table
MEDIANS = {
    "x0_px": "x0_px",
    "x0_error_px": "x_error_px",
    "y0_px": "y0_px",
    "y0_error_px": "y_error_px",
    "A_adu": "amplitude",
    "b_adu": "background_adu",
    "b_error_adu": "background_error_adu",
    "alpha": "alpha",
    "alpha_error": "alpha_error",
    "gamma_px": "gamma_px",
    "gamma_error_px": "gamma_error_px",
    "sigma_x_px": "sigma_x_px",
    "sigma_y_px": "sigma_y_px",
    "fwhm_px": "fwhm_px",
    "fwhm_error_px": "fwhm_error_px",
}


def make_parameters(fits: Sequence[Fit]) -> pd.DataFrame:
    """One row per fit; what a model does not have, or a fit did not reach, is NaN."""
    speeds = {
        (fit.model, fit.optimiser): speed
        for group in group_by_model(fits).values()
        for fit, speed in zip(group, measure_speeds(group), strict=True)
    }
    bins = find_bins(fits)
    return pd.DataFrame([_make_row(fit, speeds[fit.model, fit.optimiser], bins) for fit in fits])


def _make_row(fit: Fit, speed: Speed, bins: Sequence[Bin]) -> dict:
    done = fit.done
    total = {
        name: done[name].sum() if len(done) else np.nan
        for name in ("n_fitted", "n_reserved", "n_rejected", "chi2", "dof", "edm")
    }
    return {
        "model": fit.model,
        "optimiser": fit.optimiser,
        "status": describe_status(fit),
        "n_images": len(done),
        "n_stars": total.pop("n_fitted"),
        **{name: total[name] for name in ("n_reserved", "n_rejected")},
        **_find_medians(fit),
        **{name: total[name] for name in ("chi2", "dof")},
        "chi2_per_dof": total["chi2"] / total["dof"] if total["dof"] else np.nan,
        "edm": total["edm"],
        **{column_of(one): core_chi2(fit, one) for one in bins},
        "seconds": done["seconds"].sum() if len(done) else np.nan,
        "compile_seconds": done["compile_seconds"].sum() if len(done) else np.nan,
        "iterations": done["iterations"].max() if len(done) else np.nan,
        "seconds_to_minimum": speed.seconds,
        "slowdown": speed.ratio,
        "chi2_excess": speed.excess,
    }


def describe_status(fit: Fit) -> str:
    """ok, or how many images did not converge or failed."""
    counts = {"not converged": len(fit.unconverged), "failed": len(fit.failed)}
    parts = [f"{n} {name}" for name, n in counts.items() if n]
    if not parts:
        return "ok"
    return parts[0][2:] if len(fit.images) == 1 else ", ".join(parts) + f" of {len(fit.images)}"


def _find_medians(fit: Fit) -> dict[str, float]:
    if not len(fit.done):
        return dict.fromkeys(MEDIANS, np.nan)
    stars = describe_stars(fit.stars[fit.stars["is_fitted"]])
    return {
        name: float(stars[column].median()) if column in stars else np.nan
        for name, column in MEDIANS.items()
    }


def describe_stars(stars: pd.DataFrame) -> pd.DataFrame:
    """Star table with the internship's parameters: x0_px, y0_px, amplitude, sigma_x_px, sigma_y_px.

    Moffat: A = flux (alpha - 1) / (pi gamma^2). Gaussian: A = flux / (2 pi sigma_major sigma_minor)
    and sigma_x^2, sigma_y^2 the diagonal of its covariance matrix.
    """
    offsets = {f"{x}0_px": stars[f"{x}_px"] - np.floor(stars[f"{x}_px"] + 0.5) for x in "xy"}
    stars = stars.assign(**offsets)
    if {"alpha", "gamma_px"} <= set(stars.columns):
        height = (stars["alpha"] - 1) / (np.pi * stars["gamma_px"] ** 2)
        return stars.assign(amplitude=stars["flux_adu"] * height)
    if {"sigma_major_px", "sigma_minor_px", "theta_deg"} <= set(stars.columns):
        major, minor = stars["sigma_major_px"], stars["sigma_minor_px"]
        cos, sin = (f(np.deg2rad(stars["theta_deg"])) for f in (np.cos, np.sin))
        return stars.assign(
            amplitude=stars["flux_adu"] / (2 * np.pi * major * minor),
            sigma_x_px=np.hypot(major * cos, minor * sin),
            sigma_y_px=np.hypot(major * sin, minor * cos),
        )
    return stars


def find_reserved(fit: Fit) -> pd.DataFrame:
    """Reserved stars that the fit did not reject."""
    if not len(fit.done):
        return pd.DataFrame({"mag": pd.Series(dtype=float), "core_chi2": pd.Series(dtype=float)})
    return fit.stars[fit.stars["is_reserved"] & (fit.stars["status"] == "ok")]


def find_bins(fits: Sequence[Fit]) -> list[Bin]:
    """Magnitude bins of the reserved stars of all fits."""
    return magnitude_bins(pd.concat([find_reserved(fit)["mag"] for fit in fits]))


def core_chi2(fit: Fit, one: Bin) -> float:
    """Median core chi2 of the reserved stars of a bin, NaN without a star."""
    reserved = find_reserved(fit)
    return float(reserved.loc[one.holds(reserved["mag"]), "core_chi2"].median())


def column_of(one: Bin) -> str:
    """Column of a bin's median core chi2."""
    return f"core_chi2_{one.low}_{one.low + 1}"


def to_csv(parameters: pd.DataFrame) -> str:
    """The table with whole numbers as such, also where a fit has none."""
    whole = ["n_images", "n_stars", "n_reserved", "n_rejected", "dof", "iterations"]
    return parameters.astype(dict.fromkeys(whole, "Int64")).to_csv(index=False)


def to_markdown(parameters: pd.DataFrame, bins: Sequence[Bin], unit: str) -> str:
    """The table turned round, one column per fit, with its explanation."""
    cores = [Quantity(column_of(one), f"core chi2, {one.label} mag", CHI2) for one in bins]
    place = [quantity.column for quantity in QUANTITIES].index("seconds")
    quantities = [*QUANTITIES[:place], *cores, *QUANTITIES[place:]]
    rows = parameters.to_dict("records")
    lines = [
        ["", *(f"{row['model']}, {row['optimiser']}" for row in rows)],
        *([q.label, *(format_value(row, q) for row in rows)] for q in quantities),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * width for width in widths]
    table = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in (lines[0], rule, *lines[1:])
    ]
    return HEADER.format(unit=unit) + "\n".join(table) + "\n"


def format_value(row: dict, quantity: Quantity) -> str:
    """A value with its error where there is one; empty where there is none."""
    value = row[quantity.column]
    if isinstance(value, str):
        return value
    if not np.isfinite(value):
        return ""
    stem, underscore, unit = quantity.column.rpartition("_")
    error = row.get(f"{stem}_error_{unit}" if underscore else f"{quantity.column}_error", np.nan)
    if quantity.form == CHI2:
        return format_chi2(value)
    text = f"{value:{quantity.form}}"
    return f"{text} ± {error:{quantity.form}}" if np.isfinite(error) else text
