"""The rule time_fits: curves that stop in time, a table and a picture."""

import jax
import numpy as np
import pandas as pd
import pytest
from time_fits import time_fits
from ztfpsf.io import read_provenance
from ztfpsf.psf.clock import Clock
from ztfpsf.psf.models import get_model
from ztfpsf.psf.optimisers import Solution, gauss_newton
from ztfpsf.psf.running import timing
from ztfpsf.psf.solution.judgement import EDM_TOLERANCE, judge

SETTINGS = {
    "model": "gaussian",
    "degree": 0,
    "size_px": 11,
    "n_stars": [10, 30],
    "repeats": 2,
    "limit_s": 60.0,
}


def test_table_and_picture(tmp_path) -> None:
    table, picture = tmp_path / "seconds.parquet", tmp_path / "seconds.png"
    time_fits(
        path_to_table=str(table),
        path_to_picture=str(picture),
        settings=SETTINGS,
        options={"gauss_newton": {"niter": 20, "tol": 1e-3}, "scipy": {"niter": 50}},
        device="cpu",
    )
    times = pd.read_parquet(table)
    assert times[["optimiser", "n_stars"]].to_numpy().tolist() == [
        ["gauss_newton", 10],
        ["gauss_newton", 30],
        ["scipy", 10],
        ["scipy", 30],
    ]
    assert (times["status"] == "ok").all()
    assert (times["seconds"] > 0).all()
    assert (times["n_repeats"] == 2).all()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert read_provenance(table)["settings"]["n_stars"] == [10, 30]


def test_a_slow_optimiser_stops_early(monkeypatch) -> None:
    """A fit of one second for every ten stars."""

    def pretend(solver, problem):
        n = problem.stars.data.shape[1]
        return Clock(total_s=n / 10 + 3, compile_s=3.0), Solution(None, None, np.array([4]))

    monkeypatch.setattr(timing, "time_once", pretend)
    settings = SETTINGS | {"n_stars": [10, 20, 40, 200, 1000], "limit_s": 45.0}
    device = jax.devices("cpu")[0]
    curve = list(timing.time_optimiser("gauss_newton", {}, get_model("gaussian"), settings, device))
    # Three times 1, 2 and 4 s leave 24 s; 20 s are more than a tenth of the limit.
    assert [point.n_stars for point in curve] == [10, 20, 40, 200, 1000]
    np.testing.assert_allclose([point.seconds for point in curve], [1, 2, 4, 20, np.nan])
    assert [point.n_repeats for point in curve] == [2, 2, 2, 1, 0]
    assert curve[-1].status == "not tried: 200 stars took 20 s"


@pytest.mark.parametrize("degree", [0, 2])
def test_timed_fits_reach_the_minimum(degree: int) -> None:
    problem = timing.make_stars(get_model("gaussian"), 40, 13, degree, jax.devices("cpu")[0])
    solution = gauss_newton.minimise(problem, gauss_newton.Options())
    assert float(judge(problem, solution).edm[0]) < EDM_TOLERANCE
    # Weights are the true ones: chi2 per pixel is 1 within its scatter.
    loss = np.asarray(solution.loss_history[0])
    chi2 = 2 * loss[np.isfinite(loss)][-1] / (40 * (13**2 - 4))
    assert chi2 == pytest.approx(1.0, abs=5 * np.sqrt(2 / (40 * 13**2)))
