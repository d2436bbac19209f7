"""Which code jobs run, and which of it a product depends on, as a hash."""

import ast
import os
from functools import cache
from hashlib import sha256
from pathlib import Path


def use_tree(scripts: Path) -> None:
    """Let processes that this one starts import from a folder before anything that is installed."""
    known = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(scripts), known]))


@cache
def hash_code(scripts: Path, *names: str) -> str:
    """Hash of the modules of ztfpsf that some scripts of a folder import, directly or not.

    Snakemake watches the script of a rule only; with this hash in its params, an edit of a module
    reruns the rules that use it and no other.
    """
    modules: set[Path] = set()
    new = {scripts / name for name in names}
    while new:
        modules |= new
        new = {module for file in new for module in imported_modules(scripts, file)} - modules
    digest = sha256()
    for module in sorted(modules):
        digest.update(module.read_bytes())
    return digest.hexdigest()[:12]


@cache
def imported_modules(scripts: Path, file: Path) -> frozenset[Path]:
    """Files of the modules of ztfpsf that a file imports, those of their packages included."""
    names = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    paths = {
        scripts.joinpath("ztfpsf", *parts[:end])
        for top, *parts in (name.split(".") for name in names)
        for end in range(len(parts) + 1)
        if top == "ztfpsf"
    }
    modules = {path / "__init__.py" for path in paths}
    modules |= {path.with_suffix(".py") for path in paths}
    return frozenset(module for module in modules if module.is_file())
