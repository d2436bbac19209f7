"""A light curve, its host, what is left over, and the stars around it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import NullFormatter

from ztfpsf.plots.style import (
    BLUE,
    COUNTS,
    GREY,
    ORANGE,
    RED,
    RESIDUALS,
    hide_ticks,
    make_figure,
    plain,
)

MAX_PULL = 5.0
# Columns against which pulls are drawn.
PULLS = {
    "mag": "magnitude of the star",
    "fwhm_px": "FWHM (px)",
    "airmass": "airmass",
    "host_adu": "host at the target (ADU)",
}


def draw_lightcurve(
    rows: pd.DataFrame,
    pictures: Mapping[str, np.ndarray],
    stars: pd.DataFrame,
    star_curves: pd.DataFrame,
    record: Mapping[str, Any],
) -> Figure:
    """Fluxes against time; host and residuals; scatter of the stars; pulls of stars and target."""
    figure = make_figure(7.5)
    title = f"{record['target']} in {rows['filtercode'].iloc[0]}: {record['verdict']}"
    figure.suptitle(plain(f"{title}, {record['reason']}"), fontsize=9, wrap=True)
    top, middle, bottom = split(figure, 3, 1)
    draw_fluxes(top.subplots(), rows)
    left, right = split(middle, 1, 2)
    draw_pictures(left, pictures)
    mean_mag = find_mean_mag(stars, record)
    draw_scatter(right.subplots(), stars, mean_mag)
    seen = star_curves.assign(
        pull=find_pulls(stars, star_curves), mag=mean_mag.reindex(star_curves["name"]).to_numpy()
    )
    mine = rows.assign(pull=rows["probe_flux_adu"] / rows["probe_flux_error_adu"])
    panels = bottom.subplots(1, 4, sharey=True)
    for axes, (name, label) in zip(panels, PULLS.items(), strict=True):
        draw_pulls(axes, seen, mine[mine["in_baseline"]], name)
        axes.set(xlabel=label)
    panels[0].set(ylabel="pull", ylim=(-MAX_PULL, MAX_PULL))
    return figure


def split(figure: Figure | SubFigure, n_rows: int, n_columns: int) -> list[SubFigure]:
    """Parts of a figure, rows first."""
    parts = figure.subfigures(n_rows, n_columns, squeeze=False)
    return [part for row in np.asarray(parts) for part in row]


def draw_fluxes(axes: Axes, rows: pd.DataFrame) -> None:
    """Fluxes between the dates, measured ones outside, and where there is none."""
    for is_in, colour, label in ((False, BLUE, "target"), (True, GREY, "no light of it")):
        some = rows[(rows["in_baseline"] == is_in) & np.isfinite(rows["probe_flux_adu"])]
        for is_flagged, marker in ((False, "o"), (True, "^")):
            part = some[(some["flags"] > 0) == is_flagged]
            if part.empty:
                continue
            axes.errorbar(
                part["mjd"],
                part["probe_flux_adu"],
                part["probe_flux_error_adu"],
                fmt=marker,
                ms=3,
                color=colour,
                lw=0.8,
                label=f"{label}{', flagged' if is_flagged else ''}",
            )
    lost = rows[~np.isfinite(rows["probe_flux_adu"])]
    if len(lost):
        axes.plot(lost["mjd"], np.zeros(len(lost)), "x", color=RED, label="not fitted")
    axes.axhline(0.0, color=GREY, lw=0.6)
    axes.set(xlabel="MJD (d)", ylabel="flux (ADU)")
    axes.legend()
    zero_point = rows["zero_point_mag"].iloc[0]
    if np.isfinite(zero_point):
        factor = 10.0 ** (0.4 * (23.9 - zero_point))
        axes.secondary_yaxis(
            "right", functions=(lambda flux: flux * factor, lambda flux: flux / factor)
        ).set_ylabel("flux (microjansky)")


def draw_pictures(figure: SubFigure, pictures: Mapping[str, np.ndarray]) -> None:
    """The host, and the sum of the residuals over the root of their number."""
    host, rest = figure.subplots(1, 2)
    top = np.nanmax(np.abs(pictures["RESIDUAL"]), initial=1.0)
    for axes, name, title, colours, limits in (
        (host, "GALAXY", "host (ADU a point)", COUNTS, (None, None)),
        (rest, "RESIDUAL", "residuals (sigma)", RESIDUALS, (-top, top)),
    ):
        picture = axes.imshow(pictures[name], cmap=colours, vmin=limits[0], vmax=limits[1])
        figure.colorbar(picture, ax=axes, location="bottom", shrink=0.9)
        axes.set_title(title)
        hide_ticks(axes)


def find_mean_mag(stars: pd.DataFrame, record: Mapping[str, Any]) -> pd.Series:
    """Magnitudes of the stars by name, instrumental ones without a zero point."""
    zero_point = record["zero_point"]["zero_point_mag"] or 0.0
    return zero_point - 2.5 * np.log10(stars.set_index("name")["mean_flux_adu"])


def draw_scatter(axes: Axes, stars: pd.DataFrame, mean_mag: pd.Series) -> None:
    """Scatter of the stars against their brightness, and what noise gives."""
    constant = stars["is_constant"].to_numpy(bool)
    for some, colour, label in ((constant, BLUE, "stars"), (~constant, RED, "variable")):
        if some.any():
            axes.plot(mean_mag[some], stars["rms_mmag"][some], "o", color=colour, ms=3, label=label)
    axes.plot(mean_mag, stars["expected_rms_mmag"], "_", color=ORANGE, label="of their errors")
    axes.set(xlabel="magnitude", ylabel="rms (mmag)", yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend()


def find_pulls(stars: pd.DataFrame, star_curves: pd.DataFrame) -> np.ndarray:
    """(flux - mean of the star) / error of each star and exposure."""
    mean = stars.set_index("name")["mean_flux_adu"].reindex(star_curves["name"])
    flux, error = (star_curves[f"flux{name}_adu"].to_numpy() for name in ("", "_error"))
    return (flux - mean.to_numpy(float)) / error


def draw_pulls(axes: Axes, stars: pd.DataFrame, target: pd.DataFrame, name: str) -> None:
    """Pulls of stars and of the target without light against one number."""
    if name in stars:
        axes.plot(stars[name], stars["pull"], ".", color=GREY, ms=1, rasterized=True)
    if name in target:
        axes.plot(target[name], target["pull"], "o", color=BLUE, ms=3)
    axes.axhline(0.0, color=GREY, lw=0.6)
