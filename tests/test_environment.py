"""Locks and conda environments: complete, hashed, of one mind, naming no host."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ENVS = ROOT / "envs"
NAMES = ("cpu", "cuda12")
# A running Dask cluster has the one, the type checker the other.
OPTIONAL = {"distributed", "_typeshed"}
PIN = re.compile(
    r"(?P<name>[a-z0-9._-]+)==(?P<version>[^ ;]+)(?: ; (?P<marker>[^\\]+?))? \\\n"
    r"(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)"
)
HASHED = re.compile(r"[a-z0-9._-]+==[^ ;]+( ; .+?)?( --hash=sha256:[0-9a-f]{64})+")


def read_lock(name: str) -> dict[str, str]:
    return {pin["name"]: pin["version"] for pin in PIN.finditer(lock_text(name))}


def lock_text(name: str) -> str:
    return (ENVS / f"{name}.lock").read_text()


def read_direct(name: str) -> set[str]:
    """Packages asked for in envs/{name}.in."""
    lines = (ENVS / f"{name}.in").read_text().splitlines()
    return to_names(line for line in lines if not line.startswith("#"))


def dependencies() -> set[str]:
    """Packages that ztfpsf needs."""
    text = (ROOT / "pyproject.toml").read_text()
    return to_names(tomllib.loads(text)["project"]["dependencies"])


def to_names(requirements: Iterable[str]) -> set[str]:
    return {normalise(re.split(r"[\[<>=]", requirement)[0]) for requirement in requirements}


def read_conda(name: str) -> list[str]:
    """The pip section of a conda environment."""
    parts = yaml.safe_load((ENVS / f"{name}.yaml").read_text())["dependencies"]
    return next(part["pip"] for part in parts if isinstance(part, dict))


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", [*NAMES, "tools", "uv", "bench"])
def test_every_line_of_a_lock_is_a_hashed_pin(name: str) -> None:
    assert PIN.sub("", lock_text(name)) == ""
    assert read_direct(name) <= set(read_lock(name))


def test_locks_agree() -> None:
    assert dependencies() <= read_lock("cpu").keys()
    assert read_lock("cpu").items() <= read_lock("cuda12").items()
    assert not [package for package in read_lock("cpu") if "nvidia" in package]
    assert "jax-cuda12-plugin" in read_lock("cuda12")
    # Tools are installed on top: what they share is at the same version.
    tools, cpu = read_lock("tools"), read_lock("cpu")
    assert {name: version for name, version in tools.items() if name in cpu} == {
        name: version for name, version in cpu.items() if name in tools
    }
    assert not {"pytest", "ruff", "mypy", "ipykernel"} & cpu.keys()


@pytest.mark.parametrize("path", sorted(ENVS.iterdir()), ids=lambda path: path.name)
def test_no_host_is_named(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"://|--(?:extra-)?index-url|--find-links|--trusted-host", text)


@pytest.mark.parametrize("name", NAMES)
def test_conda_environment_is_of_one_mind_with_the_lock(name: str) -> None:
    """All that the package needs, pinned and hashed as in the lock, and none of the tools."""
    pins = read_conda(name)
    assert [pin for pin in pins if not HASHED.fullmatch(pin)] == []
    assert {" ".join(pin.split()) for pin in pins} <= lock_lines(name)
    names = {pin.split("==")[0] for pin in pins}
    assert dependencies() <= names
    assert not names & {"pytest", "snakemake", "ruff"}


def lock_lines(name: str) -> set[str]:
    """Requirements of a lock, each on one line."""
    return {" ".join(pin[0].replace("\\\n", " ").split()) for pin in PIN.finditer(lock_text(name))}


def test_dependencies_are_what_the_scripts_import() -> None:
    assert dependencies() == imported_packages()


def imported_packages() -> set[str]:
    """Distributions that the scripts and the package import, beside the standard library."""
    modules = set()
    scripts = ROOT / "scripts"
    for file in (*scripts.glob("*.py"), *(scripts / "ztfpsf").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: absolute imports only, code_hash follows those"
                modules.add(node.module.split(".")[0])
    own = {"ztfpsf", *(path.stem for path in (ROOT / "scripts").glob("*.py"))}
    modules -= {*own, *sys.stdlib_module_names, *OPTIONAL}
    distributions = packages_distributions()
    return {normalise(name) for module in modules for name in distributions[module]}
