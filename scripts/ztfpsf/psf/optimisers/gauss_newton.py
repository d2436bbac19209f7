"""Gauss-Newton with Levenberg-Marquardt damping on the arrow structure: the default.

A few steps of O(pixels) each from the start of `ztfpsf.psf.start`; more where the model is wrong.
A model with a grid begins with its profile alone. Then all is free, and after each step the linear
parameters follow the profile once more before chi2 is judged (the idea of Golub & Pereyra 1973).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ztfpsf.psf import levenberg
from ztfpsf.psf.arrow import Normal, normal_equations, without_profile
from ztfpsf.psf.arrow import solve as solve_arrow
from ztfpsf.psf.grid import get_base
from ztfpsf.psf.problem import Batch, Parameters, Problem, Solution, Stars


class Options(NamedTuple):
    niter: int = 50
    tol: float = 1e-3  # ends when a step is expected to lower chi2 by less
    profile_steps: int = 8  # of the profile alone, before its grid is added


def _minimise(
    model: Any, stars: Stars, start: Parameters, options: Options, batch: int
) -> levenberg.State:
    def evaluate(parameters: Parameters) -> Normal:
        return normal_equations(model, parameters, stars, batch)

    def hold_profile(parameters: Parameters) -> Parameters:
        normal = without_profile(evaluate(parameters), parameters.shape.size)
        step = solve_arrow(normal, jnp.zeros(()), parameters).parameters
        return jax.tree.map(jnp.add, parameters, step)

    return levenberg.minimise(
        evaluate,
        lambda normal, damping: solve_arrow(normal, damping, start),
        start,
        options.niter,
        options.tol,
        None if start.grid is None else hold_profile,
    )


def _join(first: levenberg.State, second: levenberg.State) -> Solution:
    """Both histories as one; the second starts at the first one's end."""
    size = len(first.history) + len(second.history) - 1
    history = jnp.full(size, jnp.nan).at[: len(first.history)].set(first.history)
    history = jax.lax.dynamic_update_slice(history, second.history, (first.iteration,))
    return Solution(second.parameters, history, first.iteration + second.iteration)


@partial(jax.jit, static_argnames=("model", "options", "batch"))
def _solve(model: Any, stars: Stars, start: Parameters, options: Options, batch: Batch) -> Solution:
    def solve_one(stars_and_start: tuple[Stars, Parameters]) -> Solution:
        one_stars, one_start = stars_and_start
        if one_start.grid is None:
            state = _minimise(model, one_stars, one_start, options, batch.stars)
            return Solution(state.parameters, state.history, state.iteration)
        first = _minimise(
            get_base(model),
            one_stars._replace(grid=None),
            one_start._replace(grid=None),
            options._replace(niter=options.profile_steps),
            batch.stars,
        )
        begun = first.parameters._replace(grid=one_start.grid)
        return _join(first, _minimise(model, one_stars, begun, options, batch.stars))

    return jax.lax.map(solve_one, (stars, start), batch_size=batch.problems)


def solve(problem: Problem, options: Options) -> Solution:
    """Minimise every problem; see ztfpsf.psf.optimisers."""
    return _solve(problem.model, problem.stars, problem.start, options, problem.batch)
