"""Tables of a whole run: statuses of images, depth, time of fits, index, pages."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from plot_run import plot_run
from summarise_run import summarise_run
from ztfpsf.io import write_fits, write_json, write_table
from ztfpsf.overview.images import RuleStep, find_depth, make_image_table, read_noise_areas
from ztfpsf.overview.index import Product, make_index
from ztfpsf.overview.page import MOST_ROWS, make_page
from ztfpsf.overview.statuses import STATUS_FORMATS, describe_run, sort_images
from ztfpsf.overview.timing import make_fit_table, make_timing_table
from ztfpsf.stamps import IMAGE_COLUMNS, concatenate, write_stamps

CCD = "ztf_20200924431759_000655_zr_c13_o"
GOOD, FEW, LOST, KILLED, WAITING = (
    f"{CCD}_q{q}" if q else f"{CCD[:-4]}14_o_q1" for q in (3, 1, 2, 4, 0)
)
NAMES = (
    "calibrate_science",
    "select_stars",
    "cut_stamps",
    "measure_pocket",
    "fit_psf",
    "validate_psf",
)
KINDS = {
    "calibrate_science": "{exposure}_c{ccdid}_o_status.json",
    "select_stars": "{unit}_counts.json",
    "cut_stamps": "{unit}_stamps.fits",
    "measure_pocket": "{unit}_pocket.parquet",
    "fit_psf": "{unit}_images.parquet",
    "validate_psf": "{unit}_images.parquet",
}
PROVENANCE = {"version": "1", "inputs": [], "settings": {}}


def write_image_table(path: Path, image: str) -> None:
    blank = {str: "ok", float: 2.0, int: 5}
    row = {name: blank[kind] for name, kind in IMAGE_COLUMNS.items()} | {"image": image}
    write_stamps(concatenate([pd.DataFrame([row])], [], 3), path, PROVENANCE)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A good image, one with too few stars, one without its file, one killed, one not begun."""
    monkeypatch.chdir(tmp_path)
    for name in (*NAMES, *(f"logs/{name}" for name in NAMES)):
        Path(name).mkdir(parents=True)
    kept = {"status": "ok", "kept": 30, "reserved": 6, "rejected": {"edge": 4}}
    write_json({GOOD: kept}, f"select_stars/{GOOD}_counts.json")
    write_json({FEW: {**kept, "status": "too few stars"}}, f"select_stars/{FEW}_counts.json")
    write_json({KILLED: kept}, f"select_stars/{KILLED}_counts.json")
    Path(f"logs/select_stars/{LOST}.log").write_text("10:00 INFO begun\n10:01 ERROR no such file\n")
    Path(f"logs/cut_stamps/{KILLED}.log").write_text("10:00 INFO begun\n")
    write_image_table(Path(f"cut_stamps/{GOOD}_stamps.fits"), GOOD)
    row = {"image": GOOD, "law": "measured", "capacity_adu": 280.0, "capacity_error_adu": 1.5}
    write_table(pd.DataFrame([row]), f"measure_pocket/{GOOD}_pocket.parquet", PROVENANCE)
    row = {"image": GOOD, "status": "not converged", "chi2": 30.0, "dof": 20, "n_fitted": 24}
    write_table(pd.DataFrame([row]), f"fit_psf/{GOOD}_images.parquet", PROVENANCE)
    row = {"image": GOOD, "verdict": "usable", "fwhm_px": 2.0, "zero_point_mag": 26.0}
    write_table(pd.DataFrame([row]), f"validate_psf/{GOOD}_images.parquet", PROVENANCE)
    write_flat_psf(Path(f"fit_psf/{GOOD}_psf.fits"))
    return summarise()


def summarise() -> pd.DataFrame:
    """The table of images of what is in the working directory."""
    steps = [RuleStep(name, f"{name}/{KINDS[name]}", f"logs/{name}/{{unit}}.log") for name in NAMES]
    names = (GOOD, FEW, LOST, KILLED, WAITING)
    return make_image_table({name: [name] for name in names}, steps, "fit_psf/{unit}_psf.fits")


def write_flat_psf(path: Path) -> None:
    """A PSF that is even over 4 x 4 px has the noise of 16 px."""
    picture = np.zeros((1, 9, 9))
    picture[0, 2:6, 2:6] = 1 / 16
    names = fits.BinTableHDU.from_columns([fits.Column("image", "37A", array=[GOOD])], name="PSF")
    hdus = [fits.PrimaryHDU(), names, fits.ImageHDU(picture, name="CENTRE")]
    write_fits(fits.HDUList(hdus), path, PROVENANCE)


@pytest.mark.parametrize(
    ("image", "rule", "status"),
    [
        (GOOD, "", "not converged"),
        (FEW, "select_stars", "too few stars"),
        # The calibration never began for it: it comes from no raw frame.
        (LOST, "select_stars", "no such file"),
        (KILLED, "cut_stamps", "ended without a word, for want of memory or time"),
        (WAITING, "calibrate_science", "has not run"),
    ],
)
def test_every_image_has_a_status(images, image, rule, status) -> None:
    row = images.set_index("image").loc[image]
    assert row["failed_rule"] == rule
    assert row["status"].startswith(status)


def test_numbers_of_a_good_image(images) -> None:
    row = images.iloc[0]
    assert row["start"] == pd.Timestamp("2020-09-24 10:21:43.977600")
    assert (row["filtercode"], row["ccdid"], row["qid"]) == ("zr", 13, 3)
    assert (row["n_selected"], row["n_rejected_edge"], row["n_fitted"]) == (30, 4, 24)
    assert row["chi2_per_dof"] == 1.5
    assert row["seeing_arcsec"] == pytest.approx(2.0 * 1.012)
    assert row["noise_area_px"] == pytest.approx(16.0)
    assert row["depth_mag"] == pytest.approx(26.0 - 2.5 * np.log10(5.0 * 2.0 * 4.0))


def test_images_that_failed_are_rows_without_numbers(images) -> None:
    failed = images[images["failed_rule"] != ""]
    assert len(failed) == 4
    assert (failed["verdict"] == "").all()
    assert failed[["fwhm_px", "depth_mag", "chi2"]].isna().all(axis=None)


@pytest.mark.parametrize("name", ["select_stars", "cut_stamps", "fit_psf", "validate_psf"])
def test_damaged_product_is_the_status_of_its_image(images, name: str) -> None:
    """Its name, what is wrong, and the rule that makes it again; the other images are told of."""
    path = Path(f"{name}/{KINDS[name].format(unit=GOOD)}")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 4])
    after = summarise().set_index("image")
    assert after.loc[GOOD, "failed_rule"] == name
    assert str(path) in after.loc[GOOD, "status"]
    assert f"make it again with the rule {name}" in after.loc[GOOD, "status"]
    others = images.set_index("image").drop(GOOD)
    pd.testing.assert_frame_equal(after.drop(GOOD)[["status"]], others[["status"]])


def test_damaged_psf_costs_the_depth_only(images) -> None:
    path = Path(f"fit_psf/{GOOD}_psf.fits")
    path.write_bytes(path.read_bytes()[:-2880])
    after = summarise().set_index("image").loc[GOOD]
    assert after["status"] == "not converged"
    assert np.isnan(after["depth_mag"])


def test_depth_is_the_flux_of_five_times_the_noise() -> None:
    zero_point, rms, area = 26.2, 6.0, 8.0
    flux = 10 ** (-0.4 * (find_depth(zero_point, rms, area) - zero_point))
    assert flux / (rms * np.sqrt(area)) == pytest.approx(5.0)
    assert np.isnan(find_depth(zero_point, np.nan, area))


def test_no_psf_no_noise_area(tmp_path: Path) -> None:
    assert read_noise_areas(str(tmp_path / "none.fits")) == {}


def test_page_shows_failures_first(images) -> None:
    table = sort_images(images)
    assert list(table["verdict"]) == ["failed"] * 4 + ["usable"]
    assert table["why"].iloc[0] == "select_stars: too few stars"
    assert describe_run(images) == "20200924: 5 images, 1 usable, 4 failed"
    page = make_page(table, STATUS_FORMATS, "Images", "All of them.")
    assert page.count("<tr>") == 6
    assert "select_stars: no such file" in page
    assert "nan" not in page


def test_page_escapes_and_stops() -> None:
    table = pd.DataFrame({"a_b": ["<x> & y"] * (MOST_ROWS + 1), "n": np.nan})
    page = make_page(table, {"a_b": "", "n": "{:.1f}"}, "T", "")
    assert "&lt;x&gt; &amp; y" in page
    assert "<th class=text>a b</th><th>n</th>" in page
    assert page.count("<tr>") == MOST_ROWS + 1
    assert f"first {MOST_ROWS} of {MOST_ROWS + 1} rows" in page


def test_time_of_fits_by_optimiser_and_device(tmp_path: Path) -> None:
    rows = [
        {"image": f"i{k}", "model": "m", "optimiser": optimiser, "device": device, "status": status,
         "n_fitted": 100, "iterations": 5, "seconds": seconds, "compile_seconds": 1.0}
        for k, (optimiser, device, status, seconds) in enumerate(
            [("a", "cpu", "ok", 2.0), ("a", "cpu", "not converged", 4.0), ("a", "gpu", "ok", 0.1)]
        )
    ]  # fmt: skip
    write_table(pd.DataFrame(rows), tmp_path / "one.parquet", PROVENANCE)
    failed = {"image": "i9", "status": "no star", "model": "m", "optimiser": "b"}
    write_table(pd.DataFrame([failed]), tmp_path / "two.parquet", PROVENANCE)
    table = make_fit_table([tmp_path / "one.parquet", tmp_path / "two.parquet"])
    assert len(table) == 4
    timing = make_timing_table(table).set_index("device")
    assert list(timing.index) == ["cpu", "gpu"]
    cpu = timing.loc["cpu"]
    assert (cpu["images"], cpu["converged_fraction"], cpu["seconds_per_image"]) == (2, 0.5, 3.0)
    assert cpu["seconds"] == 6.0


def test_damaged_table_of_a_fit_is_named_and_left_out(tmp_path: Path, caplog) -> None:
    whole, damaged = tmp_path / "one.parquet", tmp_path / "two.parquet"
    write_table(pd.DataFrame([{"image": "i1", "seconds": 1.0}]), whole, PROVENANCE)
    damaged.write_bytes(whole.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING, "ztfpsf"):
        assert make_fit_table([whole, damaged])["image"].tolist() == ["i1"]
    assert f"{damaged}: " in caplog.text
    assert "rule fit_psf" in caplog.text


def test_report_of_a_run_that_has_made_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps = [[name, f"{name}/{KINDS[name]}", f"logs/{name}/{{unit}}.log"] for name in NAMES]
    tables = {"path_to_images": "images.parquet", "path_to_fits": "fits.parquet"}
    summarise_run(
        units={GOOD: [GOOD]}, steps=steps, pattern_of_psf="{unit}.fits", paths_to_fits=[], **tables
    )
    pictures = ("night", "selection", "stars", "psf", "pockets")
    paths = {f"path_to_{name}": f"{name}.svg" for name in pictures}
    pages = {f"path_to_{name}": f"{name}.html" for name in ("statuses", "timing")}
    plot_run(**tables, **paths, **pages, fit="moffat, adam")
    assert "No image has stars" in Path("selection.svg").read_text()
    assert "the law of no pocket was measured" in Path("pockets.svg").read_text()
    assert "failed (1)" in Path("night.svg").read_text()
    assert "calibrate_science: has not run" in Path("statuses.html").read_text()
    assert Path("timing.html").read_text().count("<tr>") == 1


def test_index_has_the_files_that_are_there(images, tmp_path: Path) -> None:
    products = [
        Product("select_stars", "counts", "", "", "select_stars/{unit}_counts.json"),
        Product("fit_psf", "psf", "moffat", "adam", "fit_psf/{unit}_psf.fits"),
        Product("calibrate_science", "sciimg", "", "", "{exposure}/{image}_sciimg.fits"),
    ]
    index = make_index(images, products)
    assert list(index["image"]) == [GOOD, GOOD, FEW, KILLED]
    assert index["path"].map(lambda path: (tmp_path / path).is_file()).all()
    row = index[index["rule"] == "fit_psf"].iloc[0]
    assert (row["model"], row["verdict"], row["status"]) == ("moffat", "usable", "not converged")
    assert json.loads((tmp_path / index["path"].iloc[0]).read_text())[GOOD]["kept"] == 30
