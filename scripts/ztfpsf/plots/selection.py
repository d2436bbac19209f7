"""What became of the stars of a run: kept, or rejected and why."""

import pandas as pd
from matplotlib.figure import Figure

from ztfpsf.plots.style import BLUE, GREY, make_figure, make_text_figure
from ztfpsf.stars.selection import REASONS

HEIGHT_IN = 2.6


def draw_selection(images: pd.DataFrame, title: str) -> Figure:
    """Stars per image, median and range of the images. `images`: table of overview.images."""
    columns = ["n_selected", *(f"n_rejected_{reason}" for reason in REASONS)]
    known = images[images["n_selected"].notna()][columns]
    if known.empty:
        return make_text_figure(f"{title}\nNo image has stars.")
    figure = make_figure(HEIGHT_IN)
    axes = figure.add_subplot()
    median, low, high = (known.quantile(part).to_numpy() for part in (0.5, 0.16, 0.84))
    places = range(len(columns))[::-1]
    axes.barh(
        places, median, color=[BLUE] + [GREY] * len(REASONS), xerr=[median - low, high - median],
        error_kw={"elinewidth": 0.8, "capsize": 2},
    )  # fmt: skip
    axes.set_yticks(places, ["kept", *REASONS])
    for place, value in zip(places, median, strict=True):
        axes.annotate(
            f"{value:.0f}", (1.0, place), (4, 0), ("axes fraction", "data"), "offset points",
            va="center", annotation_clip=False,
        )  # fmt: skip
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlabel(f"catalogue stars of an image (median of {len(known)}; bars: 16 % to 84 %)")
    axes.set_title(title, fontsize=9)
    return figure
