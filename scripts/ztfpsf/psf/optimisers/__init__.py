"""Optimisers, one file each; the file name is the optimiser's name in the configuration.

A file defines `OPTIMISER`, an `Optimiser` of that name. Files whose name begins with an underscore
are shared helpers, not optimisers.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from jax import Array

from ztfpsf.errors import InputError
from ztfpsf.psf.problem.normal import NormalEquations
from ztfpsf.psf.problem.parameters import Parameters, Problem


class Solution(NamedTuple):
    """What an optimiser returns, leading axis `problem`."""

    parameters: Parameters
    loss_history: Array  # (p, steps + 1), loss after each step, NaN after the last one
    iterations: Array  # (p,) int
    normal: NormalEquations | None = None  # at `parameters`, of an optimiser that has them


Solver = Callable[[Problem], Solution]
O = TypeVar("O")  # noqa: E741


@dataclass(frozen=True)
class Optimiser(Generic[O]):
    """A way to the minimum of ztfpsf.psf.problem.objective.loss.

    `name`: that of the file.
    `Options`: frozen dataclass of its settings, whose defaults are the configuration's.
    `minimise(problem, options) -> Solution`: of every problem of the leading axis, from its start.

    Whether a solution has converged is not the optimiser's word: ztfpsf.psf.solution.judgement
    judges all of them by the same expected distance to the minimum.
    """

    name: str
    Options: Callable[..., O]
    minimise: Callable[[Problem, O], Solution]

    def make_solver(self, **options: Any) -> Solver:
        """The optimiser with some of its options."""
        chosen = self.Options(**options)

        def solve(problem: Problem) -> Solution:
            return self.minimise(problem, chosen)

        return solve


def list_optimisers() -> list[str]:
    """Names of the optimisers there are."""
    return sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))


def get_optimiser(name: str) -> Optimiser:
    """The optimiser of a name. Raises InputError for an unknown one, and when its file has none."""
    if name not in list_optimisers():
        known = ", ".join(list_optimisers())
        raise InputError(f"'{name}' is not an optimiser; choose one of {known}.")
    module = importlib.import_module(f"ztfpsf.psf.optimisers.{name}")
    optimiser = vars(module).get("OPTIMISER")
    if not isinstance(optimiser, Optimiser) or optimiser.name != name:
        raise InputError(
            f"{module.__file__}: expected OPTIMISER, an Optimiser named '{name}'; see "
            "docs/extending.md."
        )
    return optimiser
