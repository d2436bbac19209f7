"""The model and the optimiser of docs/extending.md, each one file in a copy of the tree."""

import re
import subprocess
import sys

import pandas as pd
import pytest
from quadrants import make_scene, write_scene
from small_run import CONFIG, GOOD
from workflow_copy import ROOT, TWO_FITS, Run, Workflow, copy_workflow

EXAMPLES = ROOT / "tests" / "examples"
FIT = "fit_psf/lorentzian/lbfgs"
FITS = """
fit_psf: {degree: 0}
compare_fits:
  fits:
    - {model: lorentzian, optimiser: lbfgs}
"""
WITH_EXAMPLES = CONFIG.replace(TWO_FITS, FITS)
CONTRACTS = ("test_psf_models.py", "test_psf_contract.py", "test_psf_optimisers.py")
N_CONTRACTS = 9


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    folder = tmp_path_factory.mktemp("extended")
    workflow = copy_workflow(folder / "workflow", folder / "run")
    for kind, name in (("models", "lorentzian"), ("optimisers", "lbfgs")):
        text = (EXAMPLES / kind / f"{name}.py").read_text()
        (workflow.base / "scripts" / "ztfpsf" / "psf" / kind / f"{name}.py").write_text(text)
    return workflow


@pytest.fixture(scope="module")
def run(extended: Workflow) -> Run:
    image, mask = write_scene(make_scene(seed=3), extended.directory, GOOD)
    sheet = extended.write_sheet([f"{GOOD},{image},{mask},"])
    config = extended.directory / "config.yaml"
    config.write_text(WITH_EXAMPLES)
    return extended.run("--cores", "2", "--configfile", str(config), "--config", sheet)


def test_the_whole_chain_runs_with_them(extended: Workflow, run: Run) -> None:
    assert run.returncode == 0, run.text
    results = extended.directory / "results"
    row = pd.read_parquet(results / FIT / f"{GOOD}_images.parquet").iloc[0]
    assert row["status"] == "ok"
    # The scene's stars are Gaussians, wider in the core than a Lorentzian with their wings.
    assert 1.0 < row["fwhm_px"] < 0.9 * 2.3548
    assert 0.0 < row["fwhm_error_px"] < 0.1
    assert not {"e1", "alpha"} & set(row.index)
    made = {path.name for path in results.rglob(f"{GOOD}_*") if "lorentzian" in str(path)}
    assert {
        f"{GOOD}_photometry.parquet",
        f"{GOOD}_residuals.png",
        f"{GOOD}_validation.png",
    } <= made


def test_they_keep_the_contracts(extended: Workflow) -> None:
    """Tests of this tree over the files of the copy."""
    tests = ROOT / "tests"
    paths = [extended.base / "scripts", tests / "helpers"]
    options = ["-q", "-n", "0", "-p", "no:cacheprovider", "-k", "lorentzian or (lbfgs and moffat)"]
    command = [sys.executable, "-m", "pytest", "-c", tests / "pytest.ini", *options]
    command += ["-o", "pythonpath=" + " ".join(map(str, paths))]
    files = [tests / name for name in CONTRACTS]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (n_passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(n_passed) >= N_CONTRACTS
