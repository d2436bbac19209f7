"""Format, style and types of all code, as `make lint` checks them."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "format", "--check", "."),
        ("ruff", "check", "."),
        ("snakefmt", "--check", "Snakefile", "rules"),
        ("mypy",),
    ],
    ids=" ".join,
)
def test_style(command: tuple[str, ...]) -> None:
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_hooks_and_forge_call_what_there_is() -> None:
    """The tools of the environment, and targets of the Makefile."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    tools = {hook["entry"].split()[0] for hook in repository["hooks"]}
    assert tools == {f".venv/bin/{name}" for name in ("ruff", "snakefmt", "mypy")}
    assert all(Path(sys.executable).with_name(Path(tool).name).exists() for tool in tools)
    forge = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]
    targets = [step["run"].removeprefix("make ") for step in forge["steps"] if "run" in step]
    assert targets == ["lint", "test"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}: " in makefile for target in targets)


def test_package_never_imports_snakemake() -> None:
    package = ROOT / "scripts" / "ztfpsf"
    assert not [file for file in package.rglob("*.py") if "import snakemake" in file.read_text()]
