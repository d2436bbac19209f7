"""Pictures of a fit: which stars they show, what they draw, and the files."""

import logging
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from fit_products import IMAGES, N_RESERVED, SIZE, Products, make_products, make_psf
from matplotlib.figure import Figure
from plot_psf import plot_psf
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, write_table
from ztfpsf.plots import choice
from ztfpsf.plots.chi2 import draw_chi2, find_medians
from ztfpsf.plots.photometry import Cut, draw_densest
from ztfpsf.plots.pocket_stars import draw_pocket_stars, measure_differences
from ztfpsf.plots.residuals import draw_residuals, stack
from ztfpsf.plots.star_figure import choose, draw_star
from ztfpsf.plots.style import draw_picture, make_text_figure, round_up, save, shorten, styled
from ztfpsf.pocket.flat import NO_FLAT
from ztfpsf.pocket.law import N_DROPS, Pocket
from ztfpsf.psf.product.drawn import Drawn, draw
from ztfpsf.psf.product.file import write_psfs
from ztfpsf.quality import STAR_COLUMNS, Bin, format_chi2, magnitude_bins, measured, usable


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Products:
    return make_products(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two_images(tmp_path_factory: pytest.TempPathFactory) -> Products:
    return make_products(tmp_path_factory.mktemp("two"), IMAGES, n=12)


def texts(figure: Figure) -> str:
    """All text of a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(match=matplotlib.text.Text))


# --- magnitudes and choice ---


def test_bins_go_from_the_brightest_to_the_faintest_star() -> None:
    bins = magnitude_bins(pd.Series([15.99, 14.0, np.nan, 17.0]))
    assert bins == [Bin(14), Bin(15), Bin(16), Bin(17)]
    assert list(bins[1].holds(pd.Series([14.99, 15.0, 15.99, 16.0]))) == [False, True, True, False]
    assert bins[0].label == "14-15"
    assert magnitude_bins(pd.Series([], dtype=float)) == []


@pytest.mark.parametrize(
    ("value", "text"), [(1.957, "1.96"), (12.96, "13.0"), (99.94, "99.9"), (1074.1, "1074")]
)
def test_format_of_chi2(value: float, text: str) -> None:
    assert format_chi2(value) == text


def test_typical_stars_are_the_middles_of_equal_parts() -> None:
    stars = pd.DataFrame({"core_chi2": np.arange(9.0)[::-1], "star_id": list("abcdefghi")})
    assert list(choice.typical(stars, 1)["core_chi2"]) == [4.0]
    assert list(choice.typical(stars, 3)["core_chi2"]) == [1.0, 4.0, 7.0]
    assert list(choice.typical(stars, 20)["core_chi2"]) == list(range(9))
    assert choice.typical(stars.iloc[:0], 3).empty


def test_reserved_stars_are_shown_first(products: Products) -> None:
    shown = choice.of_each_bin(products.star_table, 3)
    assert list(shown) == [Bin(low) for low in (14, 15, 16, 17)]
    for one, stars in shown.items():
        assert one.holds(stars["mag"]).all()
        reserved = products.star_table.query("is_reserved")
        assert stars["is_reserved"].sum() == min(3, one.holds(reserved["mag"]).sum())
        assert len(stars) == 3


def test_stack_takes_the_bright_stars(products: Products) -> None:
    stars = choice.bright(products.star_table, "is_fitted")
    assert stars["mag"].is_monotonic_increasing
    assert stars["is_fitted"].all()
    assert stars["mag"].max() < 16
    assert len(stars) == (products.star_table.query("mag < 16")["is_fitted"]).sum()


def test_measured_and_usable_stars() -> None:
    stars = pd.DataFrame({name: ["1", "2", "3"] for name in STAR_COLUMNS})
    stars["core_chi2"] = [1.0, np.nan, 2.0]
    stars["status"] = ["ok", "ok", "outlier"]
    assert len(measured(stars)) == 2
    assert len(usable(measured(stars))) == 1
    failed = measured(pd.DataFrame({"image": []}))
    assert failed.empty
    assert choice.of_each_bin(failed, 3) == {}


# --- models ---


def test_models_lie_on_the_stars(two_images: Products) -> None:
    order = np.arange(len(two_images.star_table))[::-1]
    drawn = draw(two_images.cubes, two_images.star_table.iloc[order], two_images.psf)
    truth = two_images.model[order]
    assert list(drawn.stars["star_id"]) == list(two_images.star_table["star_id"].iloc[order])
    scale = two_images.star_table["flux_adu"].to_numpy()[order, None, None]
    np.testing.assert_allclose((drawn.model - truth) / scale, 0.0, atol=1e-4)
    assert np.isnan(drawn.data[:, 0, 0]).all()
    assert np.isfinite(drawn.data).sum() == drawn.data.size - len(order)
    assert np.nanmean(drawn.normalised_residual**2) == pytest.approx(1.0, abs=0.05)
    np.testing.assert_array_equal(drawn.x0_px, two_images.star_table["x0_px"].iloc[order])


def test_what_the_pocket_did_is_shown(products: Products, tmp_path: Path) -> None:
    """Stars that were read from the left; freed, they are their models again."""
    path = tmp_path / "psf.fits"
    pocket = Pocket(np.full(N_DROPS, 0.06), NO_FLAT, np.array(1.0))
    psf = make_psf(IMAGES[0])._replace(pocket=pocket)
    write_psfs([psf], "moffat", path, make_provenance([], {}))
    drawn = draw(products.cubes, products.star_table, path)
    as_read = products.cubes._replace(data=products.cubes.data + drawn.deferred)
    drawn = draw(as_read, products.star_table, path)
    faint = drawn.stars["mag"].to_numpy() > 16
    read, freed = (
        measure_differences(drawn, data)[faint].median()
        for data in (drawn.data + drawn.deferred, drawn.data)
    )
    assert read["x"] > 0.01
    assert read["g1"] > 0.3
    assert read["aperture"] < -2.0
    assert abs(freed["x"]) < 0.2 * read["x"]
    assert abs(freed["g1"]) < 0.5 * read["g1"]
    figure = draw_pocket_stars(as_read, pd.concat([products.star_table] * 2), path, "unit")
    assert "as read\nfreed" in texts(figure)
    figure = draw_pocket_stars(products.cubes, products.star_table, products.psf, "unit")
    assert "no law of the pocket is known" in texts(figure)


def test_star_without_stamp(products: Products) -> None:
    stars = products.star_table.assign(star_id="J1")
    with pytest.raises(InputError, match="J1 has no stamp"):
        draw(products.cubes, stars, products.psf)


def test_no_star_is_drawn(products: Products) -> None:
    drawn = draw(products.cubes, products.star_table.iloc[:0], products.psf)
    assert drawn.data.shape == (0, SIZE, SIZE)
    assert drawn.stars.empty


def test_stack_is_in_per_cent_of_the_peak(products: Products) -> None:
    drawn = draw(products.cubes, products.star_table.iloc[:9], products.psf)
    flux = drawn.stars["flux_adu"].to_numpy()[:, None, None]
    peak = np.median((drawn.model - 150.0) / flux, axis=0).max()
    data = drawn.model + 0.02 * peak * flux
    data[0] += 1e5  # one star beside a neighbour
    data[:, 0, 0] = np.nan
    trio = stack(Drawn(drawn.stars, data, *drawn[2:]), "nine")
    assert np.isnan(trio.residual[0, 0])
    np.testing.assert_allclose(trio.residual.ravel()[1:], 2.0)
    assert trio.model.max() == 1.0


# --- pictures ---


def test_residual_picture(products: Products) -> None:
    figure = draw_residuals(products.cubes, products.star_table, products.psf, 3, "unit, moffat")
    panels = figure.axes[0].images
    # 4 bins of 3 stars and 2 stacks, three panels each
    assert len(panels) == 3 * (4 * 3 + 2)
    for panel in panels:
        assert np.ma.masked_invalid(panel.get_array()).std() > 0
    shown = texts(figure)
    for text in (
        "unit, moffat",
        "14-15 mag",
        "17-18 mag",
        "data",
        "model",
        "residual (σ)",
        "residual (% of peak)",
        "(counts − background) / peak",
        ", fitted",
        "reserved, 14-16 mag",
    ):
        assert text in shown
    assert "q3" not in shown


@pytest.mark.parametrize("stars_per_bin", [1, 5])
def test_residual_picture_has_the_width_of_its_stars(
    two_images: Products, stars_per_bin: int
) -> None:
    figure = draw_residuals(
        two_images.cubes, two_images.star_table, two_images.psf, stars_per_bin, "a title " * 10
    )
    figure.draw_without_rendering()
    assert {"c13 q3", "c13 q4"} & {text[:6] for text in texts(figure).split("\n")}
    box = figure.bbox
    for text in figure.axes[0].texts:
        extent = text.get_window_extent()
        assert extent.x0 >= 0
        assert extent.x1 <= box.x1


def test_chi2_picture(products: Products) -> None:
    stars = products.star_table.copy()
    stars.loc[0, "status"] = "outlier"
    figure = draw_chi2(stars, "unit, moffat")
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "magnitude (mag)"
    assert "core $\\chi^2$" in axes.get_ylabel()
    assert axes.get_title() == "unit, moffat"
    labels = axes.get_legend_handles_labels()[1]
    n_fitted = len(stars) - N_RESERVED - stars.loc[0, "is_fitted"]
    assert f"fitted ({n_fitted})" in labels
    assert "rejected (1)" in labels
    assert 1.0 in axes.lines[0].get_ydata()


def test_medians_of_the_bins() -> None:
    stars = pd.DataFrame(
        {
            "mag": [14.1, 14.2, 14.9, 16.5, 16.6],
            "core_chi2": [3.0, 5.0, 100.0, 1.0, 2.0],
            "is_fitted": [True, True, True, True, False],
            "is_reserved": [False, False, False, False, True],
        }
    )
    medians = find_medians(stars).set_index(["low", "kind"])
    assert medians.loc[(14, "fitted"), "core_chi2"] == 5.0
    assert medians.loc[(16, "reserved"), "core_chi2"] == 2.0
    assert medians.loc[(15, "fitted"), "n"] == 0
    assert np.isnan(medians.loc[(15, "fitted"), "core_chi2"])


def test_star_picture(products: Products) -> None:
    star = choose(products.star_table).iloc[0]
    assert star["is_reserved"]
    figure = draw_star(products.cubes, products.star_table, products.psf, "unit, moffat")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [
        "data − background (ADU)",
        "model − background (ADU)",
        "(data − model) / σ",
        "data − background (ADU), central 15 px",
    ]
    assert star["star_id"] in texts(figure)
    assert "reserved" in texts(figure)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert {axes.get_xlabel() for axes in panels} == {"x (px)"}
    assert {axes.get_ylabel() for axes in panels} == {"y (px)"}
    left, right, low, high = panels[0].images[0].get_extent()
    assert left + SIZE == right
    assert left < star["x_px"] < right
    assert low < star["y_px"] < high


def test_star_of_a_fit_without_reserved_stars(products: Products) -> None:
    stars = products.star_table.assign(is_reserved=False)
    assert choose(stars).iloc[0]["mag"] < 15


# --- style and files ---


@pytest.mark.parametrize(("value", "limit"), [(3.1, 5), (5, 5), (0.011, 0.02), (0, 1), (np.nan, 1)])
def test_limits_are_round(value: float, limit: float) -> None:
    assert round_up(value) == pytest.approx(limit)


def test_short_names() -> None:
    assert shorten(IMAGES[0]) == "c13 q3"
    assert shorten("other") == "other"


@pytest.mark.parametrize(
    ("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_equal_pictures_are_equal_files(tmp_path: Path, suffix: str, magic: bytes) -> None:
    for name in ("a", "b"):
        with styled():
            save(make_text_figure("no star"), tmp_path / f"{name}.{suffix}")
    content = (tmp_path / f"a.{suffix}").read_bytes()
    assert content.startswith(magic)
    assert content == (tmp_path / f"b.{suffix}").read_bytes()


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="image_format"):
        save(make_text_figure("no star"), tmp_path / "a.gif")


def run(products: Products, folder: Path, suffix: str = "png") -> list[Path]:
    names = ("residuals", "chi2", "star", "picture", "pocket")
    paths = [folder / f"{name}.{suffix}" for name in names]
    plot_psf(
        **products.paths(),
        **{f"path_to_{name}": str(path) for name, path in zip(names, paths, strict=True)},
        unit=IMAGES[0],
        model="moffat",
        optimiser="gauss_newton",
        stars_per_bin=2,
    )
    return paths


def test_adapter(products: Products, tmp_path: Path) -> None:
    for path in run(products, tmp_path)[:4]:
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 500
        assert pixels[..., :3].std() > 0.05
    assert sorted(tmp_path.iterdir()) == sorted(run(products, tmp_path))


def test_adapter_tells_what_is_drawn(products: Products, tmp_path: Path) -> None:
    table = tmp_path / "stars.parquet"
    write_table(
        products.star_table,
        table,
        {"version": "1", "inputs": [], "settings": {"strategy": "per_star"}},
    )
    paths = run(products._replace(stars=table), tmp_path, "svg")
    assert "not each star's own" in paths[0].read_text()
    assert "star's own" not in paths[1].read_text()


def test_unit_whose_images_all_failed(products: Products, tmp_path: Path) -> None:
    provenance = {"version": "1", "inputs": [], "settings": {"strategy": "field"}}
    stars, images = tmp_path / "stars.parquet", tmp_path / "images.parquet"
    write_table(pd.DataFrame({"image": []}), stars, provenance)
    reason = "a.fits: all pixels are NaN; fetch it again."
    write_table(pd.DataFrame({"image": ["a"], "status": [reason]}), images, provenance)
    failed = products._replace(stars=stars, images=images, psf=tmp_path / "none.fits")
    for path in run(failed, tmp_path, "svg"):
        assert "all pixels are NaN" in path.read_text()


def test_a_picture_that_cannot_be_drawn_says_why(tmp_path: Path, caplog) -> None:
    """A colour scale that ends below its beginning; the tables of a rule must not end with it."""
    cut = Cut("x", 3, 0, 0, np.zeros((5, 5)), np.ones((5, 5)), np.full((5, 5), -1.0))
    path = tmp_path / "residual.svg"
    with caplog.at_level(logging.WARNING, "ztfpsf"):
        draw_picture(path, draw_densest, [cut], "unit")
    assert "This picture cannot be drawn" in path.read_text()
    assert "residual.svg: not drawn" in caplog.text
    with pytest.raises(InputError, match=r"residual\.gif: pictures are"):
        draw_picture(tmp_path / "residual.gif", draw_densest, [], "unit")


@pytest.mark.parametrize("text", ["a$b$c.fits: no star", "in $HOME: no file", "$\\frac$ is odd"])
def test_words_with_dollars_are_no_formulae(tmp_path: Path, text: str) -> None:
    path = tmp_path / "words.svg"
    draw_picture(path, make_text_figure, text)
    assert text in path.read_text()
