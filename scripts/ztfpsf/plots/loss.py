"""Loss against iterations and seconds, one curve per optimiser."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ztfpsf.compare.fits import (
    NEAR_MINIMUM,
    Fit,
    find_common_images,
    find_smallest_losses,
    group_by_model,
    pool_history,
)
from ztfpsf.plots.style import CYCLE, GREY, MARKERS, make_figure, make_text_figure

ROW_HEIGHT_IN = 2.9
# Below it all fits are at the minimum: the tolerance of chi2 that decides on convergence.
FLOOR = 0.01
DECADE = 10.0  # shorter axes are linear: a logarithmic one would hardly have a number


def draw_loss(fits: Sequence[Fit], title: str) -> Figure:
    """A row of two panels for each model that several optimisers fitted, else for each model."""
    groups = {
        model: [fit for fit in group if len(fit.done)]
        for model, group in group_by_model(fits).items()
    }
    groups = {model: group for model, group in groups.items() if find_common_images(group)}
    several = {model: group for model, group in groups.items() if len(group) > 1}
    groups = several or groups
    if not groups:
        return make_text_figure(f"{title}\nNo image was fitted: nothing to show.")
    optimisers = list(dict.fromkeys(fit.optimiser for fit in fits))
    looks: dict[str, dict[str, Any]] = {
        name: {"color": CYCLE[i % len(CYCLE)], "marker": MARKERS[i % len(MARKERS)]}
        for i, name in enumerate(optimisers)
    }
    figure = make_figure(ROW_HEIGHT_IN * len(groups) + 0.25)
    figure.suptitle(title, fontsize=9)
    panels = figure.subplots(len(groups), 2, sharey="row", squeeze=False)
    for (left, right), (model, group) in zip(panels, groups.items(), strict=True):
        left.set_title(model, loc="left")
        _draw_group(left, right, group, looks)
    return figure


def _draw_group(
    left: Axes, right: Axes, group: Sequence[Fit], looks: Mapping[str, Mapping[str, Any]]
) -> None:
    images = find_common_images(group)
    smallest = 2.0 * find_smallest_losses(group).sum()
    for fit in group:
        curve = make_curve(pool_history(fit, images), smallest)
        later = curve[curve["seconds"] > 0]  # zero has no place on a logarithmic axis
        look = looks[fit.optimiser]
        for axes, some, x in (
            (left, curve, curve["iteration"] + 1),
            (right, later, later["seconds"]),
        ):
            axes.plot(x, some["excess"], label=fit.optimiser, markevery=0.06, **look)
            # Where it ended.
            axes.plot(x.iloc[-1:], some["excess"].iloc[-1:], markersize=6, **look)
    for axes in (left, right):
        low, high = axes.dataLim.intervalx
        axes.set(xscale="log" if high > DECADE * low else "linear", yscale="log")
        axes.axhline(NEAR_MINIMUM * smallest, color=GREY, linewidth=0.8, linestyle="--")
        axes.axhline(FLOOR, color=GREY, linewidth=0.8, linestyle=":")
    if left.get_xscale() == "linear":
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
    # Room for the note above the upper line.
    left.set_ylim(top=max(left.get_ylim()[1], 4.0 * NEAR_MINIMUM * smallest))
    left.set(xlabel="iteration + 1", ylabel="$\\chi^2$ − smallest $\\chi^2$")
    right.set_xlabel("time without compilation (s)")
    for y, note in ((NEAR_MINIMUM * smallest, "0.1 % of $\\chi^2$"), (FLOOR, "at the minimum")):
        left.annotate(
            note,
            (0, y),
            (4, 2),
            ("axes fraction", "data"),
            "offset points",
            fontsize=6.5,
            color=GREY,
        )
    # Above both panels, where no curve can be; its height is that of the title on the left.
    legend = right.legend(
        loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=len(group), borderaxespad=0.0
    )
    legend.set_in_layout(False)


def make_curve(history: pd.DataFrame, smallest: float) -> pd.DataFrame:
    """History with the column `excess` = chi2 - smallest chi2, never below FLOOR."""
    return history.assign(excess=np.maximum(2.0 * history["loss"] - smallest, FLOOR))
