"""Fixtures: copies of the workflow in temporary directories."""

import os
from pathlib import Path

import pytest
from small_run import run_all
from workflow_copy import Run, Workflow, copy_workflow


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    """A copy of the workflow, and an empty directory to run it in."""
    return copy_workflow(tmp_path / "workflow", tmp_path / "run")


@pytest.fixture(scope="module")
def module_workflow(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """As `workflow`, one for all tests of a module."""
    folder = tmp_path_factory.mktemp("workflow")
    return copy_workflow(folder / "workflow", folder / "run")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workflow, Run]:
    """A run over small quadrants, one of them good, the others not."""
    return run_all(tmp_path_factory.mktemp("small"))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of the user's Snakemake."""
    for name in [name for name in os.environ if name.startswith("SNAKEMAKE_")]:
        monkeypatch.delenv(name)
