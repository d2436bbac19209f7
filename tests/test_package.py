"""The package on its own: a wheel, installed where nothing else of the project is."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ztfpsf

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--quiet", "--no-input")
USE = """
import ztfpsf
from ztfpsf.calibration.linearity import read_table
from ztfpsf.psf.models import list_models
from ztfpsf.simulation.wcs import template_header
print(ztfpsf.__file__)
print(ztfpsf.__version__)
print(*list_models())
print(len(read_table("linearity_coeffs_202004.txt")), template_header()["CTYPE1"])
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the package's wheel, unpacked."""
    source, target = (tmp_path_factory.mktemp(name) for name in ("source", "target"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source)
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "scripts", source / "scripts", ignore=ignore)
    build = (*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", source / "dist")
    subprocess.run([*build, source], check=True)
    (wheel,) = (source / "dist").glob("*.whl")
    subprocess.run([*PIP, "install", "--no-deps", "--target", target, wheel], check=True)
    return target


def test_wheel_holds_every_file_of_the_package(installed: Path) -> None:
    assert list_files(installed / "ztfpsf") == list_files(ROOT / "scripts" / "ztfpsf")


def list_files(folder: Path) -> list[str]:
    """Relative paths of the files below a folder, without compiled ones."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(p.relative_to(folder)) for p in files if p.parent.name != "__pycache__")


def test_wheel_is_used_from_anywhere(installed: Path, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(installed), "HOME": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", USE]
    text = subprocess.check_output(command, text=True, cwd=tmp_path, env=environment)
    models = sorted(p.stem for p in (ROOT / "scripts/ztfpsf/psf/models").glob("[!_]*.py"))
    assert text.splitlines() == [
        str(installed / "ztfpsf" / "__init__.py"),
        ztfpsf.__version__,
        " ".join(models),
        "128 RA---TPV",
    ]


def test_version_is_that_of_the_citation() -> None:
    assert f"\nversion: {ztfpsf.__version__}\n" in (ROOT / "CITATION.cff").read_text()
