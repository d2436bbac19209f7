"""Gauss-Newton with Levenberg-Marquardt damping on the arrow structure: the default.

A few steps of O(pixels) each from the start of `ztfpsf.psf.start`; more where the model is wrong.
"""

from functools import partial
from typing import Any, NamedTuple

import jax

from ztfpsf.psf import levenberg
from ztfpsf.psf.arrow import Normal, normal_equations
from ztfpsf.psf.arrow import solve as solve_arrow
from ztfpsf.psf.problem import Batch, Parameters, Problem, Solution, Stars


class Options(NamedTuple):
    niter: int = 50
    tol: float = 5e-3  # ends when a step is expected to lower chi2 by less


@partial(jax.jit, static_argnames=("model", "options", "batch"))
def _solve(model: Any, stars: Stars, start: Parameters, options: Options, batch: Batch) -> Solution:
    def solve_one(stars_and_start: tuple[Stars, Parameters]) -> Solution:
        one_stars, one_start = stars_and_start

        def evaluate(parameters: Parameters) -> Normal:
            return normal_equations(model, parameters, one_stars, batch.stars)

        state = levenberg.minimise(
            evaluate,
            lambda normal, damping: solve_arrow(normal, damping, one_start),
            one_start,
            options.niter,
            options.tol,
        )
        return Solution(state.parameters, state.history, state.iteration, state.normal)

    return jax.lax.map(solve_one, (stars, start), batch_size=batch.problems)


def solve(problem: Problem, options: Options) -> Solution:
    """Minimise every problem; see ztfpsf.psf.optimisers."""
    return _solve(problem.model, problem.stars, problem.start, options, problem.batch)
