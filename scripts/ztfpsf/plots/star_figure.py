"""Four panels of one star: data, model, residual, and the data as a surface."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d import Axes3D

from ztfpsf.plots.choice import typical
from ztfpsf.plots.style import (
    COUNTS,
    MASKED,
    RED,
    RESIDUALS,
    make_figure,
    round_up,
    shorten,
)
from ztfpsf.psf.product.drawn import Drawn, draw
from ztfpsf.quality import format_chi2, magnitude_bins
from ztfpsf.stamps import Stamps

HEIGHT_IN = 5.9
SURFACE_PX = 15  # the wings beyond are flat at this scale


class Panel(NamedTuple):
    title: str
    pixels: np.ndarray
    colours: str
    norm: Normalize
    ticks: list[float] | None
    cross: str  # colour of the cross at the star's position


class View(NamedTuple):
    """Pixels of the star, background subtracted, and where they are in the image."""

    data: np.ndarray  # (S, S) ADU, NaN where masked
    model: np.ndarray
    residual: np.ndarray  # normalised
    noise: float  # ADU, of a pixel of sky
    x0: int  # column and row of pixel [0, 0]
    y0: int


def draw_star(stamps: Stamps, stars: pd.DataFrame, path_to_psf: str | Path, title: str) -> Figure:
    """A typical bright star, a reserved one if there is one. `stars`: usable rows of the fit."""
    drawn = draw(stamps, choose(stars), path_to_psf)
    star = drawn.stars.iloc[0]
    view = make_view(drawn)
    figure = make_figure(HEIGHT_IN)
    kind = "reserved" if star["is_reserved"] else "fitted"
    figure.suptitle(
        f"{title}\n{star['star_id']} ({shorten(star['image'])}), {star['mag']:.2f} mag, {kind}, "
        f"core $\\chi^2$ {format_chi2(star['core_chi2'])}",
        fontsize=9,
    )
    for place, panel in enumerate(make_panels(view), start=1):
        axes = figure.add_subplot(2, 2, place)
        _draw_panel(axes, panel, view)
        axes.plot(star["x_px"], star["y_px"], "+", color=panel.cross, ms=5, mew=0.6)
    _draw_surface(figure.add_subplot(2, 2, 4, projection="3d"), view)
    return figure


def choose(stars: pd.DataFrame) -> pd.DataFrame:
    """The star of median core chi2 in the brightest bin, of reserved stars if there are some."""
    reserved = stars[stars["is_reserved"]]
    candidates = reserved if len(reserved) else stars
    brightest = magnitude_bins(candidates["mag"])[0]
    return typical(candidates[brightest.holds(candidates["mag"])], 1)


def make_view(drawn: Drawn) -> View:
    """The first star of some."""
    star = drawn.stars.iloc[0]
    return View(
        drawn.data[0] - star["background_adu"],
        drawn.model[0] - star["background_adu"],
        drawn.normalised_residual[0],
        float(np.sqrt(np.median(drawn.variance[0]))),
        int(drawn.x0_px[0]),
        int(drawn.y0_px[0]),
    )


def make_panels(view: View) -> list[Panel]:
    """Data and model on one scale, and the residual."""
    top = float(max(view.model.max(), np.nanmax(view.data, initial=0.0)))
    counts = AsinhNorm(linear_width=3 * view.noise, vmin=-3 * view.noise, vmax=top)
    powers = np.arange(np.ceil(np.log10(3 * view.noise)), np.floor(np.log10(top)) + 1)
    ticks = [0.0, *(10.0**powers)]
    known = np.abs(view.residual[np.isfinite(view.residual)])
    limit = round_up(float(np.percentile(known, 99.5)) if len(known) else 1.0)
    sigmas = Normalize(-limit, limit)
    return [
        Panel("data − background (ADU)", view.data, COUNTS, counts, ticks, "white"),
        Panel("model − background (ADU)", view.model, COUNTS, counts, ticks, "white"),
        Panel("(data − model) / σ", view.residual, RESIDUALS, sigmas, None, "black"),
    ]


def _draw_panel(axes: Axes, panel: Panel, view: View) -> None:
    size = len(panel.pixels)
    left, low = view.x0 - 0.5, view.y0 - 0.5
    image = axes.imshow(
        panel.pixels,
        cmap=colormaps[panel.colours].with_extremes(bad=MASKED),
        norm=panel.norm,
        extent=(left, left + size, low, low + size),
    )
    axes.set(title=panel.title, xlabel="x (px)", ylabel="y (px)")
    axes.ticklabel_format(useOffset=False)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.9)
    if panel.ticks:
        bar.set_ticks(panel.ticks, labels=[f"{tick:g}" for tick in panel.ticks])
        bar.ax.minorticks_off()


def _draw_surface(axes: Axes3D, view: View) -> None:
    """The star's core with its contours on the floor and its outlines on the walls."""
    cut = max((len(view.data) - SURFACE_PX) // 2, 0)
    inner = slice(cut, len(view.data) - cut)
    data = np.where(np.isfinite(view.data), view.data, view.model)[inner, inner]
    size, top = len(data), data.max()
    left, back = view.x0 + cut - 0.5, view.y0 + cut + size - 0.5
    x, y = np.meshgrid(left + 0.5 + np.arange(size), back - size + 0.5 + np.arange(size))
    floor = -0.5 * top
    axes.plot_surface(
        x, y, data, cmap=COUNTS, rcount=size, ccount=size, linewidth=0.2, edgecolor="#00000050"
    )
    levels = top * np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.7])
    axes.contour(x, y, data, levels=levels, zdir="z", offset=floor, cmap=COUNTS, linewidths=0.9)
    axes.plot(np.full(size, left), y[:, 0], data.max(axis=1), color=RED)
    axes.plot(x[0], np.full(size, back), data.max(axis=0), color=RED)
    axes.set(
        xlim=(left, left + size),
        ylim=(back - size, back),
        zlim=(floor, top),
        title=f"data − background (ADU), central {size} px",
        xlabel="x (px)",
        ylabel="y (px)",
        zticks=[tick for tick in MaxNLocator(5).tick_values(0, top) if 0 <= tick <= top],
    )
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_box_aspect((1, 1, 0.85), zoom=0.95)
    axes.view_init(elev=22, azim=-55)
    axes.tick_params(labelsize=6.5, pad=-1)
