"""What the pocket did to the stars of an image, and what is left of it, against magnitude."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ztfpsf.plots.style import BLUE, GREY, ORANGE, make_figure, make_text_figure
from ztfpsf.psf.product.drawn import Drawn, draw
from ztfpsf.robust import MAD_TO_SIGMA
from ztfpsf.stamps import Stamps
from ztfpsf.validation.apertures import measure_apertures
from ztfpsf.validation.moments import measure_moments

HEIGHT_IN = 4.6
MOST_STARS = 1000
APERTURE_PX = 6.0
BINS_PER_MAG = 2
FEWEST = 5  # stars of a bin
MEDIAN_ERROR = 1.25  # of a median, in units of that of a mean


class Panel(NamedTuple):
    column: str
    label: str


PANELS = (
    Panel("size", "$\\delta T / T$ (%)"),
    Panel("g1", "$\\delta g_1$ (%)"),
    Panel("x", "shift in x (px)"),
    Panel("aperture", f"PSF − aperture of {APERTURE_PX:g} px (mmag)"),
)


def draw_pocket_stars(
    stamps: Stamps, stars: pd.DataFrame, path_to_psf: str | Path, title: str
) -> Figure:
    """Stars of the first image as they were read, and freed, both less their models.

    `stars`: usable rows of the fit's star table.
    """
    mine = stars[stars["image"] == stars["image"].iloc[0]]
    drawn = draw(stamps, mine.iloc[:: -(-len(mine) // MOST_STARS)], path_to_psf)
    if not drawn.deferred.any():
        return make_text_figure(f"{title}: no law of the pocket is known of this image.")
    figure = make_figure(HEIGHT_IN)
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots(2, 2, sharex=True)
    kinds = ((drawn.data + drawn.deferred, "as read", ORANGE), (drawn.data, "freed", BLUE))
    for data, name, colour in kinds:
        found = measure_differences(drawn, data)
        for one, panel in zip(axes.flat, PANELS, strict=True):
            _draw_medians(one, found, panel, name, colour)
    for one, panel in zip(axes.flat, PANELS, strict=True):
        one.axhline(0.0, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
        one.set_ylabel(panel.label)
    for one in axes[1]:
        one.set_xlabel("magnitude (mag)")
    axes[0, 0].legend()
    return figure


def measure_differences(drawn: Drawn, data: np.ndarray) -> pd.DataFrame:
    """Columns mag and those of PANELS, star by star. `data`: (n, S, S) ADU, NaN where masked."""
    stars = drawn.stars
    background = stars["background_adu"].to_numpy()[:, None, None]
    model = drawn.model - background
    data = np.where(np.isfinite(data), data - background, model)
    x = stars["x_px"].to_numpy() - drawn.x0_px
    y = stars["y_px"].to_numpy() - drawn.y0_px
    seen, expected = (measure_moments(part, x, y) for part in (data, model))
    flux, no_error = stars["flux_adu"].to_numpy(), np.zeros(len(stars))
    light = measure_apertures(data, model, drawn.variance, flux, no_error, x, y, [APERTURE_PX])
    return pd.DataFrame(
        {
            "mag": stars["mag"].to_numpy(),
            "size": 100.0 * (seen.size_px2 / expected.size_px2 - 1.0),
            "g1": 100.0 * (seen.g1 - expected.g1),
            "x": seen.x_px - expected.x_px,
            "aperture": 1e3 * light.corrected[:, 0],
        }
    )


def _draw_medians(axes: Axes, found: pd.DataFrame, panel: Panel, name: str, colour: str) -> None:
    rows = []
    known = found[found[panel.column].notna()]
    for step, mine in known.groupby(np.floor(known["mag"] * BINS_PER_MAG)):
        if len(mine) >= FEWEST:
            values = mine[panel.column]
            median = values.median()
            scatter = MAD_TO_SIGMA * (values - median).abs().median()
            middle = (float(str(step)) + 0.5) / BINS_PER_MAG
            rows.append((middle, median, MEDIAN_ERROR * scatter / np.sqrt(len(mine))))
    if rows:
        mag, median, error = np.array(rows).T
        axes.errorbar(mag, median, error, marker="o", color=colour, linewidth=0.8, label=name)
