"""Fits side by side: speed, parameters, picture of the losses, summary."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compare_fits import compare_fits
from ztfpsf.compare.fits import (
    Fit,
    find_common_images,
    find_smallest_losses,
    measure_speeds,
    pool_history,
)
from ztfpsf.compare.parameters import (
    describe_stars,
    describe_status,
    find_bins,
    make_parameters,
    to_csv,
    to_markdown,
)
from ztfpsf.compare.summary import WIDTH, find_best, make_summary
from ztfpsf.io import write_table
from ztfpsf.plots.loss import FLOOR, draw_loss, make_curve

REASON = "b.fits: all pixels are NaN; fetch it again."
PROVENANCE = {"version": "1", "inputs": [], "settings": {}}


def make_history(image: str, losses: list[float], step_s: float) -> pd.DataFrame:
    n = np.arange(len(losses))
    return pd.DataFrame({"image": image, "iteration": n, "seconds": step_s * n, "loss": losses})


def make_image(image: str, **changes: object) -> dict:
    row = {
        "image": image,
        "status": "ok",
        "n_fitted": 3,
        "n_reserved": 2,
        "n_rejected": 1,
        "degree": 2,
        "chi2": 200.0,
        "dof": 100,
        "edm": 1e-4,
        "iterations": 3,
        "seconds": 0.3,
        "compile_seconds": 2.0,
        "fwhm_px": 2.0,
    }
    return row | changes


def make_stars(image: str, core_chi2: float = 1.0) -> pd.DataFrame:
    """Three fitted stars, two reserved ones, and a reserved outlier."""
    stars = pd.DataFrame(
        {
            "mag": [14.2, 14.4, 16.5, 14.5, 14.6, 14.7],
            "x_px": [10.1, 20.2, 29.9, 40.0, 50.0, 60.0],
            "x_error_px": 0.01,
            "y_px": [5.0, 6.0, 7.4, 8.0, 9.0, 10.0],
            "y_error_px": 0.02,
            "flux_adu": [100.0, 300.0, 200.0, 1.0, 1.0, 1.0],
            "background_adu": [149.0, 150.0, 151.0, 0.0, 0.0, 0.0],
            "background_error_adu": 0.5,
            "fwhm_px": 2.0,
            "fwhm_error_px": 0.001,
            "alpha": 3.0,
            "alpha_error": 0.01,
            "gamma_px": 2.0,
            "gamma_error_px": 0.02,
            "core_chi2": np.array([9.0, 9.0, 9.0, 4.0, 6.0, 99.0]) * core_chi2,
            "is_fitted": [True, True, True, False, False, False],
            "is_reserved": [False, False, False, True, True, True],
            "status": ["ok"] * 5 + ["outlier"],
        }
    )
    return stars.assign(image=image)


def make_fit(optimiser: str, losses: list[float], step_s: float, **changes: object) -> Fit:
    images = pd.DataFrame([make_image("a", **changes)])
    history = make_history("a", losses, step_s)
    return Fit("moffat", optimiser, make_stars("a"), images, history)


def make_failed(optimiser: str, image: str = "a") -> Fit:
    """What the rule fit_psf writes when all images failed."""
    images = pd.DataFrame([{"image": image, "status": REASON}])
    nothing = pd.DataFrame({"image": []})
    return Fit("moffat", optimiser, nothing, images, nothing)


@pytest.fixture
def gauss_newton() -> Fit:
    return make_fit("gauss_newton", [1000.0, 150.0, 100.05, 100.0], 0.1)


@pytest.fixture
def adam() -> Fit:
    return make_fit(
        "adam", [1000.0, 500.0, 200.0, 101.0], 1.0, status="not converged", chi2=202.0, seconds=3.0
    )


@pytest.fixture
def two_images(gauss_newton: Fit) -> Fit:
    """Image a as in gauss_newton, b with fewer steps, and q failed."""
    rows = [make_image("a"), make_image("b", fwhm_px=3.0), {"image": "q", "status": REASON}]
    return gauss_newton._replace(
        images=pd.DataFrame(rows),
        stars=pd.concat([make_stars("a"), make_stars("b", 2.0)], ignore_index=True),
        history=pd.concat([gauss_newton.history, make_history("b", [50.0, 20.0], 0.5)]),
    )


# --- speed ---


def test_speed_to_the_minimum(gauss_newton: Fit, adam: Fit) -> None:
    tncg = make_fit("tncg", [1000.0, 100.1, 100.0], 0.6)
    fast, slow, never = measure_speeds([gauss_newton, tncg, adam])
    assert fast.seconds == pytest.approx(0.2)
    assert fast.ratio == 1.0
    assert slow.seconds == pytest.approx(0.6)
    assert slow.ratio == pytest.approx(3.0)
    assert slow.excess == 0.0
    assert np.isnan(never.seconds)
    assert np.isnan(never.ratio)
    assert never.excess == pytest.approx(0.01)


def test_speed_without_reference(adam: Fit) -> None:
    (speed,) = measure_speeds([adam])
    assert speed.seconds == pytest.approx(3.0)
    assert np.isnan(speed.ratio)


def test_loss_that_is_no_number_is_no_minimum(gauss_newton: Fit) -> None:
    diverged = make_fit("scipy", [1000.0, np.nan, np.inf], 1.0)
    assert find_smallest_losses([gauss_newton, diverged]).loc["a"] == 100.0
    assert np.isnan(measure_speeds([gauss_newton, diverged])[1].seconds)


def test_only_images_of_all_fits_are_compared(two_images: Fit, adam: Fit) -> None:
    assert find_common_images([two_images, adam, make_failed("tncg")]) == ["a"]
    first, second, failed = measure_speeds([two_images, adam, make_failed("tncg")])
    assert first.seconds == pytest.approx(0.2)
    assert second.excess == pytest.approx(0.01)
    assert np.isnan(failed).all()


def test_images_add_up(two_images: Fit) -> None:
    pooled = pool_history(two_images, ["a", "b"])
    assert list(pooled["loss"]) == [1050.0, 170.0, 120.05, 120.0]
    np.testing.assert_allclose(pooled["seconds"], [0.0, 0.6, 0.7, 0.8])
    assert measure_speeds([two_images])[0].seconds == pytest.approx(0.2 + 0.5)


# --- parameters ---


def test_parameters(gauss_newton: Fit, adam: Fit) -> None:
    table = make_parameters([gauss_newton, adam]).set_index("optimiser")
    row = table.loc["gauss_newton"]
    assert row["status"] == "ok"
    assert row[["n_stars", "n_reserved", "n_rejected"]].tolist() == [3, 2, 1]
    assert row["x0_px"] == pytest.approx(0.1)
    assert row["y0_px"] == pytest.approx(0.0)
    assert row["A_adu"] == pytest.approx(200.0 * 2.0 / (np.pi * 4.0))
    assert row[["b_adu", "alpha", "gamma_px", "fwhm_px"]].tolist() == [150.0, 3.0, 2.0, 2.0]
    assert row["chi2_per_dof"] == 2.0
    assert row["core_chi2_14_15"] == 5.0
    assert np.isnan(row["sigma_x_px"])
    assert row["seconds_to_minimum"] == pytest.approx(0.2)
    assert table.loc["adam", "status"] == "not converged"
    assert table.loc["adam", "chi2_excess"] == pytest.approx(0.01)
    assert "core_chi2_16_17" not in table.columns


@pytest.mark.parametrize(
    ("theta_deg", "sigmas"), [(0, (2, 1)), (90, (1, 2)), (45, (2.5**0.5, 2.5**0.5))]
)
def test_widths_of_the_gaussian(theta_deg: float, sigmas: tuple[float, float]) -> None:
    stars = pd.DataFrame(
        {
            "x_px": [3.4],
            "y_px": [3.6],
            "flux_adu": [10.0],
            "sigma_major_px": 2.0,
            "sigma_minor_px": 1.0,
            "theta_deg": float(theta_deg),
        }
    )
    star = describe_stars(stars).iloc[0]
    assert star[["sigma_x_px", "sigma_y_px"]].tolist() == pytest.approx(sigmas)
    assert star["amplitude"] == pytest.approx(10.0 / (4.0 * np.pi))
    assert star[["x0_px", "y0_px"]].tolist() == pytest.approx([0.4, -0.4])


def test_status_of_several_images(two_images: Fit, gauss_newton: Fit) -> None:
    assert describe_status(gauss_newton) == "ok"
    assert describe_status(two_images) == "1 failed of 3"
    assert describe_status(make_failed("adam")) == "failed"


def test_several_images_in_the_table(two_images: Fit) -> None:
    row = make_parameters([two_images]).iloc[0]
    assert row["n_images"] == 2
    assert row["n_stars"] == 6
    assert row["chi2"] == 400.0
    assert row["core_chi2_14_15"] == 7.0
    assert row["seconds"] == pytest.approx(0.6)


def test_markdown_holds_what_the_csv_holds(gauss_newton: Fit, adam: Fit) -> None:
    fits = [gauss_newton, adam, make_failed("tncg")]
    table = make_parameters(fits)
    text = to_markdown(table, find_bins(fits), "unit")
    assert "Parameters of unit" in text
    assert max(map(len, text.split("|")[0].splitlines())) <= 100
    csv = pd.read_csv(io.StringIO(to_csv(table)))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    columns = [cell.strip() for cell in rows[0].split("|")[2:-1]]
    assert columns == ["moffat, gauss_newton", "moffat, adam", "moffat, tncg"]
    cells = {c[1].strip(): [x.strip() for x in c[2:-1]] for c in (r.split("|") for r in rows[2:])}
    for label, column in (
        ("stars fitted", "n_stars"),
        ("A (ADU/px²)", "A_adu"),
        ("alpha", "alpha"),
        ("FWHM (px)", "fwhm_px"),
        ("chi2", "chi2"),
        ("core chi2, 14-15 mag", "core_chi2_14_15"),
        ("seconds to the minimum", "seconds_to_minimum"),
        ("ratio to gauss_newton", "slowdown"),
    ):
        for text_value, value in zip(cells[label], csv[column], strict=True):
            assert bool(text_value) == np.isfinite(value)
            if text_value:
                assert float(text_value.split(" ± ")[0]) == pytest.approx(value, rel=1e-3)
    assert cells["alpha"][0] == "3.0000 ± 0.0100"
    assert cells["gamma (px)"][0] == "2.0000 ± 0.0200"
    assert cells["sigma_x (px)"] == ["", "", ""]
    assert cells["status"] == ["ok", "not converged", "failed"]
    assert csv["n_stars"].tolist()[:2] == [3, 3]
    assert ",3," in to_csv(table)


# --- picture ---


def test_loss_picture(gauss_newton: Fit, adam: Fit) -> None:
    other = adam._replace(model="gaussian")
    figure = draw_loss([gauss_newton, adam, other, make_failed("scipy")], "unit")
    left, right = figure.axes
    # Four steps in a few seconds: less than a decade.
    assert (left.get_xscale(), left.get_yscale()) == ("linear", "log")
    assert all(tick == round(tick) for tick in left.get_xticks())
    assert left.get_xlabel() == "iteration + 1"
    assert right.get_xlabel() == "time without compilation (s)"
    assert left.get_title(loc="left") == "moffat"
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert labels == ["gauss_newton", "adam"]
    first = left.lines[0]
    np.testing.assert_array_equal(first.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(first.get_ydata(), [1800.0, 100.0, 0.1, FLOOR])
    assert left.lines[0].get_color() != left.lines[2].get_color()


def test_long_histories_have_logarithmic_axes(adam: Fit) -> None:
    losses = list(1000.0 * 0.9 ** np.arange(30) + 100.0)
    long = adam._replace(history=make_history("a", losses, 1.0))
    for axes in draw_loss([long], "unit").axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_every_model_has_a_row_if_none_has_two_optimisers(gauss_newton: Fit, adam: Fit) -> None:
    figure = draw_loss([gauss_newton, adam._replace(model="gaussian")], "unit")
    assert [axes.get_title(loc="left") for axes in figure.axes[::2]] == ["moffat", "gaussian"]


def test_loss_picture_of_a_failed_unit() -> None:
    figure = draw_loss([make_failed("adam")], "unit")
    assert "nothing to show" in figure.texts[0].get_text()
    assert not figure.axes


def test_curve_stays_on_the_floor() -> None:
    curve = make_curve(make_history("a", [7.0, 5.0], 1.0), 10.0)
    assert curve["excess"].tolist() == [4.0, FLOOR]


# --- summary ---


def flow(text: str) -> str:
    return " ".join(text.split())


def test_summary(gauss_newton: Fit, adam: Fit) -> None:
    worse = gauss_newton._replace(model="gaussian", stars=make_stars("a", 10.0))
    text = make_summary([worse, adam, gauss_newton], "unit")
    assert max(map(len, text.splitlines())) <= WIDTH
    words = flow(text)
    for sentence in (
        "PSF of unit",
        "Best fit: moffat by gauss_newton.",
        "3 stars fitted, 2 reserved for the test below, 1 rejected as outliers.",
        "FWHM 2.00 px = 2.02 arcsec",
        "chi2/dof 2.00",
        "mag stars gaussian moffat 14-15 2 50.0 5.00",
        "Residuals of 14-15 mag stars are 2.2 times the noise",
        "gauss_newton: 0.2 s (3 steps, 0.3 s in all)",
        "adam: never; it ended 1 % above the smallest chi2 (3 steps, 3 s in all)",
        "Not converged: moffat, adam; chi2 is still expected to fall by 0.0001.",
    ):
        assert sentence in words


def test_summary_names_failed_images(two_images: Fit) -> None:
    words = flow(make_summary([two_images, make_failed("adam", "q")], "unit"))
    assert "2 of 3 images: 6 stars fitted" in words
    assert "2.50 px = 2.53 arcsec (median of the images; 2.00 to 3.00 px)" in words
    assert f"Failed (every fit): q: {REASON}" in words
    assert "adam: failed" in words


def test_summary_of_a_failed_unit() -> None:
    words = flow(make_summary([make_failed("adam", "q"), make_failed("tncg", "q")], "unit"))
    assert "No image was fitted: there is no PSF." in words
    assert words.endswith(f"Failed (every fit): q: {REASON}")


def test_summary_without_reserved_stars(gauss_newton: Fit) -> None:
    stars = gauss_newton.stars.assign(is_reserved=False)
    words = flow(make_summary([gauss_newton._replace(stars=stars)], "unit"))
    assert "No star was reserved" in words
    assert "Optimisers" not in words


def test_best_fit_is_the_quickest_at_the_minimum(gauss_newton: Fit, adam: Fit) -> None:
    hasty = adam._replace(images=adam.images.assign(seconds=0.01))
    assert find_best([hasty, gauss_newton], find_bins([gauss_newton])) is gauss_newton
    tncg = make_fit("tncg", [1000.0, 100.0], 0.1, seconds=0.1)
    assert find_best([gauss_newton, tncg], find_bins([gauss_newton])) is tncg
    assert find_best([make_failed("adam")], []) is None


# --- adapter ---


def run(fits: list[Fit], folder: Path) -> dict[str, Path]:
    paths: dict[str, list[str]] = {"stars": [], "images": [], "history": []}
    for i, fit in enumerate(fits):
        for name, values in paths.items():
            values.append(str(folder / f"{i}_{name}.parquet"))
            write_table(getattr(fit, name), values[-1], PROVENANCE)
    names = {"table": "csv", "markdown": "md", "loss": "png", "summary": "txt"}
    outputs = {name: folder / f"out_{name}.{suffix}" for name, suffix in names.items()}
    compare_fits(
        **{f"paths_to_{name}": values for name, values in paths.items()},
        **{f"path_to_{name}": str(path) for name, path in outputs.items()},
        unit="unit",
        fits=[{"model": fit.model, "optimiser": fit.optimiser} for fit in fits],
    )
    return outputs


def test_adapter(gauss_newton: Fit, adam: Fit, tmp_path: Path) -> None:
    outputs = run([gauss_newton, adam], tmp_path)
    table = pd.read_csv(outputs["table"])
    assert table["optimiser"].tolist() == ["gauss_newton", "adam"]
    assert table["core_chi2_14_15"].tolist() == [5.0, 5.0]
    assert "Best fit" in outputs["summary"].read_text()
    assert "moffat, adam" in outputs["markdown"].read_text()
    assert outputs["loss"].read_bytes().startswith(b"\x89PNG")


def test_adapter_when_all_images_failed(tmp_path: Path) -> None:
    outputs = run([make_failed("gauss_newton"), make_failed("adam")], tmp_path)
    assert pd.read_csv(outputs["table"])["status"].tolist() == ["failed", "failed"]
    assert "there is no PSF" in outputs["summary"].read_text()
    assert outputs["loss"].stat().st_size > 1000
