"""The most crowded part of an image: data, model, and what is left of the data."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure

from ztfpsf.noise import model_variance
from ztfpsf.photometry.image import ImagePhotometry
from ztfpsf.plots.style import COUNTS, MASKED, RESIDUALS, hide_ticks, make_figure, make_text_figure

CUT_PX = 200
LIMIT_SIGMA = 5.0


class Cut(NamedTuple):
    """Part of an image, planes (CUT_PX, CUT_PX) or less."""

    image: str
    n_stars: int
    x0_px: int  # column and row of the image at pixel [0, 0]
    y0_px: int
    data: np.ndarray  # ADU, NaN where not usable
    model: np.ndarray  # ADU
    sigma: np.ndarray  # ADU, of a pixel


def find_densest_cut(photometry: ImagePhotometry) -> Cut:
    """The cell of CUT_PX by CUT_PX with most stars."""
    planes, stars = photometry.planes, photometry.stars
    ny, nx = planes.inner(photometry.model).shape
    edges = [np.arange(0, length + CUT_PX, CUT_PX) for length in (ny, nx)]
    counts, *_ = np.histogram2d(stars["y_px"], stars["x_px"], bins=edges)
    row, column = np.unravel_index(counts.argmax(), counts.shape)
    y0, x0 = (int(max(0, min(k * CUT_PX, n - CUT_PX))) for k, n in ((row, ny), (column, nx)))

    def cut(plane: np.ndarray) -> np.ndarray:
        return planes.inner(plane)[y0 : y0 + CUT_PX, x0 : x0 + CUT_PX]

    light, sky, constant = (cut(plane) for plane in (photometry.model, planes.sky, planes.constant))
    return Cut(
        photometry.row["image"],
        int(counts.max()),
        x0,
        y0,
        np.where(cut(planes.is_usable), cut(planes.data), np.nan),
        light.copy(),
        np.sqrt(model_variance(light, sky, planes.gain, constant)),
    )


def draw_densest(cuts: Sequence[Cut], unit: str) -> Figure:
    """The most crowded cut of the images of a unit."""
    if not cuts:
        return make_text_figure(f"{unit}\nNo star was measured.")
    return draw_cut(max(cuts, key=lambda cut: cut.n_stars))


def draw_cut(cut: Cut) -> Figure:
    """Data, model and normalised residual side by side."""
    figure = make_figure(2.9)
    axes = figure.subplots(1, 3)
    sky = float(np.median(cut.model))
    noise = float(np.median(cut.sigma))
    norm = AsinhNorm(linear_width=3 * noise, vmin=-3 * noise, vmax=float(cut.model.max()) - sky)
    limits = {"cmap": RESIDUALS, "vmin": -LIMIT_SIGMA, "vmax": LIMIT_SIGMA}
    extent = (
        cut.x0_px - 0.5,
        cut.x0_px + cut.data.shape[1] - 0.5,
        cut.y0_px - 0.5,
        cut.y0_px + cut.data.shape[0] - 0.5,
    )
    panels = (
        ("data", cut.data - sky, {"cmap": COUNTS, "norm": norm}),
        ("model", cut.model - sky, {"cmap": COUNTS, "norm": norm}),
        ("residual", (cut.data - cut.model) / cut.sigma, limits),
    )
    for one, (name, plane, options) in zip(axes, panels, strict=True):
        one.set_facecolor(MASKED)
        shown = one.imshow(plane, extent=extent, **options)
        one.set_title(name)
    for one in axes[1:]:
        hide_ticks(one)
    axes[0].set_xlabel("x (px)")
    axes[0].set_ylabel("y (px)")
    figure.colorbar(shown, ax=axes, shrink=0.8).set_label("residual (σ)")
    figure.suptitle(f"{cut.image}: {cut.n_stars} stars", fontsize=9)
    return figure
