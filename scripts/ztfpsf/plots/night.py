"""A run against time: seeing, ellipticity, depth, stars and verdicts."""

from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from ztfpsf.overview.statuses import FAILED, name_verdicts
from ztfpsf.plots.style import BLUE, GREEN, GREY, ORANGE, RED, SKY, make_figure
from ztfpsf.validation.verdict import VERDICTS

HEIGHT_IN = 7.4
FILTERS = {"zg": (GREEN, "o"), "zr": (RED, "s"), "zi": (ORANGE, "^")}
COLOURS = {"good": BLUE, "usable": SKY, "bad": ORANGE, FAILED: GREY}
HATCHES = {"good": "", "usable": "", "bad": "//", FAILED: "xx"}
MOST_BARS = 60


class Panel(NamedTuple):
    column: str
    label: str


PANELS = (
    Panel("seeing_arcsec", "FWHM (arcsec)"),
    Panel("ellipticity", "ellipticity"),
    Panel("depth_mag", "depth, 5 $\\sigma$ (mag)"),
    Panel("n_fitted", "stars fitted"),
)


def draw_night(images: pd.DataFrame, title: str) -> Figure:
    """Five panels over the UT of the exposures. `images`: table of overview.images, not empty."""
    figure = make_figure(HEIGHT_IN)
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots(len(PANELS) + 1, 1, sharex=True)
    for one, panel in zip(axes, PANELS, strict=False):
        _draw_values(one, images, panel)
    if axes[0].get_legend_handles_labels()[0]:
        axes[0].legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.0)
    axes[2].invert_yaxis()
    _draw_verdicts(axes[-1], images)
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes[-1].set_xlabel("UT")
    figure.align_ylabels(axes)
    return figure


def _draw_values(axes: Axes, images: pd.DataFrame, panel: Panel) -> None:
    """Images as dots, medians of exposures of several images as symbols."""
    axes.set_ylabel(panel.label)
    for name, (colour, marker) in FILTERS.items():
        mine = images[(images["filtercode"] == name) & images[panel.column].notna()]
        if mine.empty:
            continue
        exposures = mine.groupby("start")[panel.column].agg(["median", "size"])
        axes.scatter(
            date2num(mine["start"]), mine[panel.column], s=4, color=colour, alpha=0.35,
            linewidths=0, rasterized=True,
        )  # fmt: skip
        axes.plot(
            date2num(exposures.index), exposures["median"], linestyle="none", marker=marker,
            color=colour, markeredgecolor="black", markeredgewidth=0.4, label=f"{name}, median",
        )  # fmt: skip


def _draw_verdicts(axes: Axes, images: pd.DataFrame) -> None:
    """Stacked numbers of images of each verdict, in bins of time."""
    verdicts = name_verdicts(images)
    time = date2num(images["start"])
    edges = bin_times(time)
    base = np.zeros(len(edges) - 1)
    for verdict in (*VERDICTS, FAILED):
        counts, _ = np.histogram(time[verdicts == verdict], edges)
        axes.bar(
            edges[:-1], counts, np.diff(edges), base, align="edge", color=COLOURS[verdict],
            hatch=HATCHES[verdict], edgecolor="white", linewidth=0.3,
            label=f"{verdict} ({counts.sum()})",
        )  # fmt: skip
        base += counts
    axes.set_ylabel("images")
    axes.set_ylim(0, 1.45 * base.max())
    axes.legend(loc="upper left", ncols=4, borderaxespad=0.3)


def bin_times(days: np.ndarray) -> np.ndarray:
    """Edges of at most MOST_BARS equal bins around all times, of one minute or more."""
    minute = timedelta(minutes=1) / timedelta(days=1)
    low, high = days.min() - minute, days.max() + minute
    n_bins = int(np.clip((high - low) / minute, 1, MOST_BARS))
    return np.linspace(low, high, n_bins + 1)
