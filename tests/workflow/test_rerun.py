"""What an edit makes Snakemake do again. The scripts write their outputs and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from workflow_copy import COMPARE, QUADRANT, ROOT, Workflow, copy_workflow

CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
FITS = yaml.safe_load((ROOT / "config" / "compare.yaml").read_text())["compare_fits"]["fits"]
N_MODELS = len({fit["model"] for fit in FITS})
OF_FITS = {
    "plot_psf": N_MODELS,
    "validate_psf": N_MODELS,
    "compare_fits": 1,
    "measure_photometry": 1,
}
PICTURES = {**OF_FITS, "plot_pocket": 1}
REFIT = {"measure_pocket": 1, "fit_psf": len(FITS), **PICTURES}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A finished run."""
    folder = tmp_path_factory.mktemp("done")
    workflow = copy_workflow(folder / "workflow", folder / "run")
    workflow.replace_scripts()
    workflow.write_sheet(workflow.write_images([QUADRANT]), CONFIG["images"])
    run = workflow.run("--cores", "2", *COMPARE)
    assert run.returncode == 0, run.text
    return workflow


@contextmanager
def edited(path: Path, old: str = "", new: str = "# edited\n") -> Iterator[None]:
    """Change a file, or make one, and put it back."""
    before = path.read_text() if path.exists() else None
    text = before or ""
    assert old in text
    path.write_text(text.replace(old, new, 1) if old else text + new)
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)


def test_second_run_has_nothing_to_do(done: Workflow) -> None:
    assert "Nothing to be done" in done.dry_run(*COMPARE).text


@pytest.mark.parametrize(
    ("module", "jobs"),
    [
        ("io.py", {"select_stars": 1, "cut_stamps": 1, **REFIT}),
        ("stars/selection.py", {"select_stars": 1, "cut_stamps": 1, **REFIT}),
        ("psf/problem/normal.py", REFIT),
        ("psf/models/_elliptical.py", REFIT),
        ("photometry/groups.py", {"measure_photometry": 1}),
        ("plots/__init__.py", PICTURES),
        ("validation/verdict.py", {"validate_psf": N_MODELS}),
        ("sheet.py", {}),
    ],
)
def test_edited_module_reruns_the_rules_that_use_it(
    done: Workflow, module: str, jobs: dict[str, int]
) -> None:
    with edited(done.base / "scripts" / "ztfpsf" / module):
        run = done.dry_run(*COMPARE)
    assert {rule: n for rule, n in run.jobs.items() if rule != "all"} == jobs, run.text


def test_edited_model_refits_that_model(done: Workflow) -> None:
    n_gaussian = sum(fit["model"] == "gaussian" for fit in FITS)
    with edited(done.base / "scripts" / "ztfpsf" / "psf" / "models" / "gaussian.py"):
        run = done.dry_run(*COMPARE)
    once = ("plot_psf", "validate_psf", "compare_fits", "all")
    assert run.jobs == {"fit_psf": n_gaussian, **dict.fromkeys(once, 1)}


@pytest.mark.parametrize("kind", ["models", "optimisers"])
def test_new_plugin_refits_nothing(done: Workflow, kind: str) -> None:
    with edited(done.base / "scripts" / "ztfpsf" / "psf" / kind / "new.py"):
        assert "Nothing to be done" in done.dry_run(*COMPARE).text


@pytest.mark.parametrize(
    ("old", "new", "jobs"),
    [
        ("max_failed_fraction: 0.0", "max_failed_fraction: 0.5", {}),
        ("device: auto", "device: cpu", {}),
        ("learning_rate: ", "learning_rate: 1", {"fit_psf": 1, "compare_fits": 1, "all": 1}),
        ("degree: 3", "degree: 1", {"fit_psf": len(FITS), **OF_FITS, "all": 1}),
        ("position_min_snr: 20.0", "position_min_snr: 9.0", {"measure_photometry": 1, "all": 1}),
        ("stars_per_bin: 3", "stars_per_bin: 2", {"plot_psf": N_MODELS, "all": 1}),
        ("image_format: png", "image_format: pdf", {**PICTURES, "all": 1}),
    ],
    ids=lambda value: value.split(":")[0] if isinstance(value, str) else "",
)
def test_edited_configuration_reruns_the_rules_that_use_it(
    done: Workflow, old: str, new: str, jobs: dict[str, int]
) -> None:
    with edited(done.base / "config" / "config.yaml", old, new):
        run = done.dry_run(*COMPARE)
    assert run.jobs == jobs, run.text


def test_lost_product_is_made_again(done: Workflow) -> None:
    lost = done.directory / "results" / "compare_fits" / f"{QUADRANT}_loss.png"
    content = lost.read_text()
    lost.unlink()
    try:
        assert done.dry_run(*COMPARE).jobs == {"compare_fits": 1, "all": 1}
    finally:
        lost.write_text(content)
