"""Format and style of all code, as `make lint` checks them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "format", "--check", "."),
        ("ruff", "check", "."),
        ("snakefmt", "--check", "Snakefile", "rules"),
    ],
    ids=" ".join,
)
def test_style(command: tuple[str, ...]) -> None:
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_package_never_imports_snakemake() -> None:
    package = ROOT / "scripts" / "ztfpsf"
    assert not [file for file in package.rglob("*.py") if "import snakemake" in file.read_text()]
