"""The validation of a fit in one picture. Everything drawn is in the tables of the rule."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ztfpsf.plots.style import (
    BLUE,
    CYCLE,
    GREY,
    MARKERS,
    RED,
    make_figure,
    make_text_figure,
    plain,
    shorten,
)
from ztfpsf.plots.validation_stars import (
    draw_chi2_panel,
    draw_ellipticity_panel,
    draw_field_panel,
    draw_size_panel,
    say,
)
from ztfpsf.quality import magnitude_bins
from ztfpsf.validation.image import ValidationSettings, measurable
from ztfpsf.validation.report import count_verdicts

HEIGHT_IN, TITLE_LETTERS, MOST_REASONS = 5.2, 110, 3


def draw_validation(
    stars: pd.DataFrame,
    images: pd.DataFrame,
    rho: pd.DataFrame,
    settings: ValidationSettings,
    title: str,
) -> Figure:
    """Six panels of the reserved stars of a unit's images, of bad ones only if all are bad.

    `stars`, `images`, `rho`: the tables of the rule validate_psf.
    """
    lines = describe(images, title)
    images, stars, rho = select_shown(images, stars, rho)
    reserved = stars[stars["is_reserved"]]
    if reserved.empty:
        return make_text_figure("\n".join([*lines, "No reserved star was measured."]))
    figure = make_figure(HEIGHT_IN + 0.14 * (len(lines) - 2))
    figure.suptitle(plain("\n".join(lines)), fontsize=8, x=0.01, ha="left")
    shown = measurable(reserved, settings)
    panels = figure.subplots(2, 3).ravel()
    draw_chi2_panel(panels[0], reserved)
    draw_size_panel(panels[1], shown)
    draw_ellipticity_panel(panels[2], shown)
    draw_field_panel(panels[3], shown)
    draw_rho_panel(panels[4], rho, len(shown), settings.min_stars_rho)
    draw_photometry_panel(panels[5], images, settings.aperture_diameters_px)
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


def draw_rho_panel(axes: Axes, rho: pd.DataFrame, n_stars: int, min_stars: int) -> None:
    """|rho| against separation, open symbols where it is negative; means over the images."""
    axes.set(title="$\\rho$ statistics", xlabel="separation (px)")
    if rho.empty:
        say(axes, f"{n_stars} reserved stars; {min_stars} of an image are needed")
        return
    axes.set(xscale="log", yscale="log", ylabel="$|\\rho|$")
    # Bins from the widest separation on: an image may have no pair in the narrowest one.
    bins = rho.groupby("image").cumcount(ascending=False)
    mean = rho.groupby(bins)[[name for name in rho if name != "image"]].mean()
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
        say(axes, "no reserved star to measure")
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
