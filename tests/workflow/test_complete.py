"""The whole workflow on small synthetic quadrants, one of them good, the others not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from small_run import BLANK, CCD, GOOD, LOST, SATURATED, TRUNCATED, options, row_of


def results_of(directory: Path, image: str) -> set[str]:
    results = directory / "results"
    return {str(path.relative_to(results)) for path in results.rglob(f"*{image}*")}


def test_good_image_is_finished_although_others_fail(finished) -> None:
    workflow, run = finished
    assert run.returncode == 1
    made = results_of(workflow.directory, GOOD)
    fit = "fit_psf/gaussian/gauss_newton"
    assert {
        f"select_stars/{GOOD}_stars.parquet",
        f"cut_stamps/{GOOD}_stamps.fits",
        f"measure_pocket/{GOOD}_pocket.parquet",
        f"plot_pocket/{GOOD}_pocket.png",
        f"{fit}/{GOOD}_stars.parquet",
        f"{fit}/{GOOD}_psf.fits",
        f"measure_photometry/gaussian/gauss_newton/{GOOD}_photometry.parquet",
        f"plot_psf/gaussian/gauss_newton/{GOOD}_residuals.png",
        f"validate_psf/gaussian/gauss_newton/{GOOD}_images.parquet",
        f"validate_psf/gaussian/gauss_newton/{GOOD}_validation.png",
        f"compare_fits/{GOOD}_parameters.csv",
        f"compare_fits/{GOOD}_summary.txt",
    } <= made
    stars = pd.read_parquet(workflow.directory / "results" / fit / f"{GOOD}_stars.parquet")
    # The scene's stars are Gaussians of sigma 0.9 px: the fit must find them perfect.
    assert len(stars) > 30
    assert stars["core_chi2"].median() == pytest.approx(1.0, abs=0.15)
    assert stars["fwhm_px"].iloc[0] == pytest.approx(0.9 * 2.3548, rel=0.01)


def test_perfect_psf_is_good(finished) -> None:
    workflow, _ = finished
    folder = workflow.directory / "results" / "validate_psf" / "gaussian" / "gauss_newton"
    row = pd.read_parquet(folder / f"{GOOD}_images.parquet").iloc[0]
    # A small image: its few reserved stars are the one thing against it.
    assert row["verdict"] in ("good", "usable"), row["reason"]
    assert row["reason"].count(";") == 0
    assert abs(row["size_residual"]) < 3 * row["size_residual_error"]
    assert row["fwhm_px"] == pytest.approx(2.3548 * np.hypot(0.9, 12**-0.5), rel=0.01)


def test_bad_images_get_a_verdict_where_failures_are_allowed(finished) -> None:
    workflow, _ = finished
    sheet = workflow.write_sheet(
        [row_of(workflow, name) for name in (GOOD, TRUNCATED, SATURATED)], "some.csv"
    )
    target = f"results/validate_psf/gaussian/gauss_newton/{CCD}_images.parquet"
    flags = (*options(workflow.directory), "--config", sheet, "max_failed_fraction=1")
    run = workflow.run(*flags, targets=[target])
    assert run.returncode == 0, run.text
    rows = pd.read_parquet(workflow.directory / target).set_index("image")
    assert rows.loc[GOOD, "verdict"] != "bad"
    for name, sentence in ((TRUNCATED, "not a complete FITS file"), (SATURATED, "_q4")):
        assert rows.loc[name, "verdict"] == "bad"
        assert sentence in rows.loc[name, "reason"]


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (TRUNCATED, "not a complete FITS file"),
        (BLANK, "_q2_sciimg.fits"),
        (SATURATED, "_q4"),
        (LOST, "lost_sciimg.fits: no such file; correct its path."),
    ],
)
def test_bad_image_fails_alone_with_its_name(finished, image, sentence) -> None:
    workflow, run = finished
    assert results_of(workflow.directory, image) == set()
    log = (workflow.directory / "logs" / "select_stars" / f"{image}.log").read_text()
    errors = [line for line in log.splitlines() if " ERROR " in line]
    assert len(errors) == 1, log
    assert sentence in errors[0]
    assert "Traceback" not in log
    # Once when it happens, and once where the run ends.
    sentence = errors[0].partition(" ERROR ")[2]
    assert run.text.count(sentence) == 2
    log = f"logs/select_stars/{image}.log"
    assert f"\nselect_stars of {image} failed: {sentence}\n    log: {log}\n" in run.text


def test_second_run_has_nothing_to_do(finished) -> None:
    workflow, _ = finished
    sheet = workflow.write_sheet([row_of(workflow, GOOD)], "good.csv")
    run = workflow.run(*options(workflow.directory), "--config", sheet)
    assert run.returncode == 0, run.text
    assert "Nothing to be done" in run.text


def test_image_whose_file_is_lost_is_not_kept(finished) -> None:
    workflow, _ = finished
    sheet = workflow.write_sheet([row_of(workflow, GOOD)], "good.csv")
    mask = workflow.directory / f"{GOOD}_mskimg.fits"
    hidden = mask.rename(mask.with_suffix(".hidden"))
    try:
        run = workflow.dry_run(*options(workflow.directory), "--config", sheet)
    finally:
        hidden.rename(mask)
    assert run.jobs["select_stars"] == run.jobs["compare_fits"] == 1, run.text


def test_two_images_of_one_file(finished) -> None:
    workflow, _ = finished
    twin = f"{CCD}_q1"
    path = workflow.directory / GOOD
    sheet = workflow.write_sheet(
        [f"{image},{path}_sciimg.fits,{path}_mskimg.fits," for image in (GOOD, twin)], "twin.csv"
    )
    target = f"results/cut_stamps/{CCD}_stamps.fits"
    run = workflow.run(*options(workflow.directory), "--config", sheet, targets=[target])
    assert run.returncode == 0, run.text
    with fits.open(workflow.directory / target) as stamps:
        assert list(stamps["IMAGES"].data["image"]) == [twin, GOOD]


def test_products_tell_how_they_were_made(finished) -> None:
    workflow, _ = finished
    header = fits.getheader(workflow.directory / f"results/cut_stamps/{GOOD}_stamps.fits")
    assert f"{GOOD}_sciimg.fits" in header["INPUTS"]
    assert '"size_px": 15' in header["SETTINGS"]


def test_killed_run_resumes_to_the_same_result(finished, tmp_path: Path) -> None:
    workflow, _ = finished
    killed = workflow._replace(directory=tmp_path / "killed")
    killed.directory.mkdir()
    sheet = killed.write_sheet([row_of(workflow, GOOD)])
    target = f"results/fit_psf/gaussian/gauss_newton/{GOOD}_stars.parquet"
    flags = (*options(killed.directory), "--config", sheet)
    where = ("--snakefile", str(killed.base / "Snakefile"), "--directory", str(killed.directory))
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *where, *flags, "--", target],
        cwd=killed.base,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    log = killed.directory / "logs/fit_psf/gaussian/gauss_newton" / f"{GOOD}.log"
    deadline = time.monotonic() + 120
    while not log.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert log.exists()
    assert not (killed.directory / target).exists()
    assert killed.run(*flags, "--unlock").returncode == 0
    run = killed.run(*flags, "--rerun-incomplete", targets=[target])
    assert run.returncode == 0, run.text
    assert "select_stars" not in run.jobs
    pd.testing.assert_frame_equal(
        pd.read_parquet(killed.directory / target), pd.read_parquet(workflow.directory / target)
    )
