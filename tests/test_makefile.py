"""`make env` in a folder of its own, with a program that only pretends to be Python."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# `-c` checks the version, `-m venv` makes an environment whose pip ends as the test wants.
PYTHON = """#!/bin/sh
echo "$@" >> calls
case "$*" in
  -c*) exit $VERSION_EXIT ;;
  *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *uv.lock) cp "$0" .venv/bin/uv ;;
  *--python*) exit $UV_EXIT ;;
  *pip*) exit $PIP_EXIT ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "envs").mkdir()
    for name in ("cpu", "tools", "uv"):
        (tmp_path / "envs" / f"{name}.lock").touch()
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def make(
    folder: Path, *targets: str, version_exit: int = 0, pip_exit: int = 0, uv_exit: int = 0
) -> subprocess.CompletedProcess[str]:
    # A make that runs these tests passes its own options on.
    passed_on = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "LOCK")
    environment = {key: value for key, value in os.environ.items() if key not in passed_on}
    exits = {"VERSION_EXIT": version_exit, "PIP_EXIT": pip_exit, "UV_EXIT": uv_exit}
    environment |= {name: str(status) for name, status in exits.items()}
    command = ["make", *targets, f"PYTHON={folder}/python"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment
    )


def calls(folder: Path) -> list[str]:
    file = folder / "calls"
    return file.read_text().splitlines() if file.exists() else []


def test_help_is_the_default_and_lists_every_target(folder: Path) -> None:
    done = make(folder)
    assert done.returncode == 0
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    targets = "help env tools demo report test coverage fuzz test-cluster test-report lint format"
    others = "docs pictures lock clean bench bench-scale bench-gpu bench-calibration bench-survey"
    assert listed == {*targets.split(), *others.split(), "bench-lightcurves"}
    assert calls(folder) == []


def test_old_python_is_one_sentence(folder: Path) -> None:
    done = make(folder, "env", version_exit=1)
    assert done.returncode != 0
    assert done.stderr.startswith("Python 3.11 or newer is needed; name one: make PYTHON=")
    assert not (folder / ".venv").exists()


@pytest.mark.parametrize("uv_exit", [0, 1])
def test_pip_installs_what_uv_cannot(folder: Path, uv_exit: int) -> None:
    assert make(folder, "env", uv_exit=uv_exit).returncode == 0
    installed = [call for call in calls(folder) if call.endswith("envs/cpu.lock")]
    assert all("install --quiet --no-deps --require-hashes" in call for call in installed)
    assert ["--python" in call for call in installed] == [True, False][: 1 + uv_exit]


def test_interrupted_installation_is_done_again(folder: Path) -> None:
    assert make(folder, "env", pip_exit=1, uv_exit=1).returncode != 0
    begun = calls(folder)
    assert make(folder, "env").returncode == 0
    done = calls(folder)
    # All of it, the last attempt of pip left out.
    assert done[len(begun) : 2 * len(begun) - 1] == begun[:-1]
    assert "Nothing to be done" in make(folder, "env").stdout
    assert calls(folder) == done


def test_new_lock_is_installed(folder: Path) -> None:
    make(folder, "env")
    n_calls = len(calls(folder))
    make_later(folder / "envs" / "cpu.lock")
    assert make(folder, "env").returncode == 0
    assert len(calls(folder)) == 2 * n_calls


def test_edited_project_is_installed_anew_without_its_packages(folder: Path) -> None:
    make(folder, "env")
    n_calls = len(calls(folder))
    make_later(folder / "pyproject.toml")
    assert make(folder, "env").returncode == 0
    (call,) = calls(folder)[n_calls:]
    assert call.endswith("install --quiet --no-deps --no-build-isolation --editable .")


def test_tools_come_on_top(folder: Path) -> None:
    make(folder, "env")
    assert not any("tools" in call for call in calls(folder))
    n_calls = len(calls(folder))
    assert make(folder, "tools").returncode == 0
    (call,) = calls(folder)[n_calls:]
    assert "--no-deps --require-hashes" in call
    assert call.endswith("envs/tools.lock")
    assert make(folder, "tools").returncode == 0
    assert len(calls(folder)) == n_calls + 1


def test_demo_begins_with_a_picture_and_ends_with_the_comparison(folder: Path) -> None:
    plan = make(folder, "--dry-run", "demo").stdout
    steps = [
        "_star.png results/validate_psf/",
        "config/lightcurve.yaml",
        "config/simulation.yaml",
        "config/compare.yaml",
        "--report results/report.html",
    ]
    places = [plan.index(step) for step in steps]
    assert places == sorted(places)
    assert "tools.lock" not in plan


RUNS = ("lightcurve", "simulation", "compare")


@pytest.mark.parametrize("failing", RUNS[:2])
def test_demo_ends_where_a_run_beside_another_fails(folder: Path, failing: str) -> None:
    make(folder, "env")
    snakemake = folder / ".venv/bin/snakemake"
    snakemake.write_text(
        '#!/bin/sh\necho "$@" >> calls\necho says "$@"\n'
        f'case "$*" in *{failing}.yaml*) exit 1;; esac\n'
    )
    snakemake.chmod(0o755)
    report = folder / "results" / "validate_psf" / "first_validation.txt"
    report.parent.mkdir(parents=True)
    report.touch()
    done = make(folder, "demo", "FIRST=first")
    assert done.returncode != 0
    assert [sum(f"{name}.yaml" in call for call in calls(folder)) for name in RUNS] == [1, 1, 0]
    assert ("says" in done.stderr) == (failing == "lightcurve")


def make_later(file: Path) -> None:
    """Than what was installed."""
    later = file.stat().st_mtime + 10
    os.utime(file, (later, later))
