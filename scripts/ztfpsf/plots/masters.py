"""Master frames of a night on the focal plane, and what changed since an earlier night."""

from typing import NamedTuple

from matplotlib.figure import Figure

from ztfpsf.calibration.binned import Binned, subtract
from ztfpsf.plots.focal_plane import (
    PANEL_IN,
    Map,
    draw_difference,
    draw_map,
    draw_mosaic,
    make_mosaic,
)
from ztfpsf.plots.style import hide_ticks, make_figure

UNITS = {"bias": "ADU", "flat": "relative response"}
MAPS = {
    "bias": (
        Map("overscan_adu", "bias level: overscan (ADU)"),
        Map("read_noise_electron", "read noise (electron)"),
    ),
    "flat": (
        Map("median", "flat response, median"),
        Map("rms", "flat response, rms over the quadrant"),
    ),
}


class Night(NamedTuple):
    """Masters of one kind and filter, and their night or period."""

    name: str
    binned: Binned


def draw_masters(night: Night, earlier: Night | None, kind: str, title: str) -> Figure:
    """Four panels: the masters, their difference from those of an earlier night, two maps."""
    figure = make_figure(2 * PANEL_IN + 0.3)
    figure.suptitle(title, fontsize=9)
    panels = figure.subplots(2, 2).ravel()
    quadrants = night.binned.quadrants
    mosaic = make_mosaic(quadrants, night.binned.pixels)
    draw_mosaic(panels[0], mosaic, f"{kind} ({UNITS[kind]})")
    if earlier is None:
        hide_ticks(panels[1])
        panels[1].text(0.5, 0.5, "no earlier night", ha="center", va="center")
    else:
        mosaic = make_mosaic(quadrants, subtract(night.binned, earlier.binned).pixels)
        draw_difference(panels[1], mosaic, f"{kind} − that of {earlier.name} ({UNITS[kind]})")
    for axes, one in zip(panels[2:], MAPS[kind], strict=True):
        draw_map(axes, quadrants, one)
    return figure
