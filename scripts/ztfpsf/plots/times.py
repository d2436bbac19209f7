"""Seconds of a fit against the number of stars, one curve per optimiser and device."""

import pandas as pd
from matplotlib.figure import Figure

from ztfpsf.plots.style import CYCLE, MARKERS, make_figure

LINES = {"cpu": "-", "gpu": "--"}


def draw_times(times: pd.DataFrame, title: str) -> Figure:
    """`times`: rows of ztfpsf.psf.running.timing.Timing; those without a time are left out."""
    figure = make_figure(3.4)
    axes = figure.subplots()
    axes.set_title(title, loc="left")
    names = list(dict.fromkeys(times["optimiser"]))
    for (name, device), curve in times.dropna(subset="seconds").groupby(
        ["optimiser", "device"], sort=False
    ):
        look = names.index(name) % len(CYCLE)
        axes.plot(
            curve["n_stars"],
            curve["seconds"],
            label=f"{name}, {device.upper()}",
            color=CYCLE[look],
            marker=MARKERS[look % len(MARKERS)],
            linestyle=LINES[device],
        )
    axes.set(xscale="log", yscale="log", xlabel="number of stars", ylabel="time of one fit (s)")
    axes.legend()
    return figure
