"""Gauss-Newton with Levenberg-Marquardt damping on the arrow structure: the default.

A few steps of O(pixels) each from the start of `ztfpsf.psf.weights.start`; more where the model is
wrong. The matrices of a residual grid, most of the work, are made anew only when a step does not
bring what was expected of it.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.optimisers import Optimiser, Solution
from ztfpsf.psf.problem import levenberg_marquardt
from ztfpsf.psf.problem.blocks import map_batched
from ztfpsf.psf.problem.elimination import Step, make_any_step, solve, solve_again
from ztfpsf.psf.problem.images import find_normal, find_slopes
from ztfpsf.psf.problem.levenberg_marquardt import (
    AFTER_GOOD,
    FIRST_DAMPING,
    NEAR_DAMPING,
    SMALLEST_GAIN,
    Limits,
    begin_again,
    choose,
    find_gain,
    is_running,
    propose,
)
from ztfpsf.psf.problem.normal import NormalEquations, Slopes
from ztfpsf.psf.problem.parameters import Parameters, Problem

FOLLOWED = 0.5  # of what a step brings, more or less, and the next one takes the same matrices
HISTORY = 50  # steps that are recorded, at least


@dataclass(frozen=True)
class Options:
    niter: int = 50
    tol: float = 5e-3  # ends when a step is expected to lower chi2 by less


_State = levenberg_marquardt.State[Parameters, NormalEquations, Step]


@partial(jax.jit, static_argnames="batch")
def _advance(
    states: _State, normal: NormalEquations, is_due: np.ndarray, limits: Limits, batch: Batch
) -> tuple[_State, Array]:
    """The next states of the problems `is_due`, and which of all are running, (p,)."""

    def advance_one(one: tuple[_State, NormalEquations, Array]) -> tuple[_State, Array]:
        state, normal, is_due = one
        state = jax.lax.cond(
            is_due,
            lambda: levenberg_marquardt.advance(
                state, normal, partial(solve, like=state.parameters)
            ),
            lambda: state,
        )
        return state, is_running(state, limits)

    return map_batched(advance_one, (states, normal, is_due), batch.problems)


@partial(jax.jit, static_argnames="batch")
def _follow(
    states: _State, slopes: Slopes, running: np.ndarray, limits: Limits, batch: Batch
) -> tuple[_State, Array, Array]:
    """The next states by the matrices of before, where the step brought what was expected.

    Also which problems are running, and which of them wait for new matrices at their candidate:
    where the step brought less; where it brought nothing, that is where it began.
    """

    def follow_one(one: tuple[_State, Slopes, Array]) -> tuple[_State, Array, Array]:
        state, slopes, running = one
        gain = find_gain(state, slopes)
        # NaN fails the comparisons.
        is_good = jnp.abs(gain - 1.0) < FOLLOWED
        normal = state.normal._replace(**slopes._asdict())
        proposal = solve_again(state.proposal.factors, normal, state.parameters)
        following = propose(state, state.candidate, normal, AFTER_GOOD * state.damping, proposal)
        again = choose(gain > SMALLEST_GAIN, state, begin_again(state))
        state = choose(running, choose(is_good, following, again), state)
        return state, is_running(state, limits), running & ~is_good

    return map_batched(follow_one, (states, slopes, running), batch.problems)


def minimise_within(problem: Problem, limits: Limits) -> Solution:
    """Minimise every problem; other limits of up to HISTORY steps are not compiled anew.

    The loop is Python's, all problems in step: what it calls is compiled once for all that need
    normal equations, and problems that have ended cost nothing.
    """
    model, stars, start, batch = problem
    running = np.ones(len(start.stars), bool)
    normal = find_normal(model, stars, start, running, batch)
    n_history, shape = max(HISTORY, int(limits.niter)), (len(start.stars),)
    unknown = normal, make_any_step(normal, start)
    states = levenberg_marquardt.begin(start, unknown, limits, n_history, shape)
    states, running = _advance(states, normal, running, limits, batch)
    while np.any(running):
        is_due = running
        if start.grid is not None:
            slopes = find_slopes(model, stars, states.candidate, running, batch)
            states, running, is_due = _follow(states, slopes, running, limits, batch)
        if np.any(is_due):
            normal = find_normal(model, stars, states.candidate, is_due, batch)
            states, running = _advance(states, normal, is_due, limits, batch)
    return Solution(states.parameters, states.history, states.iteration, states.normal)


def minimise(problem: Problem, options: Options) -> Solution:
    """See ztfpsf.psf.optimisers.Optimiser."""
    # A grid starts near its minimum.
    damping = FIRST_DAMPING if problem.start.grid is None else NEAR_DAMPING
    return minimise_within(problem, Limits(options.niter, options.tol, damping))


OPTIMISER = Optimiser("gauss_newton", Options, minimise)
