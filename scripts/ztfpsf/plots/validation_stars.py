"""The panels of the validation that show stars: chi2, size and ellipticity."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from ztfpsf.plots.style import BLUE, GREEN, GREY, RED, round_up
from ztfpsf.quality import format_chi2, magnitude_bins
from ztfpsf.validation.image import find_residuals

CELLS = 6  # of the field, along each axis, whose mean ellipticities are drawn
BINS_PER_MAG = 2


def say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, textwrap.fill(text, 26), ha="center", va="center", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])


def _bin_magnitudes(stars: pd.DataFrame) -> list[tuple[float, pd.DataFrame]]:
    """Middles of the magnitude bins and their stars."""
    steps = np.floor(stars["mag"] * BINS_PER_MAG)
    return [((step + 0.5) / BINS_PER_MAG, mine) for step, mine in stars.groupby(steps)]


def draw_chi2_panel(axes: Axes, stars: pd.DataFrame) -> None:
    """Core chi2 and chi2/dof of the stamp against magnitude, with the medians of core chi2."""
    axes.set(title="$\\chi^2$ of reserved stars", xlabel="magnitude (mag)")
    axes.set_yscale("log")
    axes.axhline(1.0, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    for column, name, colour, area in (
        ("core_chi2", "core (4 px)", RED, 9),
        ("chi2_per_dof", "stamp", BLUE, 5),
    ):
        axes.scatter(
            stars["mag"], stars[column], s=area, color=colour, alpha=0.4, linewidths=0,
            label=name, rasterized=True,
        )  # fmt: skip
    bins = magnitude_bins(stars["mag"])
    for one in bins:
        median = stars.loc[one.holds(stars["mag"]), "core_chi2"].median()
        if np.isfinite(median):
            axes.plot(one.low + 0.5, median, "D", color=RED, markeredgecolor="black", markersize=6)
            axes.annotate(
                format_chi2(median), (one.low + 0.5, median), xytext=(0, 6), ha="center",
                textcoords="offset points", fontsize=7,
            )  # fmt: skip
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("$\\chi^2$ per degree of freedom")
    axes.legend(loc="upper right", handletextpad=0.2)


def draw_size_panel(axes: Axes, stars: pd.DataFrame) -> None:
    """Size residual against magnitude."""
    axes.set(title="size, star − model", xlabel="magnitude (mag)", ylabel="$\\delta T/T$ (%)")
    _draw_residuals(axes, stars, [("size", stars["size_residual"], 100.0, RED, "D", "mean")])


def draw_ellipticity_panel(axes: Axes, stars: pd.DataFrame) -> None:
    """Ellipticity residual against magnitude."""
    axes.set(title="ellipticity, star − model", xlabel="magnitude (mag)", ylabel="$\\delta g$ (%)")
    kinds = [
        (
            name,
            stars[name] - stars[f"{name}_model"],
            100.0,
            colour,
            marker,
            f"${name[0]}_{name[1]}$",
        )
        for name, colour, marker in (("g1", BLUE, "o"), ("g2", GREEN, "s"))
    ]
    _draw_residuals(axes, stars, kinds)


def _draw_residuals(axes: Axes, stars: pd.DataFrame, kinds: Sequence[tuple]) -> None:
    """Stars as dots, robust means of bins of magnitude as symbols with errors."""
    if stars.empty:
        say(axes, "no reserved star has adaptive moments")
        return
    axes.axhline(0.0, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    limit = 0.0
    for shift, (name, values, scale, colour, marker, label) in enumerate(kinds):
        axes.scatter(
            stars["mag"],
            scale * values,
            s=5,
            color=colour,
            alpha=0.3,
            linewidths=0,
            rasterized=True,
        )
        rows = [
            (middle + 0.06 * shift, found.value, found.error)
            for middle, mine in _bin_magnitudes(stars)
            if np.isfinite((found := find_residuals(mine)[f"{name}_residual"]).value)
        ]
        middle, value, error = np.array(rows).reshape(-1, 3).T
        axes.errorbar(
            middle, scale * value, scale * error, fmt=marker, color=colour, label=label,
            markeredgecolor="black", markeredgewidth=0.6, elinewidth=1.0, zorder=3,
        )  # fmt: skip
        limit = max(limit, 1.2 * float(np.percentile(np.abs(scale * values), 95)))
    axes.set_ylim(-limit, limit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper left")


def draw_field_panel(axes: Axes, stars: pd.DataFrame) -> None:
    """Mean ellipticity residual in cells of the field, as whiskers along the elongation."""
    axes.set(title="ellipticity over the field", xlabel="x (px)", ylabel="y (px)")
    if stars.empty:
        say(axes, "no reserved star has adaptive moments")
        return
    x, y = stars["x_px"].to_numpy(), stars["y_px"].to_numpy()
    side = max(x.max(), y.max()) / CELLS
    cells = stars.groupby([np.floor(x / side), np.floor(y / side)])
    mean = cells[["x_px", "y_px", "g1", "g2", "g1_model", "g2_model"]].mean()
    d1, d2 = mean["g1"] - mean["g1_model"], mean["g2"] - mean["g2_model"]
    size, angle = np.hypot(d1, d2), 0.5 * np.arctan2(d2, d1)
    # The longest whiskers fill a cell.
    unit = round_up(float(size.quantile(0.9)))
    arrow = {
        "headwidth": 0, "headlength": 0, "headaxislength": 0, "pivot": "middle", "width": 0.011,
        "angles": "xy", "scale_units": "xy", "scale": unit / (0.9 * side), "color": BLUE,
    }  # fmt: skip
    whiskers = axes.quiver(
        mean["x_px"], mean["y_px"], size * np.cos(angle), size * np.sin(angle), **arrow
    )
    # Room for the key above the cells.
    width, height = (-0.3 * side, (CELLS + 0.3) * side), (-0.3 * side, (CELLS + 0.8) * side)
    axes.set(xlim=width, ylim=height, aspect="equal")
    label = f"{100 * unit:g} %"
    axes.quiverkey(whiskers, 0.85, 0.945, unit, label, labelpos="W", coordinates="axes")
