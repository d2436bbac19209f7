"""Pictures of a whole run: the layout of the focal plane, time, masters, growth of the PSF."""

import matplotlib.text
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.quiver import Quiver
from ztfpsf.calibration.binned import Binned
from ztfpsf.focal_plane import CCDS, QUADRANTS
from ztfpsf.plots.focal_plane import (
    WHISKERS,
    Map,
    draw_maps,
    find_corner,
    find_norm,
    make_mosaic,
)
from ztfpsf.plots.masters import Night, draw_masters
from ztfpsf.plots.night import MOST_BARS, bin_times, draw_night
from ztfpsf.plots.pocket_run import draw_capacities
from ztfpsf.plots.psf_figure import find_growth, find_profile
from ztfpsf.plots.selection import draw_selection
from ztfpsf.plots.style import MASKED, styled
from ztfpsf.simulation.wcs import COLUMNS, ROWS, quadrant_offset_px
from ztfpsf.stars.selection import REASONS

KEYS = [(ccdid, qid) for ccdid in CCDS for qid in QUADRANTS]


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(match=matplotlib.text.Text))


def make_quadrants(**columns: float) -> pd.DataFrame:
    return pd.DataFrame(KEYS, columns=["ccdid", "qid"]).assign(**columns)


def make_images(n_exposures: int = 3) -> pd.DataFrame:
    """Four quadrants per exposure, the last one failed."""
    numbers = {"seeing_arcsec": 2.0, "ellipticity": 0.03, "depth_mag": 20.5, "n_fitted": 100.0}
    rows = [
        {
            "start": pd.Timestamp("2020-09-24 03:00") + pd.Timedelta(minutes=10 * k),
            "filtercode": ("zg", "zr", "zi")[k % 3],
            "verdict": "" if qid == 4 else "good",
            **(dict.fromkeys(numbers, np.nan) if qid == 4 else numbers),
        }
        for k in range(n_exposures)
        for qid in QUADRANTS
    ]
    return pd.DataFrame(rows)


# --- focal plane ---


def test_map_has_the_layout_of_the_sky() -> None:
    """Centres of all quadrants, against the offsets that the simulation points its frames by."""
    for ccdid, qid in KEYS:
        east, north = quadrant_offset_px(ccdid, qid, COLUMNS, ROWS)
        x, y = np.array(find_corner(ccdid, qid)) + 0.5
        middle = np.mean([np.array(find_corner(*key)) + 0.5 for key in KEYS], axis=0)
        assert x - middle[0] == pytest.approx(east / COLUMNS)
        assert y - middle[1] == pytest.approx(north / ROWS)


def test_map_colours_each_quadrant_where_it_is() -> None:
    values = make_quadrants(value=0.0)
    values.loc[values["ccdid"] == 13, "value"] = 1.0
    values = values[values["ccdid"] != 4]
    figure = draw_maps(values, [Map("value", "value")], "title")
    boxes = {
        box.get_xy(): box.get_facecolor()
        for box in figure.axes[0].findobj(Rectangle)
        if box.get_width() == 1 and box.get_height() == 1
    }
    assert len({tuple(find_corner(*key)) for key in KEYS} & set(boxes)) == 64
    high, low = boxes[find_corner(13, 1)], boxes[find_corner(1, 1)]
    assert not same_color(high, low)
    assert same_color(boxes[find_corner(13, 3)], high)
    assert same_color(boxes[find_corner(4, 2)], MASKED)


def test_whiskers_lie_along_the_elongation() -> None:
    values = make_quadrants(g1=0.0, g2=0.02)
    figure = draw_maps(values, [Map(WHISKERS, "whiskers")], "title")
    (whiskers,) = figure.axes[0].findobj(Quiver)
    angle = np.degrees(np.arctan2(whiskers.V, whiskers.U))
    # g2 > 0: along x = y.
    assert angle == pytest.approx(45.0)
    assert np.hypot(whiskers.U, whiskers.V) == pytest.approx(0.02)


def test_mosaic_turns_stored_pixels_to_the_sky() -> None:
    """Stored pixel [0, 0] of each quadrant is its North-East corner, up and to the right."""
    ny, nx = 12, 10
    pixels = np.zeros((64, ny, nx), np.float32)
    pixels[:, 0, 0] = np.arange(1, 65)
    mosaic = make_mosaic(make_quadrants(), pixels)
    for k, (ccdid, qid) in enumerate(KEYS, start=1):
        (row,), (column,) = np.nonzero(mosaic == k)
        x, y = find_corner(ccdid, qid)
        assert abs(column + 1 - nx * (x + 1)) <= 2
        assert abs(row + 1 - ny * (y + 1)) <= 2
    assert np.isfinite(mosaic).sum() == 64 * ny * nx


def test_map_of_one_value_or_none() -> None:
    for values in (np.full(64, 3.0), np.full(64, np.nan)):
        norm = find_norm(values)
        assert norm.vmin < norm.vmax


# --- time ---


def test_night_counts_verdicts_and_names_filters() -> None:
    with styled():
        figure = draw_night(make_images(), "a night")
        figure.canvas.draw()
    said = texts(figure)
    for words in ("good (9)", "failed (3)", "usable (0)", "zg, median", "FWHM (arcsec)", "UT"):
        assert words in said
    depth = figure.axes[2]
    assert depth.get_ylim()[0] > depth.get_ylim()[1], "deeper is up"
    bars = sum(patch.get_height() for patch in figure.axes[-1].patches)
    assert bars == 12


def test_night_without_a_good_image() -> None:
    images = make_images()
    figure = draw_night(images[images["verdict"] == ""], "a night")
    assert "failed (3)" in texts(figure)


def test_bins_of_time_hold_every_image() -> None:
    for days in (np.array([5.0]), np.linspace(5.0, 5.4, 64_000), np.array([5.0, 35.0])):
        edges = bin_times(days)
        counts, _ = np.histogram(days, edges)
        assert counts.sum() == len(days)
        assert len(edges) <= MOST_BARS + 1
        assert np.diff(edges).min() > 0.9 / 1440


def test_capacities_of_the_pockets_against_time() -> None:
    """A line for each quadrant with its epochs; quadrants without a law are left out."""
    night = make_images(5).assign(ccdid=9, pocket_capacity_error_adu=2.0)
    night["qid"] = np.resize(QUADRANTS, len(night))
    night["pocket_capacity_adu"] = np.where(night["qid"] == 4, np.nan, 100.0 * night["qid"])
    figure = draw_capacities(night, "run")
    _, axes, _ = figure.axes
    lines = {one.get_label(): one.lines[0].get_ydata() for one in axes.containers}
    assert set(lines) == {"c09 q1", "c09 q2", "c09 q3"}
    np.testing.assert_allclose(np.array(lines["c09 q2"], float), np.full(5, 200.0))
    text = texts(draw_capacities(night.assign(pocket_capacity_adu=np.nan), "run"))
    assert "no pocket was measured" in text


def test_selection_shows_every_reason() -> None:
    counts = {f"n_rejected_{reason}": [k, k + 2] for k, reason in enumerate(REASONS)}
    figure = draw_selection(pd.DataFrame({"n_selected": [400, 500], **counts}), "a night")
    said = texts(figure).splitlines()
    assert {"kept", "450", *REASONS} <= set(said)


# --- masters ---


def make_night(level: float, n_quadrants: int = 64) -> Binned:
    table = make_quadrants(
        status="ok", median=level, rms=0.1, overscan_adu=120.0, read_noise_electron=9.0, n_frames=5
    ).iloc[:n_quadrants]
    return Binned(table, np.full((n_quadrants, 6, 6), level, np.float32))


def test_masters_show_what_changed() -> None:
    before = Night("20200923", make_night(100.0, n_quadrants=60))
    figure = draw_masters(Night("20200924", make_night(103.0)), before, "bias", "title")
    difference = figure.axes[1].images[0].get_array()
    assert np.unique(difference.compressed()) == pytest.approx([3.0])
    # 60 quadrants of 36 blocks are on both nights.
    assert difference.count() == 60 * 36
    assert "that of 20200923 (ADU)" in texts(figure)


def test_masters_of_the_first_night() -> None:
    figure = draw_masters(Night("20200924", make_night(1.0)), None, "flat", "title")
    assert "no earlier night" in texts(figure)


# --- PSF ---


def test_growth_and_profile_of_a_gaussian() -> None:
    sigma, size = 3.0, 51
    offset = np.arange(size) - size // 2
    stamp = np.exp(-0.5 * (offset**2 + offset[:, None] ** 2) / sigma**2) / (2 * np.pi * sigma**2)
    radius, light = find_growth(stamp)
    assert light == pytest.approx(1 - np.exp(-0.5 * radius**2 / sigma**2), abs=0.01)
    radius, values = find_profile(stamp)
    assert radius[0] == 0
    assert values[0] == stamp.max()
    expected = np.exp(-0.5 * radius**2 / sigma**2) / (2 * np.pi * sigma**2)
    assert values[:10] == pytest.approx(expected[:10], rel=0.05)
