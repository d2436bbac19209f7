"""From raw frames to PSFs on a small simulated CCD, and the raw frames that are no good."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.io import fits
from astropy.time import Time
from workflow_copy import Run, Workflow
from ztfpsf.calibration.binned import read_binned
from ztfpsf.calibration.products import open_master
from ztfpsf.simulation.plan import detector_path

NY, NX = 300, 340
NIGHT = "20200924"
EXPOSURE = f"ztf_{NIGHT}300000_000655_zr"
CCD = f"{EXPOSURE}_c13_o"
FIT = "moffat/gauss_newton"
PHOTOMETRY = f"results/measure_photometry/{FIT}/{CCD}_photometry.parquet"
MASTERS = {
    "bias": f"results/make_master_bias/{NIGHT}/ztfpsf_{NIGHT}_000000_bi_c13_bias.fits",
    "flat": f"results/make_master_flat/{NIGHT}/ztfpsf_{NIGHT}_000000_zr_c13_flat.fits",
}
CONFIG = {
    "detector": {"quadrant_shape": [NY, NX]},
    "select_stars": {"isolation_arcsec": 10.0, "edge_px": 12},
    "cut_stamps": {"size_px": 21},
    "fit_psf": {"degree": 0},
    "simulate_raw": {
        "detector": {"ny": NY, "nx": NX},
        "sky": {"stars_per_quadrant": 60, "brightest_mag": 14.5, "faintest_mag": 18.0},
    },
}


def options(workflow: Workflow, **changes) -> tuple[str, ...]:
    (workflow.directory / "small.yaml").write_text(yaml.safe_dump(CONFIG | changes))
    files = [workflow.base / "config" / "simulation.yaml", workflow.directory / "small.yaml"]
    return (
        "--cores",
        "2",
        "--keep-going",
        "--configfile",
        *map(str, files),
        "--config",
        "device=cpu",
    )


@pytest.fixture(scope="module")
def done(module_workflow: Workflow) -> tuple[Workflow, Run]:
    targets = [f"results/compare_truth/{FIT}/{CCD}_truth.json", PHOTOMETRY]
    return module_workflow, module_workflow.run(*options(module_workflow), targets=targets)


def test_raw_frames_become_a_psf(done) -> None:
    workflow, run = done
    assert run.returncode == 0, run.text
    stars = pd.read_parquet(workflow.directory / f"results/fit_psf/{FIT}/{CCD}_stars.parquet")
    assert stars.groupby("image").size().min() >= 10
    assert stars["image"].nunique() == 4
    photometry = pd.read_parquet(workflow.directory / PHOTOMETRY)
    assert photometry["image"].nunique() == 4
    assert set(stars["star_id"]) <= set(photometry["star_id"])


def test_calibrated_images_close_on_the_truth(done) -> None:
    workflow, _ = done
    path = workflow.directory / f"results/compare_truth/{FIT}/{CCD}_truth.json"
    record = json.loads(path.read_text())
    for pixels in record["pixels"].values():
        assert pixels["n_pixels"] > 0.98 * NY * NX
        assert pixels["variance_ratio"] == pytest.approx(1, abs=0.03)
        # A level from 300 rows of overscan is good to 0.02 of the noise.
        assert abs(pixels["offset_sigma"]) < 0.06
    every = record["stars"][0]
    assert every["n"] > 60
    assert abs(every["x_bias_mpx"]) < 10
    assert every["x_pull_width"] == pytest.approx(1, abs=0.3)
    for psf in record["psf"].values():
        assert psf["l2_median"] < 0.08
        assert psf["shift_rms_px"] < 0.02


def test_masters_close_on_the_truth(done) -> None:
    workflow, _ = done
    for qid in (1, 2, 3, 4):
        path = workflow.directory / "results/simulate_raw" / detector_path(NIGHT, 13, qid)
        with fits.open(path) as hdus:
            bias, flat, bad = (hdus[name].data for name in ("BIAS", "FLAT", "BAD"))
        good = bad == 0
        with open_master(workflow.directory / MASTERS["bias"], "bias", 13) as master:
            header = master.hdus[f"Q{qid}"].header
            error = (master.rows(qid, 0, NY) - bias)[good]
            assert np.std(error) < 1.2 * header["NOISEADU"] / np.sqrt(header["NFRAMES"])
            # Cosmic rays leave no trace.
            hits = np.abs(error) > 6 * header["NOISEADU"] / np.sqrt(header["NFRAMES"])
            assert hits.sum() <= 2
        with open_master(workflow.directory / MASTERS["flat"], "flat", 13) as master:
            ratio = np.where(good, master.rows(qid, 0, NY) / flat, np.nan)
        blocks = ratio[: NY // 32 * 32, : NX // 32 * 32].reshape(NY // 32, 32, NX // 32, 32)
        medians = np.nanmedian(blocks, axis=(1, 3))
        np.testing.assert_allclose(medians / np.median(medians), 1, atol=1e-3)


def test_report_of_raw_frames(done) -> None:
    """Masters are shown; the first fit of the configuration is another one, and has not run."""
    workflow, _ = done
    run = workflow.run(*options(workflow), targets=["report"])
    assert run.returncode == 0, run.text
    assert (run.jobs["bin_masters"], run.jobs["plot_masters"]) == (2, 2)
    assert "fit_psf" not in run.jobs
    results = workflow.directory / "results"
    # The level of the bias without its overscan, and the response relative to the focal plane.
    for kind, light, level, error in (("bias", "bi", 0.0, 1.0), ("flat", "zr", 1.0, 0.1)):
        stem = f"{NIGHT}/ztfpsf_{NIGHT}_000000_{light}_{kind}"
        assert (results / "plot_masters" / f"{stem}.png").stat().st_size > 20_000
        quadrants = read_binned(results / "bin_masters" / f"{stem}.fits").quadrants
        assert list(quadrants["qid"]) == [1, 2, 3, 4]
        assert (quadrants["status"] == "ok").all()
        assert quadrants["median"].to_numpy() == pytest.approx(level, abs=error)
    images = pd.read_parquet(results / "summarise_run" / "images.parquet")
    assert list(images["failed_rule"]) == ["fit_psf"] * 4
    assert (images["n_selected"] >= 10).all()


def test_calibrated_images_are_removed_and_missed_by_nobody(done) -> None:
    workflow, _ = done
    folder = workflow.directory / "results" / "calibrate_science" / EXPOSURE
    assert [path.name for path in folder.iterdir()] == [f"{CCD}_status.json"]
    targets = [f"results/cut_stamps/{CCD}_stamps.fits", PHOTOMETRY]
    run = workflow.dry_run(*options(workflow), targets=targets)
    assert "Nothing to be done" in run.text


def test_target_named_after_one_image_is_made_from_raw_frames(done) -> None:
    workflow, _ = done
    target = f"results/fit_psf/{FIT}/{CCD}_q3_stars.parquet"
    run = workflow.dry_run(*options(workflow), targets=[target])
    rules = ("calibrate_science", "select_stars", "cut_stamps", "measure_pocket", "fit_psf")
    jobs = dict.fromkeys(rules, 1)
    assert run.jobs == jobs, run.text
    whole = workflow.dry_run(*options(workflow), "--forceall", targets=[target])
    masters = dict.fromkeys(("make_master_bias", "make_master_flat", "normalise_flats"), 1)
    assert whole.jobs == {"simulate_raw": 1, **masters, **jobs}, whole.text


def test_period_masters_take_the_place_of_daily_ones(done) -> None:
    workflow, _ = done
    changes = {"make_period_master": {"periods": ["20200901-20200930"]}}
    target = f"results/cut_stamps/{CCD}_q1_stamps.fits"
    run = workflow.dry_run(*options(workflow, **changes), targets=[target])
    assert run.jobs["make_period_master"] == 2, run.text
    period = "results/make_period_master/20200901-20200930/ztfpsf_20200901-20200930_000000"
    assert {f"{period}_bi_c13_bias.fits", f"{period}_zr_c13_flat.fits"} <= run.files


def test_period_master_of_a_night_taken_twice_is_that_of_the_night(done) -> None:
    workflow, _ = done
    raw = workflow.directory / "results" / "simulate_raw"
    paths = [raw / path for path in pd.read_csv(raw / "frames.csv")["path"]]
    paths = [path for path in paths if "_bi_" in path.name]
    for path in list(paths):
        copy = workflow.directory / path.name.replace(NIGHT, "20200925")
        shutil.copy(path, copy)
        with fits.open(copy, mode="update", disable_image_compression=True) as hdus:
            for card in {"OBSMJD", "OBSJD"} & set(hdus[0].header):
                hdus[0].header[card] += 1.0
        paths.append(copy)
    (workflow.directory / "biases.csv").write_text("\n".join(["path", *map(str, paths), ""]))
    changes = {
        "frames": "biases.csv",
        "make_period_master": {"periods": ["20200901-20200930"], "min_frames": 2},
    }
    period = "20200901-20200930/ztfpsf_20200901-20200930_000000_bi_c13_bias.fits"
    target = f"results/make_period_master/{period}"
    run = workflow.run(*options(workflow, **changes), targets=[target])
    assert run.returncode == 0, run.text
    with (
        open_master(workflow.directory / target, "bias", 13) as both,
        open_master(workflow.directory / MASTERS["bias"], "bias", 13) as night,
    ):
        rows = [master.rows(2, 0, NY) for master in (both, night)]
        assert both.hdus["Q2"].header["NFRAMES"] == 2
    np.testing.assert_allclose(*rows, rtol=1e-5)
    assert np.isfinite(rows[0]).mean() > 0.98


def without_hdu(hdus: fits.HDUList) -> None:
    del hdus[3]


def all_saturated(hdus: fits.HDUList) -> None:
    for hdu in hdus[1:5]:
        hdu.data[:] = 65535


def dead_amplifier(hdus: fits.HDUList) -> None:
    hdus[2].data[:] = 100


def as_it_is(hdus: fits.HDUList) -> None:
    pass


# Name of the exposure, what is done to it, and the reason that its quadrant 2 must get.
BAD = {
    "no bias": ("ztf_20200101300000_000655_zr", as_it_is, "no night with 5 bias frames of CCD 13"),
    "no flat": ("ztf_20200924310000_000655_zg", as_it_is, "no night with 3 zg flats of CCD 13"),
    "no quadrant": ("ztf_20200924320000_000655_zr", without_hdu, "holds 8 HDUs instead of 9"),
    "saturated": ("ztf_20200924330000_000655_zr", all_saturated, "most pixels are saturated"),
    "dead": ("ztf_20200924340000_000655_zr", dead_amplifier, "dead amplifier"),
}


def rename(header: fits.Header, exposure: str) -> None:
    """Give the header the time and the filter of an exposure's name."""
    day, fraction = exposure.split("_")[1][:8], exposure.split("_")[1][8:]
    header["OBSMJD"] = Time(f"{day[:4]}-{day[4:6]}-{day[6:]}").mjd + int(fraction) / 1e6
    header["OBSJD"] = header["OBSMJD"] + 2_400_000.5
    header["FILTER"] = f"ZTF_{exposure[-1]}"


def copy_headers(root: Path, exposure: str) -> None:
    """Give an exposure the headers of IPAC that the simulated one has."""
    for path in list(root.rglob(f"{CCD}_q*")):
        name = path.name.replace(EXPOSURE, exposure)
        copy = path.parents[1] / exposure[12:18] / name
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)


def quadrant(exposure: str, qid: int) -> str:
    return f"results/select_stars/{exposure}_c13_o_q{qid}_counts.json"


@pytest.fixture(scope="module")
def disturbed(done) -> tuple[Workflow, Run]:
    """The night's frames, with exposures that cannot be calibrated, or not all of them."""
    workflow, _ = done
    night = workflow.directory / "results" / "simulate_raw"
    paths = [str(night / path) for path in pd.read_csv(night / "frames.csv")["path"]]
    source = paths[-1]
    for exposure, disturb, _ in BAD.values():
        path = workflow.directory / f"{exposure}_c13_o.fits.fz"
        with fits.open(source) as hdus:
            rename(hdus[0].header, exposure)
            disturb(hdus)
            hdus.writeto(path)
        paths.append(str(path))
    copy_headers(night / "sci", BAD["dead"][0])
    sheet = workflow.directory / "frames.csv"
    sheet.write_text("\n".join(["path", *paths, ""]))
    changes = {"frames": "frames.csv"}
    targets = [quadrant(exposure, 2) for exposure, _, _ in BAD.values()]
    targets += [quadrant(EXPOSURE, 2), quadrant(BAD["dead"][0], 1)]
    return workflow, workflow.run(*options(workflow, **changes), targets=targets)


@pytest.mark.parametrize("case", BAD)
def test_bad_raw_frame_fails_alone_with_its_reason(disturbed, case: str) -> None:
    workflow, run = disturbed
    exposure, _, reason = BAD[case]
    assert run.returncode == 1
    assert not (workflow.directory / quadrant(exposure, 2)).exists()
    logs = workflow.directory / "logs"
    log = logs / "calibrate_science" / f"{exposure}_c13_o.log"
    if case == "dead":
        log = logs / "select_stars" / f"{exposure}_c13_o_q2.log"
    errors = [line for line in log.read_text().splitlines() if " ERROR " in line]
    assert len(errors) == 1, log.read_text()
    assert reason in errors[0]
    assert "Traceback" not in log.read_text()


def test_the_others_are_finished(disturbed) -> None:
    workflow, run = disturbed
    for exposure, qid in ((EXPOSURE, 2), (BAD["dead"][0], 1)):
        counts = json.loads(Path(workflow.directory / quadrant(exposure, qid)).read_text())
        assert counts[f"{exposure}_c13_o_q{qid}"]["kept"] >= 10, run.text
