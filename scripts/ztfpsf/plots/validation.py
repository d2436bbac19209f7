"""The validation of a fit in one picture. Everything drawn is in the tables of the rule."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from ztfpsf.plots.style import (
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    MARKERS,
    RED,
    make_figure,
    round_up,
    shorten,
)
from ztfpsf.quality import format_chi2, magnitude_bins
from ztfpsf.validation.image import Settings, find_residuals, measurable
from ztfpsf.validation.report import count_verdicts

HEIGHT_IN, TITLE_LETTERS, MOST_REASONS = 5.2, 125, 3
CELLS = 6  # of the field, along each axis, whose mean shapes are drawn
BINS_PER_MAG = 2


def draw_validation(
    stars: pd.DataFrame, images: pd.DataFrame, rho: pd.DataFrame, settings: Settings, title: str
) -> Figure:
    """Six panels of the reserved stars of a unit's images, of bad ones only if all are bad.

    `stars`, `images`, `rho`: the tables of the rule validate_psf.
    """
    lines = describe(images, title)
    images, stars, rho = select_shown(images, stars, rho)
    figure = make_figure(HEIGHT_IN + 0.14 * (len(lines) - 2))
    figure.suptitle("\n".join(lines), fontsize=8, x=0.01, ha="left")
    reserved = stars[stars["is_reserved"]]
    shown = measurable(reserved, settings)
    panels = figure.subplots(2, 3).ravel()
    draw_chi2_panel(panels[0], reserved)
    draw_size_panel(panels[1], shown)
    draw_shape_panel(panels[2], shown)
    draw_field_panel(panels[3], shown)
    draw_rho_panel(panels[4], rho, len(shown), settings.min_stars_rho)
    draw_photometry_panel(panels[5], images, settings.aperture_diameters_px)
    if len(reserved):
        bins = magnitude_bins(reserved["mag"])
        for panel in panels[:3]:
            panel.set_xlim(bins[0].low - 0.1, bins[-1].low + 1.1)
    return figure


def describe(images: pd.DataFrame, title: str) -> list[str]:
    """Lines of the title: what, and the verdict with its reason."""
    lines = [title]
    if len(images) == 1:
        row = images.iloc[0]
        lines += textwrap.wrap(f"{row['verdict']}: {row['reason']}", TITLE_LETTERS)
        return lines
    lines.append(count_verdicts(images))
    bad = images[images["verdict"] == "bad"]
    if 0 < len(bad) < len(images):
        lines[-1] += f"; shown: the {len(images) - len(bad)} that are not bad"
    for _, row in bad.head(MOST_REASONS).iterrows():
        text = f"{shorten(row['image'])} bad: {row['reason']}"
        lines.append(textwrap.shorten(text, TITLE_LETTERS, placeholder=" ..."))
    return lines


def select_shown(images: pd.DataFrame, *tables: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """The images that are not bad, if there are some, and the rows of tables that are theirs."""
    shown = images[images["verdict"] != "bad"]
    shown = shown if len(shown) else images
    return (shown, *(table[table["image"].isin(shown["image"])] for table in tables))


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, textwrap.fill(text, 26), ha="center", va="center", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])


def _bin_magnitudes(stars: pd.DataFrame) -> list[tuple[float, pd.DataFrame]]:
    """Middles of the magnitude bins and their stars."""
    steps = np.floor(stars["mag"] * BINS_PER_MAG)
    return [((step + 0.5) / BINS_PER_MAG, mine) for step, mine in stars.groupby(steps)]


def draw_chi2_panel(axes: Axes, stars: pd.DataFrame) -> None:
    """Core chi2 and chi2/dof of the stamp against magnitude, with the medians of core chi2."""
    axes.set(title="chi2 of reserved stars", xlabel="magnitude (mag)")
    if stars.empty:
        _say(axes, "no reserved star")
        return
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
                format_chi2(median), (one.low + 0.5, median), xytext=(6, 4),
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


def draw_shape_panel(axes: Axes, stars: pd.DataFrame) -> None:
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
        _say(axes, "no reserved star has adaptive moments")
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
        _say(axes, "no reserved star has adaptive moments")
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
    axes.set(xlim=(0, CELLS * side), ylim=(0, (CELLS + 0.8) * side), aspect="equal")
    label = f"{100 * unit:g} %"
    axes.quiverkey(whiskers, 0.85, 0.945, unit, label, labelpos="W", coordinates="axes")


def draw_rho_panel(axes: Axes, rho: pd.DataFrame, n_stars: int, min_stars: int) -> None:
    """|rho| against separation, open symbols where it is negative; means over the images."""
    axes.set(title="$\\rho$ statistics", xlabel="separation (px)")
    if rho.empty:
        _say(axes, f"{n_stars} reserved stars; {min_stars} of an image are needed")
        return
    axes.set(xscale="log", yscale="log", ylabel="$|\\rho|$")
    steps = np.round(2.0 * np.log(rho["separation_px"]))
    mean = rho.groupby(steps)[[name for name in rho if name != "image"]].mean()
    for number, colour, marker in zip(range(1, 6), CYCLE, MARKERS, strict=False):
        values, x = mean[f"rho{number}"], mean["separation_px"]
        axes.plot(x, values.abs(), color=colour, linewidth=0.6)
        for sign, face in ((values > 0, colour), (values <= 0, "white")):
            axes.plot(
                x[sign], values[sign].abs(), marker, color=colour, markerfacecolor=face,
                label=f"$\\rho_{number}$" if face == colour else None,
            )  # fmt: skip
    axes.legend(loc="upper center", ncols=5, columnspacing=0.4, handletextpad=0.0, handlelength=1.4)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.15)


def draw_photometry_panel(axes: Axes, images: pd.DataFrame, diameters_px: Sequence[float]) -> None:
    """PSF minus aperture magnitudes against the PSF's own and IPAC's; medians of the images."""
    axes.set(
        title="PSF − aperture magnitude", xlabel="diameter of the aperture (px)", ylabel="mmag"
    )
    if not images["photometric_offset_mmag"].notna().any():
        _say(axes, "no reserved star to measure")
        return
    axes.axhspan(-5.0, 5.0, color="#00000012", linewidth=0)
    axes.axhline(0.0, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    diameters = np.asarray(diameters_px, float)
    for stem, colour, marker, label in (
        ("corrected", RED, "D", "light outside added"),
        ("minus_apcor", BLUE, "o", "minus APCOR and offset"),
    ):
        table = images[[f"{stem}_{diameter:g}px_mmag" for diameter in diameters]]
        known = table.notna().any().to_numpy()
        if not known.any():
            continue
        if len(images) > 1:
            axes.plot(diameters, table.T, color=colour, linewidth=0.4, alpha=0.5)
        median = table.loc[:, known].median()
        axes.plot(diameters[known], median, marker=marker, color=colour, linewidth=0.8, label=label)
    axes.set_xticks(diameters, [f"{diameter:g}" for diameter in diameters])
    low, high = axes.get_ylim()
    reach = max(-low, high)
    # Room for the legend.
    axes.set_ylim(-reach, 1.5 * reach)
    axes.legend(loc="upper left")
    offset = images["apcor_offset_mmag"].median()
    if np.isfinite(offset):
        text = f"offset from APCOR {offset:+.0f} mmag"
        axes.text(0.05, 0.04, text, fontsize=7, color=BLUE, transform=axes.transAxes)
