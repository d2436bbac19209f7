"""`make bench-gpu` where there is nothing but JAX, NumPy, SciPy and pandas, and no GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The rest of the environment is hidden.
HIDE = """
import runpy, sys
hidden = ["absl", "astropy", "galsim", "matplotlib", "optax", "pyarrow", "sep", "snakemake"]
sys.modules |= dict.fromkeys([*hidden, "threadpoolctl", "treecorr", "yaml"])
sys.argv = sys.argv[1:]
sys.path.insert(0, "tests/bench/gpu")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_short_form_needs_nothing_but_jax_scipy_and_pandas(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    script = "tests/bench/gpu/bench_gpu.py"
    environment = os.environ | {"PYTHONPATH": "scripts:tests/bench/psf", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", HIDE, script, str(path), "--short"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(path.read_text())
    names = [one["name"] for one in figures["checks"]]
    assert names == [
        "gaussian by gauss_newton",
        "gaussian, one image of four",
        "gaussian, the last of 4 images",
        "photometry, PSFs and derivatives",
    ]
    assert all(one["difference"] <= one["limit"] for one in figures["checks"])
    (rate,) = figures["rates"]
    assert rate["images_s"] > 0
    assert 0 < rate["floor_s"] < rate["optimiser_s"]
    (timing,) = figures["optimisers"]
    assert (timing["optimiser"], timing["n_stars"], timing["status"]) == ("gauss_newton", 10, "ok")
    # The tables of the document.
    assert "| gaussian | 20 | 1 |" in done.stdout
    assert "| gauss_newton | cpu |" in done.stdout
