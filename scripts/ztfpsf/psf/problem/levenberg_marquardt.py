"""The Levenberg-Marquardt loop (Marquardt 1963, J. SIAM 11, 431).

The damping follows the gain, the decrease of chi2 relative to the predicted one, with the limits of
Fletcher (1971, AERE Harwell report R6799). The factors are powers of about two and ten that took
few steps on ZTF images; they decide how long a fit takes, not where it ends.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

FIRST_DAMPING = 1e-2
NEAR_DAMPING = 1e-4  # where a minimisation begins near its end
LARGEST_DAMPING = 1e12
SMALLEST_GAIN = 1e-4  # below it a step is taken back
POOR_GAIN, GOOD_GAIN = 0.25, 0.75
TAKEN_BACK, AFTER_POOR, AFTER_GOOD = 10.0, 4.0, 0.1  # factors of the damping


class HasChi2(Protocol):
    """Normal equations: a NamedTuple with, among others, this field."""

    @property
    def chi2(self) -> Array: ...


class Proposal(Protocol):
    """A step: a NamedTuple of the change of the parameters and what it is expected to bring."""

    @property
    def parameters(self) -> Any: ...

    @property
    def chi2_decrease(self) -> Array: ...


S = TypeVar("S")
T = TypeVar("T")
N = TypeVar("N", bound=HasChi2)
P = TypeVar("P", bound=Proposal)


class Limits(NamedTuple):
    """When a minimisation ends, and where its damping begins."""

    niter: Array | int  # steps at most
    tolerance: Array | float  # ends when the next step is expected to lower chi2 by less
    damping: Array | float = FIRST_DAMPING


class State(NamedTuple, Generic[T, N, P]):
    """Where the loop is."""

    parameters: T
    chi2: Array  # at `parameters`
    normal: N  # normal equations there
    candidate: T  # what to try next
    proposal: P  # the step to it
    damping: Array
    history: Array  # (niter + 1,) loss, NaN after the last step
    iteration: Array


def begin(
    start: T, unknown: tuple[N, P], limits: Limits, n_history: int, shape: tuple[int, ...] = ()
) -> State[T, N, P]:
    """Before the first evaluation, whose candidate is the start itself: a good step from
    chi2 = inf. `unknown`: normal equations and a step of any values; `shape`: of the leading axes.
    """
    chi2, damping, history, iteration = jax.device_put(
        (
            np.full(shape, np.inf),
            np.full(shape, limits.damping / AFTER_GOOD),
            np.full((*shape, n_history + 1), np.nan),
            np.full(shape, -1),
        )
    )
    normal, proposal = unknown
    return State(start, chi2, normal, start, proposal, damping, history, iteration)


def begin_again(state: State[T, N, P]) -> State[T, N, P]:
    """With new normal equations where the state is, and a larger damping."""
    damping = state.damping * (TAKEN_BACK / AFTER_GOOD)
    return state._replace(
        candidate=state.parameters, chi2=jnp.full_like(state.chi2, jnp.inf), damping=damping
    )


def is_running(state: State, limits: Limits) -> Array:
    """Whether the candidate is to be evaluated."""
    # The prediction counts only near the minimum: after a good step with the first damping.
    is_near = state.damping < limits.damping
    has_converged = is_near & (state.proposal.chi2_decrease < limits.tolerance)
    is_stuck = state.damping > LARGEST_DAMPING
    # Without data there is nothing to gain.
    has_data = state.proposal.chi2_decrease != 0.0
    return has_data & ~has_converged & ~is_stuck & (state.iteration < limits.niter)


def advance(state: State[T, N, P], normal: N, solve: Callable[[N, Array], P]) -> State[T, N, P]:
    """Take the candidate, or take it back, and propose the next. `normal`: at the candidate."""
    gain = find_gain(state, normal)
    # A NaN gain fails the comparison and is rejected like an increase of chi2.
    is_better = gain > SMALLEST_GAIN
    after_poor = jnp.where(gain < POOR_GAIN, AFTER_POOR, 1.0)
    factor = jnp.where(gain > GOOD_GAIN, AFTER_GOOD, after_poor)
    damping = state.damping * jnp.where(is_better, factor, TAKEN_BACK)
    parameters, normal = choose(
        is_better, (state.candidate, normal), (state.parameters, state.normal)
    )
    return propose(state, parameters, normal, damping, solve(normal, damping))


def choose(where: Array, these: S, others: S) -> S:
    """One of two trees."""
    return jax.tree.map(lambda one, other: jnp.where(where, one, other), these, others)


def find_gain(state: State, normal: HasChi2) -> Array:
    """Decrease of chi2 by the step to the candidate, in units of what was expected."""
    return (state.chi2 - normal.chi2) / state.proposal.chi2_decrease


def propose(
    state: State[T, N, P], parameters: T, normal: N, damping: Array, proposal: P
) -> State[T, N, P]:
    """The state after `state`, at `parameters`, with a step from there."""
    return State(
        parameters,
        normal.chi2,
        normal,
        jax.tree.map(jnp.add, parameters, proposal.parameters),
        proposal,
        damping,
        state.history.at[state.iteration + 1].set(0.5 * normal.chi2),
        state.iteration + 1,
    )


def minimise(
    evaluate: Callable[[T], N],
    solve: Callable[[N, Array], P],
    start: T,
    limits: Limits,
    n_history: int,
) -> State[T, N, P]:
    """Minimise chi2 of one problem; traceable and batchable by JAX.

    `evaluate(parameters)` gives the normal equations, `solve(normal, damping)` a step. Ends at one
    of the `limits`, at most `n_history` steps, or when no damping yields a decrease.
    """

    def solve_first(start: T) -> tuple[N, P]:
        normal = evaluate(start)
        return normal, solve(normal, jnp.zeros(()))

    shapes = jax.eval_shape(solve_first, start)
    unknown = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    return jax.lax.while_loop(
        lambda state: is_running(state, limits),
        lambda state: advance(state, evaluate(state.candidate), solve),
        begin(start, unknown, limits, n_history),
    )
