"""Maps of the focal plane (ztfpsf.focal_plane) as ztfimg shows it, North up and East right."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ztfpsf.calibration.orientation import stored_to_sky
from ztfpsf.focal_plane import CCDS, GAP_PX, QUADRANTS, SHAPE, quadrant_offset_px
from ztfpsf.plots.style import COUNTS, GREY, MASKED, RESIDUALS, make_figure, round_up

PANEL_IN = 3.4
# Of the map, in units of a quadrant.
WIDTH, HEIGHT = 8 + 3 * GAP_PX[0] / SHAPE[1], 8 + 3 * GAP_PX[1] / SHAPE[0]


class Map(NamedTuple):
    """What one panel shows."""

    column: str  # WHISKERS: the columns g1 and g2
    title: str  # with the unit


WHISKERS = "whiskers"


def find_corner(ccdid: int, qid: int) -> tuple[float, float]:
    """Lower left corner of a quadrant on the map, in units of a quadrant."""
    east, north = quadrant_offset_px(ccdid, qid)
    return east / SHAPE[1] + (WIDTH - 1) / 2, north / SHAPE[0] + (HEIGHT - 1) / 2


def draw_maps(values: pd.DataFrame, maps: Sequence[Map], title: str) -> Figure:
    """A panel for each map. `values`: a row per quadrant, with ccdid, qid and what is mapped."""
    n_rows = -(-len(maps) // 2)
    figure = make_figure(PANEL_IN * n_rows + 0.3)
    figure.suptitle(title, fontsize=9)
    panels = figure.subplots(n_rows, 2, squeeze=False).ravel()
    for axes, one in zip(panels, maps, strict=False):
        draw = draw_whiskers if one.column == WHISKERS else draw_map
        draw(axes, values, one)
    for axes in panels[len(maps) :]:
        axes.remove()
    return figure


def draw_map(axes: Axes, values: pd.DataFrame, one: Map) -> None:
    """One number of every quadrant in colour; grey where there is none."""
    axes.set_title(one.title)
    known = values.set_index(["ccdid", "qid"])[one.column]
    norm, colours = find_norm(known.to_numpy(float)), colormaps[COUNTS]
    for ccdid in CCDS:
        for qid in QUADRANTS:
            value = known.get((ccdid, qid), np.nan)
            face = colours(norm(value)) if np.isfinite(value) else MASKED
            box = Rectangle(find_corner(ccdid, qid), 1, 1, facecolor=face, linewidth=0)
            axes.add_patch(box)
    _frame(axes)
    bar = axes.figure.colorbar(ScalarMappable(norm, colours), ax=axes, shrink=0.8)
    bar.ax.tick_params(labelsize=7)


def find_norm(values: np.ndarray) -> Normalize:
    """From the 2nd to the 98th percentile."""
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, [2, 98]) if len(values) else (0.0, 1.0)
    return Normalize(low, high if high > low else low + 1.0)


def find_symmetric_norm(values: np.ndarray) -> Normalize:
    """To the 98th percentile on both sides of zero."""
    values = np.abs(values[np.isfinite(values)])
    limit = float(np.percentile(values, 98)) if len(values) else 0.0
    return Normalize(-limit, limit) if limit > 0 else Normalize(-1.0, 1.0)


def draw_whiskers(axes: Axes, values: pd.DataFrame, one: Map) -> None:
    """Ellipticity of every quadrant as a whisker along the elongation, columns g1 and g2.

    Turning the stored pixels by 180 degrees leaves an ellipticity as it is.
    """
    axes.set_title(one.title)
    for ccdid in CCDS:
        for qid in QUADRANTS:
            box = Rectangle(find_corner(ccdid, qid), 1, 1, facecolor="#EEEEEE", linewidth=0)
            axes.add_patch(box)
    _frame(axes)
    values = values[values["g1"].notna()]
    size = np.hypot(values["g1"], values["g2"]).to_numpy()
    if not len(size):
        return
    angle = 0.5 * np.arctan2(values["g2"], values["g1"]).to_numpy()
    corners = [find_corner(*key) for key in zip(values["ccdid"], values["qid"], strict=True)]
    x, y = np.array(corners).T + 0.5
    unit = round_up(float(np.quantile(size, 0.9)))
    arrow: dict[str, Any] = {
        "headwidth": 0, "headlength": 0, "headaxislength": 0, "pivot": "middle", "width": 0.008,
        "angles": "xy", "scale_units": "xy", "scale": unit, "color": "black",
    }  # fmt: skip
    whiskers = axes.quiver(x, y, size * np.cos(angle), size * np.sin(angle), **arrow)
    axes.quiverkey(whiskers, 0.8, 0.02, unit, f"{100 * unit:g} %", labelpos="W")


def make_mosaic(quadrants: pd.DataFrame, pixels: np.ndarray) -> np.ndarray:
    """Binned quadrants (n, ny, nx) on the focal plane, North up in `origin="lower"`; NaN: gaps.

    `quadrants`: their ccdid and qid.
    """
    ny, nx = pixels.shape[1:]
    mosaic = np.full((round(HEIGHT * ny), round(WIDTH * nx)), np.nan, np.float32)
    for ccdid, qid, plane in zip(quadrants["ccdid"], quadrants["qid"], pixels, strict=True):
        x, y = find_corner(ccdid, qid)
        row, column = round(y * ny), round(x * nx)
        mosaic[row : row + ny, column : column + nx] = stored_to_sky(plane)
    return mosaic


def draw_mosaic(axes: Axes, mosaic: np.ndarray, title: str) -> None:
    """The pixels of the focal plane; gaps and what is missing are grey."""
    _draw_pixels(axes, mosaic, title, COUNTS, find_norm(mosaic))


def draw_difference(axes: Axes, mosaic: np.ndarray, title: str) -> None:
    """The same in colours that diverge from zero."""
    _draw_pixels(axes, mosaic, title, RESIDUALS, find_symmetric_norm(mosaic))


def _draw_pixels(axes: Axes, mosaic: np.ndarray, title: str, name: str, norm: Normalize) -> None:
    axes.set_title(title)
    colours = colormaps[name].with_extremes(bad=MASKED)
    image = axes.imshow(mosaic, cmap=colours, norm=norm, extent=(0, WIDTH, 0, HEIGHT))
    _frame(axes)
    axes.figure.colorbar(image, ax=axes, shrink=0.8).ax.tick_params(labelsize=7)


def _frame(axes: Axes) -> None:
    """Outlines and numbers of the CCDs, and the compass."""
    for ccdid in CCDS:
        x, y = find_corner(ccdid, 3)
        axes.add_patch(Rectangle((x, y), 2, 2, fill=False, edgecolor=GREY, linewidth=0.5))
        axes.text(x + 1, y + 2.02, f"{ccdid}", ha="center", va="bottom", fontsize=5, color=GREY)
    axes.set(xlim=(-0.1, WIDTH + 0.1), ylim=(-0.95, HEIGHT + 0.3), aspect="equal")
    axes.set_axis_off()
    style: dict[str, Any] = {
        "arrowprops": {"arrowstyle": "<-", "color": GREY, "linewidth": 0.7},
        "fontsize": 6,
    }
    for words, dx, dy in (("N", 0.0, 0.6), ("E", 0.6, 0.0)):
        axes.annotate(
            words, (0.0, -0.8), (dx, dy - 0.8), color=GREY, ha="center", va="center", **style
        )
