"""Gauss-Newton with Levenberg-Marquardt damping on the arrow structure: the default.

A few steps of O(pixels) each from the start of `ztfpsf.psf.weights.start`; more where the model is
wrong.
"""

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jax import Array

from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.optimisers import Optimiser, Solution
from ztfpsf.psf.problem import levenberg_marquardt
from ztfpsf.psf.problem.blocks import map_problems
from ztfpsf.psf.problem.elimination import solve
from ztfpsf.psf.problem.images import find_normal
from ztfpsf.psf.problem.levenberg_marquardt import FIRST_DAMPING, NEAR_DAMPING, Limits, is_running
from ztfpsf.psf.problem.normal import NormalEquations
from ztfpsf.psf.problem.parameters import Parameters, Problem

HISTORY = 50  # steps that are recorded, at least


@dataclass(frozen=True)
class Options:
    niter: int = 50
    tol: float = 5e-3  # ends when a step is expected to lower chi2 by less


_State = levenberg_marquardt.State[Parameters, NormalEquations]


@partial(jax.jit, static_argnames="batch")
def _advance(
    states: _State, normal: NormalEquations, limits: Limits, batch: Batch
) -> tuple[_State, Array]:
    """The next states of all problems, and which of them are running, (p,)."""

    def advance_one(one: tuple[_State, NormalEquations]) -> tuple[_State, Array]:
        state, normal = one
        state = jax.lax.cond(
            is_running(state, limits),
            lambda: levenberg_marquardt.advance(
                state, normal, partial(solve, like=state.parameters)
            ),
            lambda: state,
        )
        return state, is_running(state, limits)

    return map_problems(advance_one, (states, normal), batch.problems)


def minimise_within(problem: Problem, limits: Limits) -> Solution:
    """Minimise every problem; other limits of up to HISTORY steps are not compiled anew.

    The loop is Python's, all problems in step: what it calls is compiled once for all that need
    normal equations, and problems that have ended cost nothing.
    """
    model, stars, start, batch = problem
    running = np.ones(len(start.stars), bool)
    normal = find_normal(model, stars, start, running, batch)
    n_history, shape = max(HISTORY, int(limits.niter)), (len(start.stars),)
    states = levenberg_marquardt.begin(start, normal, limits, n_history, shape)
    states, running = _advance(states, normal, limits, batch)
    while np.any(running):
        normal = find_normal(model, stars, states.candidate, running, batch)
        states, running = _advance(states, normal, limits, batch)
    return Solution(states.parameters, states.history, states.iteration, states.normal)


def minimise(problem: Problem, options: Options) -> Solution:
    """See ztfpsf.psf.optimisers.Optimiser."""
    # A grid starts near its minimum.
    damping = FIRST_DAMPING if problem.start.grid is None else NEAR_DAMPING
    return minimise_within(problem, Limits(options.niter, options.tol, damping))


OPTIMISER = Optimiser("gauss_newton", Options, minimise)
