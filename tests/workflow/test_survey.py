"""From a simulated survey to its zero points and their pictures."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from workflow_copy import Run, Workflow

SIMULATION = {
    "ra_deg": [100.0, 118.0],
    "dec_deg": [10.0, 28.0],
    "visits": 6.0,
    "stars_deg2": 6.0,
    "superpixels": 3,
}
CONFIG = {
    "collect_survey": {"dataset": "simulate_survey"},
    "simulate_survey": SIMULATION,
    "solve_survey": {"star_flat": {"superpixels": 3}, "airmass_prior_mag": 0.0},
}
PICTURES = ("zeropoints", "starflat", "residuals", "fields")


@pytest.fixture(scope="module")
def made(module_workflow: Workflow) -> tuple[Workflow, Run]:
    """The pictures of a filter, and all before them."""
    path = module_workflow.directory / "survey.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    run = module_workflow.run(
        *("--cores", "1", "--scheduler", "greedy", "--configfile", str(path)),
        targets=["results/plot_survey/zr_zeropoints.png"],
    )
    assert run.returncode == 0, run.text
    return module_workflow, run


def test_only_rules_of_the_survey_run(made: tuple[Workflow, Run]) -> None:
    workflow, run = made
    assert run.jobs == {"simulate_survey": 1, "solve_survey": 1, "plot_survey": 1}
    for name in PICTURES:
        assert (workflow.directory / f"results/plot_survey/zr_{name}.png").stat().st_size > 10_000


def test_zero_points_are_true_within_their_errors(made: tuple[Workflow, Run]) -> None:
    folder = made[0].directory / "results"
    table = pd.read_parquet(folder / "solve_survey/zr_zeropoints.parquet").set_index("name")
    truth = pd.read_parquet(folder / "simulate_survey/zr_truth.parquet").set_index("name")
    good = table[table["status"] == "ok"]
    assert len(good) > 0.9 * len(truth)
    difference = good["zero_point_mag"] + truth["zero_point_mag"].loc[good.index]
    # Without a catalogue their mean is not known.
    pulls = (difference - difference.mean()) / good["zero_point_error_mag"]
    # One gradient across the sky, the weakest mode, is most of their error: it is drawn once.
    assert np.abs(pulls).max() < 5
    fields = good["field"].to_numpy()
    assert (difference - difference.groupby(fields).transform("mean")).std() < 0.0015
    record = json.loads((folder / "solve_survey/zr_solution.json").read_text())
    assert max(record["iterations"]) <= 10
    assert record["expected_change_mmag"] < 0.01
