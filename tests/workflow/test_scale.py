"""A heavy night: an image sheet of 64,000 rows."""

import itertools

import pytest
from workflow_copy import Workflow

N_EXPOSURES = 1000
ONE_FIT = """
unit: exposure
images: images.csv
compare_fits: {fits: [{model: moffat, optimiser: gauss_newton}]}
"""


@pytest.fixture(scope="module")
def night(module_workflow: Workflow) -> Workflow:
    """1000 exposures of 64 quadrants."""
    rows = []
    for i in range(N_EXPOSURES):
        exposure = f"ztf_20200924{100 + i:06d}_{i:06d}_zr"
        (module_workflow.directory / exposure).mkdir()
        for ccdid, qid in itertools.product(range(1, 17), range(1, 5)):
            image = f"{exposure}_c{ccdid:02d}_o_q{qid}"
            paths = [f"{exposure}/{image}_{product}.fits" for product in ("sciimg", "mskimg")]
            for path in paths:
                (module_workflow.directory / path).touch()
            rows.append(f"{image},{','.join(paths)},")
    module_workflow.write_sheet(rows)
    (module_workflow.directory / "night.yaml").write_text(ONE_FIT)
    return module_workflow


@pytest.mark.slow
def test_dry_run_of_a_night(night: Workflow) -> None:
    run = night.dry_run("--quiet", "rules", "--configfile", str(night.directory / "night.yaml"))
    per_exposure = (
        "select_stars",
        "cut_stamps",
        "measure_pocket",
        "plot_pocket",
        "fit_psf",
        "measure_photometry",
        "plot_psf",
        "validate_psf",
        "compare_fits",
    )
    assert run.jobs == {**dict.fromkeys(per_exposure, N_EXPOSURES), "all": 1}, run.text
    # Under 30 on an idle core; more where others compute, too.
    assert run.cpu_s < 45


def test_one_image_of_a_night(night: Workflow) -> None:
    target = "results/cut_stamps/ztf_20200924000500_000400_zr_c16_o_q4_stamps.fits"
    run = night.dry_run("--configfile", str(night.directory / "night.yaml"), targets=[target])
    assert run.jobs == {"select_stars": 1, "cut_stamps": 1}, run.text
    assert run.cpu_s < 5
