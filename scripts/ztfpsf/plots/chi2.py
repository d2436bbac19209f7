"""Quality of the fit against magnitude."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from ztfpsf.plots.style import BLUE, GREY, RED, make_figure
from ztfpsf.quality import format_chi2, magnitude_bins, usable

WIDTH_IN, HEIGHT_IN = 4.6, 3.7
FONTSIZE = 5.5  # of the medians: thousands of stars in each of seven bins have room
# Column of the star table, name, colour, marker, its area, height of the numbers in the axes
KINDS = (
    ("is_fitted", "fitted", BLUE, "o", 5, 0.02),
    ("is_reserved", "reserved", RED, "D", 9, 0.065),
)


def draw_chi2(stars: pd.DataFrame, title: str) -> Figure:
    """Core chi2 of fitted, reserved and rejected stars, with the medians of each magnitude bin.

    `stars`: measured rows of the fit's star table, pooled over the images.
    """
    good = usable(stars)
    figure = make_figure(HEIGHT_IN, WIDTH_IN)
    axes = figure.add_subplot()
    axes.set_yscale("log")
    axes.axhline(1.0, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    for column, name, colour, marker, area, _ in KINDS:
        _scatter(axes, good[good[column]], name, color=colour, marker=marker, s=area, linewidths=0)
    rejected = stars[stars["status"] != "ok"]
    if len(rejected):
        _scatter(axes, rejected, "rejected", color=GREY, marker="x", s=9, linewidths=0.8)
    medians = find_medians(good)
    _draw_medians(axes, medians)
    _label_medians(axes, medians)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(
        xlabel="magnitude (mag)",
        ylabel="core $\\chi^2$ (mean of (residual / $\\sigma)^2$ within 4 px)",
        xlim=(medians["low"].min() - 0.05, medians["low"].max() + 1.05),
    )
    # Above the axes: no corner is free of stars in every image.
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 0.99), ncols=3)
    axes.set_title(title, pad=32)
    return figure


def find_medians(stars: pd.DataFrame) -> pd.DataFrame:
    """Median core chi2 and number of stars of each bin, columns low, kind, n, core_chi2."""
    rows = []
    for one in magnitude_bins(stars["mag"]):
        for column, name, *_ in KINDS:
            mine = stars.loc[one.holds(stars["mag"]) & stars[column], "core_chi2"]
            median = float(mine.median()) if len(mine) else np.nan
            rows.append({"low": one.low, "kind": name, "n": len(mine), "core_chi2": median})
    return pd.DataFrame(rows)


def _scatter(axes: Axes, stars: pd.DataFrame, name: str, **look: Any) -> None:
    # Thousands of points: an image inside a vector file.
    label = f"{name} ({len(stars)})"
    axes.scatter(stars["mag"], stars["core_chi2"], label=label, alpha=0.45, rasterized=True, **look)


def _draw_medians(axes: Axes, medians: pd.DataFrame) -> None:
    for shift, (_, name, colour, marker, *_) in zip((-0.08, 0.08), KINDS, strict=True):
        mine = medians[medians["kind"] == name]
        axes.plot(
            mine["low"] + 0.5 + shift,
            mine["core_chi2"],
            linestyle="none",
            marker=marker,
            markersize=6.5,
            color=colour,
            markeredgecolor="black",
            markeredgewidth=0.9,
            label=f"median (stars), {name}",
            zorder=4,
        )


def _label_medians(axes: Axes, medians: pd.DataFrame) -> None:
    """Medians and numbers of stars of each bin, in a strip below the points."""
    bottom, top = axes.get_ylim()
    bottom, top = min(bottom, 0.5), max(top, 10.0)
    axes.set_ylim(bottom * (bottom / top) ** 0.13, top)
    for _, name, colour, *_, height in KINDS:
        for row in medians[(medians["kind"] == name) & (medians["n"] > 0)].itertuples():
            axes.text(
                row.low + 0.5,
                height,
                f"{format_chi2(row.core_chi2)} ({row.n})",
                transform=axes.get_xaxis_transform(),
                color=colour,
                ha="center",
                fontsize=FONTSIZE,
            )
