"""Locks and conda environments: complete, hashed, of one mind, naming no host."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ENVS = ROOT / "envs"
NAMES = ("cpu", "cuda12")
# Used by the workflow, its checks and its tests, not by the scripts of the rules.
TOOLS = {"pytest", "pytest-xdist", "ruff", "snakefmt", "snakemake"}
TOOLS |= {"snakemake-executor-plugin-slurm"}
OPTIONAL = {"distributed"}  # a running Dask cluster has it
PIN = re.compile(
    r"(?P<name>[a-z0-9._-]+)==(?P<version>[^ ;]+)(?: ; (?P<marker>[^\\]+?))? \\\n"
    r"(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)"
)


def read_lock(name: str) -> dict[str, str]:
    return {pin["name"]: pin["version"] for pin in PIN.finditer(lock_text(name))}


def lock_text(name: str) -> str:
    return (ENVS / f"{name}.lock").read_text()


def read_direct(name: str) -> set[str]:
    """Packages asked for in envs/{name}.in."""
    names = set()
    for line in (ENVS / f"{name}.in").read_text().splitlines():
        if line.startswith("-r "):
            names |= read_direct(line.removeprefix("-r ").removesuffix(".in"))
        elif line and not line.startswith("#"):
            names.add(normalise(re.split(r"[\[<>=]", line)[0]))
    return names


def read_conda(name: str) -> dict[str, str]:
    """Pins of the pip section of a conda environment."""
    dependencies = yaml.safe_load((ENVS / f"{name}.yaml").read_text())["dependencies"]
    pins = next(part["pip"] for part in dependencies if isinstance(part, dict))
    return {normalise(pin.split("==")[0].split("[")[0]): pin.split("==")[1] for pin in pins}


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", [*NAMES, "bench"])
def test_every_line_of_a_lock_is_a_hashed_pin(name: str) -> None:
    assert PIN.sub("", lock_text(name)) == ""
    assert read_direct(name) <= set(read_lock(name))


def test_locks_agree() -> None:
    assert read_lock("cpu").items() <= read_lock("cuda12").items()
    assert not [package for package in read_lock("cpu") if "nvidia" in package]
    assert "jax-cuda12-plugin" in read_lock("cuda12")


@pytest.mark.parametrize("path", sorted(ENVS.iterdir()), ids=lambda path: path.name)
def test_no_host_is_named(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"://|--(?:extra-)?index-url|--find-links|--trusted-host", text)


@pytest.mark.parametrize("name", NAMES)
def test_conda_environment_has_the_versions_of_the_lock(name: str) -> None:
    conda, lock = read_conda(name), read_lock(name)
    assert conda == {package: lock.get(package) for package in conda}
    assert set(conda) <= read_direct(name)


@pytest.mark.parametrize("name", NAMES)
def test_conda_environment_has_what_the_scripts_import(name: str) -> None:
    assert imported_packages() <= set(read_conda(name))


def imported_packages() -> set[str]:
    """Distributions that the scripts and the package import, beside the standard library."""
    modules = set()
    for file in (ROOT / "scripts").rglob("*.py"):
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


def test_every_direct_package_is_used() -> None:
    assert read_direct("cpu") - TOOLS <= imported_packages()
