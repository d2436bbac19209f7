"""From a simulated series of exposures to a light curve, its picture and its exports."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from cut_targets import cut_targets
from documents import documented, is_documented
from series import GROUP, LIGHT_CURVE, SERIES, write_config
from workflow_copy import Run, Workflow
from ztfpsf.errors import InputError
from ztfpsf.lightcurve.files import read_covariance, read_host
from ztfpsf.lightcurve.observation import Paths, observe
from ztfpsf.simulation.epoch_settings import EpochSettings, make_target

RULES = (
    "simulate_epochs",
    "select_stars",
    "cut_stamps",
    "measure_pocket",
    "fit_psf",
    "measure_photometry",
    "validate_psf",
    "match_stars",
    "fit_maps",
    "solve_ratios",
    "cut_targets",
    "extract_lightcurve",
)
KINDS = ("sciimg", "mskimg")
STEM = f"results/extract_lightcurve/{LIGHT_CURVE}"


@pytest.fixture(scope="module")
def made(module_workflow: Workflow) -> tuple[Workflow, Run]:
    """All of one light curve."""
    config = write_config(module_workflow.directory)
    # Each of two cores would compile for itself.
    options = ("--cores", "1", "--scheduler", "greedy", "--configfile", config)
    run = module_workflow.run(*options, targets=["lightcurves"])
    assert run.returncode == 0, run.text
    return module_workflow, run


def test_every_rule_has_one_job(made: tuple[Workflow, Run]) -> None:
    _, run = made
    assert set(run.jobs) == {*RULES, "plot_lightcurve", "export_lightcurve", "lightcurves"}
    assert set(run.jobs.values()) == {1}


def test_fluxes_are_true_within_their_errors(made: tuple[Workflow, Run]) -> None:
    workflow, _ = made
    rows = pd.read_parquet(workflow.directory / f"{STEM}_lightcurve.parquet")
    truth = pd.read_parquet(workflow.directory / "results/simulate_epochs/truth.parquet")
    record = json.loads((workflow.directory / f"{STEM}_record.json").read_text())
    assert list(rows["image"]) == list(truth["image"])
    assert (rows["status"] == "ok").all()
    shines = truth["flux_adu"].to_numpy() > 0
    assert list(rows["in_baseline"]) == list(~shines)
    assert (rows["flux_adu"][~shines] == 0).all()
    # The common scale is that of the catalogue's zero point.
    scale = 10 ** (0.4 * (26.2 - rows["zero_point_mag"].to_numpy()))
    flux, error = (scale * rows[f"probe_flux{name}_adu"].to_numpy() for name in ("", "_error"))
    pulls = (flux - truth["flux_adu"].to_numpy()) / error
    assert np.abs(pulls).max() < 4
    assert np.sqrt(np.mean(pulls**2)) < 1.8
    assert flux[shines].max() > 15 * error.max()
    ratio = 10 ** (-0.4 * rows["ratio_mag"]) * scale / truth["ratio"]
    assert ratio.std() < 0.01
    assert np.hypot(rows["x_px"] - truth["x_px"], rows["y_px"] - truth["y_px"]).max() < 0.15
    assert record["has_baseline"]
    assert record["n_baseline"] == (~shines).sum()
    assert record["chi2_per_dof"] == pytest.approx(1.0, abs=0.15)


def test_catalogue_gives_zero_point_and_colour_term(made: tuple[Workflow, Run]) -> None:
    workflow, _ = made
    record = json.loads((workflow.directory / f"{STEM}_record.json").read_text())
    found = record["zero_point"]
    assert found["source"] == "catalogue"
    assert found["error_mag"] < 0.005
    assert found["colour_term"] in (0.0, pytest.approx(0.02, abs=4 * found["colour_term_error"]))


def test_files_beside_the_light_curve(made: tuple[Workflow, Run]) -> None:
    workflow, _ = made
    folder = workflow.directory
    rows = pd.read_parquet(folder / f"{STEM}_lightcurve.parquet")
    covariance = read_covariance(folder / f"{STEM}_covariance.fits")
    n = SERIES["n_epochs"]
    assert covariance.shape == (n, n)
    assert np.sqrt(np.diagonal(covariance)) == pytest.approx(rows["flux_error_adu"], rel=1e-5)
    host = read_host(folder / f"{STEM}_host.fits")
    assert host["GALAXY"].shape == host["ERROR"].shape == (15, 15)
    assert np.nanstd(host["RESIDUAL"]) == pytest.approx(1.0, abs=0.2)
    stars = pd.read_parquet(folder / f"{STEM}_stars.parquet")
    curves = pd.read_parquet(folder / f"{STEM}_starcurves.parquet")
    assert len(stars) == 15
    assert len(curves) == 15 * n
    assert stars["is_constant"].mean() > 0.8
    assert (stars["rms_mmag"] / stars["expected_rms_mmag"]).median() == pytest.approx(1.0, abs=0.4)
    picture = folder / f"results/plot_lightcurve/{LIGHT_CURVE}_lightcurve.png"
    assert picture.stat().st_size > 30_000


@pytest.mark.parametrize(
    "product",
    [
        "match_stars/*_exposures.parquet",
        "solve_ratios/*_stars.parquet",
        "fit_maps/*_maps.parquet",
        "solve_ratios/*_ratios.parquet",
        "extract_lightcurve/*_lightcurve.parquet",
        "extract_lightcurve/*_stars.parquet",
    ],
)
def test_columns_are_documented(made: tuple[Workflow, Run], product: str) -> None:
    (path,) = (made[0].directory / "results").glob(product)
    assert is_documented(set(pd.read_parquet(path).columns), documented(product))


def test_exports_hold_the_same_fluxes(made: tuple[Workflow, Run]) -> None:
    workflow, _ = made
    rows = pd.read_parquet(workflow.directory / f"{STEM}_lightcurve.parquet")
    stem = workflow.directory / f"results/export_lightcurve/{LIGHT_CURVE}"
    shines = rows[~rows["in_baseline"]]
    table = Table.read(f"{stem}_sncosmo.ecsv")
    assert table["flux"] == pytest.approx(shines["flux_adu"])
    assert np.sqrt(np.diagonal(table["fluxcov"])) == pytest.approx(table["fluxerr"], rel=1e-5)
    assert set(table["band"]) == {"ztfr"}
    dr2 = pd.read_csv(f"{stem}_LC.csv", sep=r"\s+", comment="#")
    assert dr2["flux"].to_numpy() == pytest.approx(rows["probe_flux_adu"])
    assert (dr2["rcid"] == 50).all()
    assert list(dr2["in_baseline"].astype(bool)) == list(rows["in_baseline"])
    assert (dr2["flag"] & 1 == 0).all()
    _, names, *lines = Path(f"{stem}_forced.txt").read_text().splitlines()
    forced = pd.DataFrame([line.split() for line in lines], columns=names.split(", "))
    assert forced["forcediffimflux"].astype(float).to_numpy() == pytest.approx(dr2["flux"])
    assert (forced["jd"].astype(float) - 2400000.5).to_numpy() == pytest.approx(
        rows["mjd"] - 15 / 86400, abs=1e-8
    )
    assert set(forced["procstatus"]) == {"0"}


def test_second_run_and_new_target_begin_what_they_must(made: tuple[Workflow, Run]) -> None:
    """A target on other images touches nothing; one on these cuts this unit alone."""
    workflow, _ = made
    base = write_config(workflow.directory)
    again = workflow.dry_run("--configfile", base, targets=["report"])
    assert not set(again.jobs) & {*RULES, "plot_lightcurve"}, again.text
    assert f"results/plot_lightcurve/{LIGHT_CURVE}_lightcurve.png" in again.files
    head = "target,ra_deg,dec_deg,mjd_min,mjd_max,filters,colour_mag\n"
    target = make_target(EpochSettings(**SERIES))
    row = f"SIM1,58.0,35.75,{target.mjd_min!r},{target.mjd_max!r},zr,{target.colour_mag}\n"
    sheet = workflow.directory / "targets.csv"
    for more, jobs in (
        ("far,10.0,10.0,59000,59100,zr,\n", {}),
        ("near,58.01,35.76,59000,59100,zr,\n", {"cut_targets": 1, "extract_lightcurve": 1}),
    ):
        sheet.write_text(head + row + more)
        config = write_config(workflow.directory, targets="targets.csv")
        run = workflow.dry_run("--configfile", config, targets=[f"{STEM}_lightcurve.parquet"])
        assert run.jobs == jobs, run.text


def test_target_beside_the_images_is_one_sentence(made: tuple[Workflow, Run]) -> None:
    """On a quadrant of the field, but not on the part of it that was simulated."""
    results = made[0].directory / "results"
    images = list(pd.read_parquet(results / "simulate_epochs/truth.parquet")["image"])
    paths = [
        [f"{results}/simulate_epochs/{image}_{kind}.fits" for image in images] for kind in KINDS
    ]
    path = results / "beside_targets.fits"
    cut_targets(
        images=images,
        paths_to_sciimg=paths[0],
        paths_to_mskimg=paths[1],
        paths_to_varimg=[""] * len(images),
        path_to_targets=str(path),
        targets=[("beside", 58.2, 35.75)],
        size_px=21,
        bad_mask_bits=[],
        saturation_fraction=0.8,
        subtracted_sky=None,
        max_failed_fraction=0.0,
    )
    fit = f"{results}/fit_psf/gaussian/gauss_newton/{GROUP}_psf.fits"
    groups = Paths(
        [f"{results}/match_stars/{GROUP}_exposures.parquet"],
        [f"{results}/fit_maps/{GROUP}_maps.parquet"],
        [f"{results}/solve_ratios/{GROUP}_ratios.parquet"],
        [f"{results}/solve_ratios/{GROUP}_stars.parquet"],
        [str(path)],
        [f"{results}/cut_stamps/{GROUP}_stamps.fits"],
        [fit],
    )
    target = {
        "name": "beside", "ra_deg": 58.2, "dec_deg": 35.75, "mjd_min": 1.0, "mjd_max": 2.0,
        "colour_mag": None,
    }  # fmt: skip
    sentence = r"'beside' at RA 58\.20000, Dec 35\.75000 deg is on none of 8 images near it"
    with pytest.raises(InputError, match=sentence):
        observe(groups, target, 1.0, ["good", "usable"])


def test_stars_of_the_survey_calibrate(made: tuple[Workflow, Run]) -> None:
    """Those that solve_survey finds in this run: the same zero point, by other numbers."""
    workflow, _ = made
    folder = workflow.directory / "results"
    before = json.loads((workflow.directory / f"{STEM}_record.json").read_text())
    scene = {"n_stars": 15, "scene": {"host_radius_px": 7.0, "n_rounds": 3}}
    config = write_config(
        workflow.directory, extract_lightcurve={**scene, "survey": "results/solve_survey"}
    )
    run = workflow.run("--cores", "1", "--configfile", config, targets=[f"{STEM}_record.json"])
    assert run.returncode == 0, run.text
    assert run.jobs == dict.fromkeys(("collect_survey", "solve_survey", "extract_lightcurve"), 1)
    after = json.loads((workflow.directory / f"{STEM}_record.json").read_text())
    assert (before["zero_point"]["source"], after["zero_point"]["source"]) == (
        "catalogue", "survey",
    )  # fmt: skip
    stars = pd.read_parquet(folder / "solve_survey/zr_stars.parquet")
    assert stars["is_anchored"].mean() > 0.9
    difference = after["zero_point"]["zero_point_mag"] - before["zero_point"]["zero_point_mag"]
    assert 0 < abs(difference) < 0.01
