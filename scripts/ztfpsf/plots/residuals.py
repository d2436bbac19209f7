"""Stars of each magnitude as data | model | residual, and the stack of the bright ones."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps, rcParams
from matplotlib.colorbar import Colorbar
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from ztfpsf.plots.choice import STACK_BINS, bright, of_each_bin
from ztfpsf.plots.style import (
    COUNTS,
    MASKED,
    RESIDUALS,
    round_up,
    shorten,
)
from ztfpsf.psf.product.drawn import Drawn, draw
from ztfpsf.quality import Bin, format_chi2, magnitude_bins
from ztfpsf.stamps import Stamps

# Measures of the page, inches
PANEL, GAP, TRIO_GAP, ROW_GAP = 0.70, 0.025, 0.16, 0.24
LEFT, RIGHT, TOP, BOTTOM = 0.32, 0.72, 0.50, 0.52
BAR, TITLE_LETTER, TITLE_LINE = 0.07, 0.073, 0.15
TRIO_PITCH = 3 * PANEL + 2 * GAP + TRIO_GAP
SIGMA_LABEL, PERCENT_LABEL = "residual (σ)", "residual (% of peak)"


class Trio(NamedTuple):
    """One star or stack."""

    title: str
    data: np.ndarray  # (S, S) of the model's peak, background subtracted
    model: np.ndarray
    residual: np.ndarray  # sigma of a pixel, or per cent of the peak


class Row(NamedTuple):
    """Trios that share the colour bar of their residuals."""

    label: str
    unit: str
    trios: list[Trio]


def draw_residuals(
    stamps: Stamps, stars: pd.DataFrame, path_to_psf: str | Path, stars_per_bin: int, title: str
) -> Figure:
    """The residual picture. `stars`: usable rows of the fit's star table, of one or more images."""
    images = stars["image"].unique()
    prefixes = {image: f"{shorten(image)}: " if len(images) > 1 else "" for image in images}
    rows = [
        Row(f"{one.label} mag", SIGMA_LABEL, make_trios(draw(stamps, some, path_to_psf), prefixes))
        for one, some in of_each_bin(stars, stars_per_bin).items()
    ]
    trios = make_stacks(stamps, stars, path_to_psf)
    rows += [
        Row("stack", PERCENT_LABEL, trios[start : start + stars_per_bin])
        for start in range(0, len(trios), stars_per_bin)
    ]
    return _lay_out([row for row in rows if row.trios], title)


def make_trios(drawn: Drawn, prefixes: Mapping[str, str]) -> list[Trio]:
    """One trio per star; `prefixes`: what the titles of an image's stars begin with."""
    background = drawn.stars["background_adu"].to_numpy(float)[:, None, None]
    model = drawn.model - background
    peak = np.max(model, axis=(1, 2), keepdims=True)
    pixels = zip(
        (drawn.data - background) / peak, model / peak, drawn.normalised_residual, strict=True
    )
    return [
        Trio(prefixes[star["image"]] + _describe(star), *arrays)
        for star, arrays in zip(drawn.stars.to_dict("records"), pixels, strict=True)
    ]


def _describe(star: Mapping[str, Any]) -> str:
    kind = "" if star["is_reserved"] else ", fitted"
    return f"{star['mag']:.2f} mag, core $\\chi^2$ {format_chi2(star['core_chi2'])}{kind}"


def make_stacks(stamps: Stamps, stars: pd.DataFrame, path_to_psf: str | Path) -> list[Trio]:
    """Stacks of the bright reserved and of the bright fitted stars, as far as there are some."""
    stacks = []
    for kind, name in (("is_reserved", "reserved"), ("is_fitted", "fitted")):
        drawn = draw(stamps, bright(stars, kind), path_to_psf)
        if len(drawn.stars):
            stacks.append(stack(drawn, f"{len(drawn.stars)} {name}, {_range(stars)} mag"))
    return stacks


def _range(stars: pd.DataFrame) -> str:
    bins: list[Bin] = magnitude_bins(stars["mag"])
    return f"{bins[0].low}-{bins[0].low + min(STACK_BINS, len(bins))}"


def stack(drawn: Drawn, title: str) -> Trio:
    """Medians over stars of the stamps divided by the star's flux; residual in % of the peak.

    A median, so that faint neighbours in single stamps leave no trace.
    """
    flux = drawn.stars["flux_adu"].to_numpy(float)[:, None, None]
    background = drawn.stars["background_adu"].to_numpy(float)[:, None, None]
    model = np.median((drawn.model - background) / flux, axis=0)
    peak = model.max()
    is_seen = np.isfinite(drawn.data).any(axis=0)  # a pixel masked in every star stays NaN
    data, residual = (np.full(model.shape, np.nan) for _ in range(2))
    data[is_seen] = np.nanmedian(((drawn.data - background) / flux)[:, is_seen], axis=0)
    residual[is_seen] = np.nanmedian(((drawn.data - drawn.model) / flux)[:, is_seen], axis=0)
    return Trio(title, data / peak, model / peak, 100.0 * residual / peak)


class _Page:
    """A figure whose places are in inches from the upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))
        # One for all panels: hundreds of axes take seconds to make and to draw.
        self.axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()
        self.axes.autoscale(False)

    def show(self, left: float, top: float, pixels: np.ndarray, **how: Any) -> AxesImage:
        """A panel."""
        extent = (left, left + PANEL, top + PANEL, top)
        width = rcParams["axes.linewidth"]
        self.axes.add_patch(Rectangle((left, top), PANEL, PANEL, fill=False, linewidth=width))
        return self.axes.imshow(pixels, extent=extent, aspect="auto", **how)

    def add_bar(
        self, image: AxesImage, box: tuple[float, float, float, float], **how: Any
    ) -> Colorbar:
        """`box`: left, top, width and height."""
        left, top, width, height = box
        bottom = self.height - top - height
        scaled = left / self.width, bottom / self.height, width / self.width, height / self.height
        return self.figure.colorbar(image, cax=self.figure.add_axes(scaled), **how)


def _lay_out(rows: Sequence[Row], title: str) -> Figure:
    n_trios = max(len(row.trios) for row in rows)
    width = LEFT + n_trios * TRIO_PITCH - TRIO_GAP + RIGHT
    lines = textwrap.wrap(title, int((width - LEFT) / TITLE_LETTER))
    first_row = TOP + (len(lines) - 1) * TITLE_LINE
    page = _Page(width, first_row + len(rows) * (PANEL + ROW_GAP) + BOTTOM)
    page.axes.text(LEFT, 0.07, "\n".join(lines), va="top", fontsize=9)
    for i, row in enumerate(rows):
        top = first_row + i * (PANEL + ROW_GAP)
        page.axes.text(0.12, top + PANEL / 2, row.label, rotation=90, ha="center", va="center")
        counts = _draw_row(page, row, top)
    for k, _ in enumerate(rows[0].trios):
        for j, name in enumerate(("data", "model", "residual")):
            x = LEFT + k * TRIO_PITCH + j * (PANEL + GAP) + PANEL / 2
            page.axes.text(x, first_row - 0.18, name, ha="center")
    box = (LEFT, page.height - BOTTOM + 0.06, TRIO_PITCH - TRIO_GAP, BAR)
    bar = page.add_bar(counts, box, orientation="horizontal")
    bar.set_ticks([0, 0.01, 0.1, 1], labels=["0", "0.01", "0.1", "1"])
    bar.ax.minorticks_off()
    bar.set_label("(counts − background) / peak")
    return page.figure


def _draw_row(page: _Page, row: Row, top: float) -> AxesImage:
    limit = _find_limit(row.trios)
    counts = colormaps[COUNTS].with_extremes(bad=MASKED)
    residuals = colormaps[RESIDUALS].with_extremes(bad=MASKED)
    for k, trio in enumerate(row.trios):
        left, middle, right = (LEFT + k * TRIO_PITCH + j * (PANEL + GAP) for j in range(3))
        norm = AsinhNorm(linear_width=0.005, vmin=-0.01, vmax=1.0)
        light = page.show(left, top, trio.data, cmap=counts, norm=norm)
        page.show(middle, top, trio.model, cmap=counts, norm=norm)
        rest = page.show(right, top, trio.residual, cmap=residuals, vmin=-limit, vmax=limit)
        page.axes.text(middle + PANEL / 2, top - 0.035, trio.title, ha="center", fontsize=6.5)
    box = (page.width - RIGHT + 0.06, top, BAR, PANEL)
    page.add_bar(rest, box, ticks=[-limit, 0, limit]).set_label(row.unit, fontsize=6)
    return light


def _find_limit(trios: Sequence[Trio]) -> float:
    values = np.concatenate([np.abs(trio.residual).ravel() for trio in trios])
    values = values[np.isfinite(values)]
    return round_up(float(np.percentile(values, 99.5))) if len(values) else 1.0
