"""Pictures of a solved survey: zero points, star flat, residuals, fields and weak modes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ztfpsf.focal_plane import CCDS, QUADRANTS
from ztfpsf.plots.focal_plane import draw_difference, draw_mosaic, make_mosaic
from ztfpsf.plots.style import BLUE, GREY, RED, RESIDUALS, make_figure

MAX_MODES = 3


def draw_zero_points(zero_points: pd.DataFrame, filtercode: str) -> Figure:
    """Zero points against time and airmass, their errors, and exposures that were left out."""
    figure = make_figure(5.0)
    figure.suptitle(f"{filtercode}: zero points of {len(zero_points)} exposures", fontsize=9)
    panels = figure.subplots(2, 2)
    good = zero_points[zero_points["status"] == "ok"]
    bad = zero_points[zero_points["status"] != "ok"]
    for axes, column, label in (
        (panels[0, 0], "mjd", "MJD (d)"),
        (panels[0, 1], "airmass", "airmass"),
    ):
        for table, colour, word in ((good, BLUE, "ok"), (bad, RED, "left out")):
            axes.plot(table[column], table["zero_point_mag"], ".", ms=2, color=colour, label=word)
        axes.set(xlabel=label, ylabel="zero point (mag)")
    panels[0, 0].legend()
    error = 1e3 * good["zero_point_error_mag"]
    _draw_histogram(panels[1, 0], error, "error of the zero point (mmag)")
    _draw_histogram(panels[1, 1], good["chi2_per_star"], "chi2 per star")
    return figure


def _draw_histogram(axes: Axes, values: pd.Series, label: str) -> None:
    known = values[np.isfinite(values)]
    top = float(known.quantile(0.99)) if len(known) else 1.0
    axes.hist(known, bins=40, range=(0.0, top if top > 0 else 1.0), color=BLUE)
    axes.set(xlabel=label, ylabel="exposures")


def draw_star_flat(flat_mag: np.ndarray, error_mag: np.ndarray, filtercode: str) -> Figure:
    """Star flat (64, n, n) and its error on the focal plane."""
    figure = make_figure(3.7)
    figure.suptitle(f"{filtercode}: star flat", fontsize=9)
    left, right = figure.subplots(1, 2)
    draw_difference(left, _to_mosaic(1e3 * flat_mag), "star flat (mmag)")
    draw_mosaic(right, _to_mosaic(1e3 * error_mag), "error (mmag)")
    return figure


def draw_residuals(
    residual_mag: np.ndarray, stars: pd.DataFrame, record: Mapping[str, Any], filtercode: str
) -> Figure:
    """Mean residual of the superpixels; scatter and chi2 of the stars."""
    figure = make_figure(6.6)
    figure.suptitle(f"{filtercode}: residuals", fontsize=9)
    panels = figure.subplots(2, 2)
    draw_difference(panels[0, 0], _to_mosaic(1e3 * residual_mag), "mean residual (mmag)")
    axes = panels[0, 1]
    constant = stars[~stars["is_variable"]]
    axes.plot(constant["mag"], 1e3 * constant["mag_rms"], ",", color=GREY, rasterized=True)
    axes.plot(record["magnitude"], record["scatter_mmag"], "-", color=RED, label="beyond errors")
    axes.set(xlabel="magnitude", ylabel="rms of the star (mmag)", yscale="log")
    axes.legend()
    for axes, name, label in (
        (panels[1, 0], "magnitude", "magnitude"),
        (panels[1, 1], "colour", "colour less its median (mag)"),
    ):
        key = "magnitude" if name == "magnitude" else "colour_mag"
        chi2 = np.array(record[f"chi2_of_{name}"], float)
        axes.plot(record[key], chi2, "o-", color=BLUE)
        axes.axhline(1.0, color=GREY, lw=0.6)
        axes.set(xlabel=label, ylabel="chi2 per degree of freedom")
    return figure


def draw_fields(fields: pd.DataFrame, record: Mapping[str, Any], filtercode: str) -> Figure:
    """Errors of the fields' zero points on the sky, and the worst measured patterns."""
    names = [name for name in fields.columns if name.startswith("mode_")][:MAX_MODES]
    figure = make_figure(1.9 * (1 + len(names)))
    figure.suptitle(f"{filtercode}: {len(fields)} fields", fontsize=9)
    panels = figure.subplots(1 + len(names), 1, squeeze=False)[:, 0]
    errors = 1e3 * fields["zero_point_error_mag"]
    _draw_sky(panels[0], fields, errors, "error of the zero point (mmag)", "viridis")
    sizes = record["weak_modes_mmag"]
    for axes, name, size in zip(panels[1:], names, sizes, strict=False):
        title = f"{name.replace('_', ' ')}, {size:.3f} mmag rms"
        _draw_sky(axes, fields, size * fields[name], title, RESIDUALS)
    return figure


def _draw_sky(
    axes: Axes, fields: pd.DataFrame, values: pd.Series, title: str, colours: str
) -> None:
    points = axes.scatter(fields["ra_deg"], fields["dec_deg"], c=values, s=6, cmap=colours)
    axes.set(xlabel="RA (deg)", ylabel="Dec (deg)", title=title)
    axes.invert_xaxis()
    axes.figure.colorbar(points, ax=axes)


def _to_mosaic(quadrants: np.ndarray) -> np.ndarray:
    """Maps (64, n, n) of the quadrants, in stored order, on the focal plane."""
    pairs = [(ccdid, qid) for ccdid in CCDS for qid in QUADRANTS]
    return make_mosaic(pd.DataFrame(pairs, columns=["ccdid", "qid"]), quadrants)
