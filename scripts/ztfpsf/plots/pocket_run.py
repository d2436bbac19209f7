"""What the pockets of a run hold: on the focal plane and against time."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from ztfpsf.plots.focal_plane import Map, draw_map
from ztfpsf.plots.style import CYCLE, MARKERS, make_figure, make_text_figure

HEIGHT_IN = 3.6
CAPACITY = "pocket_capacity_adu"
MOST_NAMED = 8  # quadrants with a label of their own


def draw_capacities(images: pd.DataFrame, title: str) -> Figure:
    """`images`: the table of overview.images."""
    known = images[images[CAPACITY].notna()]
    if known.empty:
        return make_text_figure(f"{title}: the law of no pocket was measured.")
    figure = make_figure(HEIGHT_IN)
    figure.suptitle(title, fontsize=9)
    left, right = figure.subplots(1, 2)
    quadrants = known.groupby(["ccdid", "qid"])[[CAPACITY]].median().reset_index()
    draw_map(left, quadrants, Map(CAPACITY, "capacity of the pocket (ADU)"))
    _draw_times(right, known)
    return figure


def _draw_times(axes: Axes, known: pd.DataFrame) -> None:
    """A line for each quadrant."""
    quadrants = known.groupby(["ccdid", "qid"])
    for number, ((ccdid, qid), mine) in enumerate(quadrants):
        mine = mine.sort_values("start")
        error = mine["pocket_capacity_error_adu"].astype(float)
        axes.errorbar(
            date2num(mine["start"]), mine[CAPACITY], error,
            color=CYCLE[number % len(CYCLE)], marker=MARKERS[number % len(MARKERS)], ms=3,
            linewidth=0.7, label=f"c{ccdid:02d} q{qid}",
        )  # fmt: skip
    if quadrants.ngroups <= MOST_NAMED:
        axes.legend()
    locator = AutoDateLocator(minticks=2, maxticks=5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    low, high = np.nanmin(known[CAPACITY]), np.nanmax(known[CAPACITY])
    margin = max(0.15 * (high - low), 5.0)
    axes.set(xlabel="UT", ylabel="capacity (ADU)", ylim=(low - margin, high + margin))
