"""What a dry run plans for each target."""

import json

import pytest
import yaml
from workflow_copy import COMPARE, EXPOSURE, QUADRANT, ROOT, Run, Workflow

COMPARISONS = yaml.safe_load((ROOT / "config" / "compare.yaml").read_text())
FITS = COMPARISONS["compare_fits"]["fits"]
N_MODELS = len({fit["model"] for fit in FITS})
FIT = f"results/fit_psf/moffat/gauss_newton/{QUADRANT}"
PLOT = f"results/plot_psf/moffat/gauss_newton/{QUADRANT}"
VALIDATION = f"results/validate_psf/moffat/gauss_newton/{QUADRANT}"
PHOTOMETRY = f"results/measure_photometry/moffat/gauss_newton/{QUADRANT}"
EXPORT = f"results/export_psf/moffat/gauss_newton/{QUADRANT}"
COMPARISON = f"results/compare_fits/{QUADRANT}"
STARS = {"fetch_sample": 1, "select_stars": 1}
STAMPS = {**STARS, "cut_stamps": 1}
POCKET = {"measure_pocket": 1, "plot_pocket": 1}
EXPORT_JOBS = {**STAMPS, "measure_pocket": 1, "fit_psf": 1, "export_psf": 1}


def test_lint(workflow: Workflow) -> None:
    run = workflow.run("--lint")
    assert run.returncode == 0, run.text


def test_no_target_is_one_fit_of_every_image(workflow: Workflow) -> None:
    run = workflow.dry_run()
    once = ("fit_psf", "plot_psf", "validate_psf", "measure_photometry", "compare_fits", "all")
    assert run.jobs == {**STAMPS, **POCKET, **dict.fromkeys(once, 1)}, run.text
    assert f"results/fit_psf/moffat_grid/gauss_newton/{QUADRANT}_psf.fits" in run.files


def test_comparison_makes_all_fits_and_draws_each_model(workflow: Workflow) -> None:
    run = workflow.dry_run(*COMPARE)
    assert run.jobs == {
        **STAMPS,
        **POCKET,
        "fit_psf": len(FITS),
        "plot_psf": N_MODELS,
        "validate_psf": N_MODELS,
        "measure_photometry": 1,
        "compare_fits": 1,
        "all": 1,
    }, run.text


def test_minimal_configuration(workflow: Workflow) -> None:
    run = workflow.dry_run("--configfile", str(workflow.base / "config" / "minimal.yaml"))
    once = ("measure_photometry", "plot_psf", "validate_psf", "compare_fits", "all")
    assert run.jobs == {**STAMPS, **POCKET, "fit_psf": 2, **dict.fromkeys(once, 1)}


@pytest.mark.parametrize(
    ("targets", "jobs"),
    [
        ([f"results/fetch_sample/{QUADRANT}_mskimg.fits"], {"fetch_sample": 1}),
        ([f"results/select_stars/{QUADRANT}_{x}" for x in ("stars.parquet", "counts.json")], STARS),
        ([f"results/cut_stamps/{QUADRANT}_stamps.fits"], STAMPS),
        (
            [
                f"{FIT}_{x}"
                for x in ("stars.parquet", "images.parquet", "history.parquet", "psf.fits")
            ],
            {**STAMPS, "measure_pocket": 1, "fit_psf": 1},
        ),
        (
            [f"{PHOTOMETRY}_{x}" for x in ("photometry.parquet", "images.parquet", "residual.png")],
            {**STAMPS, "measure_pocket": 1, "fit_psf": 1, "measure_photometry": 1},
        ),
        (
            [f"{PLOT}_{x}.png" for x in ("residuals", "chi2", "star")],
            {**STAMPS, "measure_pocket": 1, "fit_psf": 1, "plot_psf": 1},
        ),
        ([f"results/time_fits/fits_seconds.{x}" for x in ("parquet", "png")], {"time_fits": 1}),
        ([f"{EXPORT}_{x}" for x in ("psfex.psf", "oversampled.fits")], EXPORT_JOBS),
        (
            [
                f"{VALIDATION}_{x}"
                for x in (
                    "images.parquet",
                    "stars.parquet",
                    "rho.parquet",
                    "validation.png",
                    "validation.txt",
                )
            ],
            {**STAMPS, "measure_pocket": 1, "fit_psf": 1, "validate_psf": 1},
        ),
        (
            [
                f"{COMPARISON}_{x}"
                for x in ("parameters.csv", "parameters.md", "loss.png", "summary.txt")
            ],
            {**STAMPS, "measure_pocket": 1, "fit_psf": 1, "compare_fits": 1},
        ),
    ],
    ids=lambda value: value[0].split("/")[1] if isinstance(value, list) else "",
)
def test_named_file_plans_its_branch_only(
    workflow: Workflow, targets: list[str], jobs: dict[str, int]
) -> None:
    run = workflow.dry_run(targets=targets)
    assert run.jobs == jobs, run.text


def test_report_of_two_nights_begins_nothing_that_is_not_there(workflow: Workflow) -> None:
    """Masters are compared with those of the night before; no image is begun."""
    names, masters = [], []
    for night in ("20200923", "20200924"):
        names += [f"ztf_{night}0{k}0000_000000_bi_c01_b.fits.fz" for k in range(5)]
        names.append(f"ztf_{night}300000_000655_zr_c01_o.fits.fz")
        masters.append(f"results/make_master_bias/{night}/ztfpsf_{night}_000000_bi_c01_bias.fits")
    for path in (*names, *masters):
        file = workflow.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (workflow.directory / "frames.csv").write_text("\n".join(["path", *names, ""]))
    run = workflow.dry_run("--config", "images=", "frames=frames.csv", targets=["report"])
    once = dict.fromkeys(("summarise_run", "plot_run", "index_products", "report"), 1)
    assert run.jobs == {**once, "bin_masters": 2, "plot_masters": 2}, run.text
    assert binned("results", "20200923") in late_inputs(run)
    # A night alone, and the results of another one in another directory.
    (workflow.directory / masters[0]).unlink()
    other = workflow.directory / binned("other", "20200922")
    other.parent.mkdir(parents=True)
    other.touch()
    earlier = ("report={earlier_results: other}", "images=", "frames=frames.csv")
    run = workflow.dry_run("--config", *earlier, targets=["report"])
    assert run.jobs["plot_masters"] == 1, run.text
    assert binned("other", "20200922") in late_inputs(run)


def binned(root: str, night: str) -> str:
    return f"{root}/bin_masters/{night}/ztfpsf_{night}_000000_bi_bias.fits"


def late_inputs(run: Run) -> str:
    """Input of the picture of the later of two nights."""
    blocks = run.text.split("\nrule ")
    late = next(block for block in blocks if "output: results/plot_masters/20200924" in block)
    return late.partition("output:")[0]


def test_named_unit_of_the_report_must_be_there(workflow: Workflow) -> None:
    run = workflow.dry_run("--config", f"report={{units: [{EXPOSURE}_c01_o]}}")
    assert run.returncode == 1
    assert "no image of" in run.text.rstrip().splitlines()[-1]


def test_own_files_fetch_nothing(workflow: Workflow) -> None:
    sheet = workflow.write_sheet(workflow.write_images([QUADRANT]))
    run = workflow.dry_run("--config", sheet, targets=[f"{FIT}_psf.fits"])
    jobs = dict.fromkeys(("select_stars", "cut_stamps", "measure_pocket", "fit_psf"), 1)
    assert run.jobs == jobs, run.text
    assert {f"{QUADRANT}_sciimg.fits", f"{QUADRANT}_mskimg.fits"} <= run.files


@pytest.mark.parametrize(
    ("unit", "n_jobs"),
    [("exposure", 1), ("ccd", 2), ("quadrant", 3), ("group", 3), ("batch", 1)],
)
def test_unit_decides_how_many_images_a_job_takes(
    workflow: Workflow, unit: str, n_jobs: int
) -> None:
    images = [f"{EXPOSURE}_c{name}" for name in ("01_o_q1", "01_o_q2", "11_o_q1")]
    sheet = workflow.write_sheet(workflow.write_images(images))
    run = workflow.dry_run("--config", sheet, f"unit={unit}")
    assert run.jobs["select_stars"] == run.jobs["compare_fits"] == n_jobs, run.text
    assert {f"{image}_mskimg.fits" for image in images} <= run.files


@pytest.mark.parametrize(
    ("unit", "name"),
    [("group", f"ztf{QUADRANT[18:]}"), ("batch", "ztf_20000101000000-20991231999999")],
)
def test_one_job_takes_images_of_many_exposures(workflow: Workflow, unit: str, name: str) -> None:
    later = [f"ztf_2021010{day}431759{QUADRANT[18:]}" for day in (1, 2)]
    images = [QUADRANT, *later]
    sheet = workflow.write_sheet(workflow.write_images(images))
    run = workflow.dry_run("--config", sheet, f"unit={unit}")
    assert run.jobs["select_stars"] == run.jobs["measure_photometry"] == 1, run.text
    assert {f"{image}_mskimg.fits" for image in images} <= run.files
    assert f"results/cut_stamps/{name}_stamps.fits" in run.files
    # One of them alone is a target all the same.
    target = f"results/cut_stamps/{later[0]}_stamps.fits"
    run = workflow.dry_run("--config", sheet, f"unit={unit}", targets=[target])
    assert run.jobs == {"select_stars": 1, "cut_stamps": 1}, run.text
    assert f"{QUADRANT}_sciimg.fits" not in run.files


def test_named_quadrant_of_an_exposure(workflow: Workflow) -> None:
    images = [f"{EXPOSURE}_c01_o_q{qid}" for qid in (1, 2)]
    sheet = workflow.write_sheet(workflow.write_images(images))
    target = f"results/cut_stamps/{images[1]}_stamps.fits"
    run = workflow.dry_run("--config", sheet, "unit=exposure", targets=[target])
    assert run.jobs == {"select_stars": 1, "cut_stamps": 1}
    assert f"{images[0]}_sciimg.fits" not in run.files


def test_directory_and_no_mask(workflow: Workflow) -> None:
    folder = workflow.directory / "night" / "000001"
    folder.mkdir(parents=True)
    (folder / f"{QUADRANT}_sciimg.fits.fz").touch()
    run = workflow.dry_run("--config", workflow.write_sheet([",night,,"]))
    assert run.jobs["select_stars"] == 1, run.text
    assert f"night/000001/{QUADRANT}_sciimg.fits.fz" in run.files
    assert not any("mskimg" in file for file in run.files)


def test_catalogue_table_is_an_input(workflow: Workflow) -> None:
    workflow.write_images([QUADRANT])
    (workflow.directory / "own.csv").touch()
    (workflow.directory / "all.csv").touch()
    target = [f"results/select_stars/{QUADRANT}_stars.parquet"]
    config = workflow.directory / "table.yaml"
    config.write_text(json.dumps({"catalogue": {"kind": "table", "path": "all.csv"}}))
    for cell, expected in (("", "all.csv"), ("own.csv", "own.csv")):
        sheet = workflow.write_sheet([f"{QUADRANT},{QUADRANT}_sciimg.fits,,{cell}"])
        run = workflow.dry_run("--configfile", str(config), "--config", sheet, targets=target)
        assert {file for file in run.files if file.endswith(".csv")} == {expected}, run.text


def test_numbers_on_the_command_line(workflow: Workflow) -> None:
    optimisers = "fit_psf={optimisers: {scipy: {tol: 1e-8}}}"
    run = workflow.dry_run("--config", "cut_stamps={size_px: 17}", optimisers)
    assert run.returncode == 0, run.text


@pytest.mark.parametrize(
    ("options", "target", "sentence"),
    [
        (
            ["--config", "unti=ccd"],
            "",
            "there is no key 'unti' (did you mean 'unit'?)",
        ),
        ([], f"results/cut_stamps/{EXPOSURE}_c01_o_stamps.fits", "no image of"),
        ([], f"results/fit_psf/mofat/adam/{QUADRANT}_psf.fits", "did you mean 'moffat'?"),
        ([], f"results/fit_psf/moffat/lbfgs/{QUADRANT}_psf.fits", "no optimiser 'lbfgs'"),
        (["--config", "images="], "", "there are no images; name an image sheet"),
        (["--config", "images=none.csv"], "", "Error: none.csv: no such image sheet"),
    ],
)
def test_bad_input_ends_with_one_sentence(
    workflow: Workflow, options: list[str], target: str, sentence: str
) -> None:
    run = workflow.dry_run(*options, targets=[target] if target else [])
    assert run.returncode == 1
    last_line = run.text.rstrip().splitlines()[-1]
    assert last_line.startswith("Error: "), run.text
    assert sentence in last_line
    assert "Traceback" not in run.text


def test_missing_files_are_left_to_the_scripts(workflow: Workflow) -> None:
    good, lost = (f"{EXPOSURE}_c01_o_q{qid}" for qid in (1, 2))
    rows = workflow.write_images([good])
    # Below results/, too: no rule makes this file.
    rows.append(f"{lost},results/fetch_sample/lost_sciimg.fits,lost_mskimg.fits,lost.csv")
    run = workflow.dry_run("--config", workflow.write_sheet(rows))
    assert run.returncode == 0, run.text
    assert run.jobs["select_stars"] == run.jobs["compare_fits"] == 2
    assert f"{good}_sciimg.fits" in run.files
    assert not any("lost" in file for file in run.files)


@pytest.mark.parametrize("folder", ["d{x}", "d<x>", "d'x", "d x"])
def test_paths_that_are_patterns_to_snakemake_are_left_to_the_scripts(
    workflow: Workflow, folder: str
) -> None:
    (workflow.directory / folder).mkdir()
    path = f"{folder}/{QUADRANT}_sciimg.fits"
    (workflow.directory / path).touch()
    target = f"results/cut_stamps/{QUADRANT}_stamps.fits"
    sheet = workflow.write_sheet([f"{QUADRANT},{path},,"])
    run = workflow.dry_run("--config", sheet, targets=[target])
    assert run.jobs == {"select_stars": 1, "cut_stamps": 1}, run.text


def test_missing_raw_frames_are_left_to_the_scripts(workflow: Workflow) -> None:
    names = [f"ztf_202009240{k}0000_000000_bi_c01_b.fits.fz" for k in range(5)]
    names += [f"ztf_202009241{k}0000_000000_zr_c01_f.fits.fz" for k in range(3)]
    lost = [names[1], names[6], "ztf_20200924310000_000655_zr_c01_o.fits.fz"]
    for name in (*names, "ztf_20200924300000_000655_zr_c01_o.fits.fz"):
        if name not in lost:
            (workflow.directory / name).touch()
    names += ["ztf_20200924300000_000655_zr_c01_o.fits.fz", lost[-1]]
    (workflow.directory / "frames.csv").write_text("\n".join(["path", *names, ""]))
    options = ("make_master_bias={n_skip: 0}", "images=", "frames=frames.csv", "unit=ccd")
    run = workflow.dry_run("--config", *options)
    assert run.returncode == 0, run.text
    assert (run.jobs["make_master_bias"], run.jobs["make_master_flat"]) == (1, 1)
    assert run.jobs["calibrate_science"] == run.jobs["select_stars"] == 2
    assert names[0] in run.files
    assert not set(lost) & run.files


def test_target_is_cut_from_the_images_that_may_hold_it(workflow: Workflow) -> None:
    """Quadrant 3 of CCD 13 and its neighbours; images of other quadrants are not looked at."""
    held = [
        QUADRANT,
        f"ztf_20201010431759{QUADRANT[18:]}",
        f"ztf_20200924431759_000990_zr{QUADRANT[28:]}",
    ]
    others = [f"{EXPOSURE}_c13_o_q1", f"{EXPOSURE}_c01_o_q3", QUADRANT.replace("_zr_", "_zg_")]
    sheet = workflow.write_sheet(workflow.write_images(held + others))
    head = "target,ra_deg,dec_deg,mjd_min,mjd_max,filters"
    rows = ["SN1,57.9974,35.7463,59100,59200,zr", "SN2,10,10,59100,59200,", "bad,nan,1,1,2,"]
    (workflow.directory / "targets.csv").write_text("\n".join([head, *rows, ""]))
    options = ("--config", sheet, "targets=targets.csv", "unit=exposure")
    for unit, n_images in (("ztf_20200924431759_000655_zr", 1), (held[1], 1), (held[2], 1)):
        target = f"results/cut_targets/{unit}_targets.fits"
        run = workflow.dry_run(*options, targets=[target])
        assert run.jobs == {"cut_targets": 1}, run.text
        assert len([file for file in run.files if file.endswith("_sciimg.fits")]) == n_images
    assert not any(other in file for file in run.files for other in others)
