"""Optimisers, one file each; the file name is the optimiser's name in the configuration.

An optimiser file defines

- `Options`: NamedTuple of its settings, whose defaults are the configuration's;
- `solve(problem, options) -> Solution`: minimise `ztfpsf.psf.problem.loss` of every problem of
  the leading axis from `problem.start`, and return parameters and loss history.

Whether a solution has converged is not the optimiser's word: `ztfpsf.psf.fit` judges all of them
by the same expected distance to the minimum. Files beginning with an underscore are helpers.
"""

import importlib
from pathlib import Path
from types import ModuleType

from ztfpsf.errors import InputError


def list_optimisers() -> list[str]:
    """Names of the optimisers there are."""
    return sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))


def get_optimiser(name: str) -> ModuleType:
    """The module of an optimiser. Raises InputError for an unknown name."""
    if name not in list_optimisers():
        known = ", ".join(list_optimisers())
        raise InputError(f"'{name}' is not an optimiser; choose one of {known}.")
    return importlib.import_module(f"ztfpsf.psf.optimisers.{name}")
