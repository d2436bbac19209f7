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


T = TypeVar("T")
N = TypeVar("N", bound=HasChi2)


class Limits(NamedTuple):
    """When a minimisation ends, and where its damping begins."""

    niter: Array | int  # steps at most
    tolerance: Array | float  # ends when the next step is expected to lower chi2 by less
    damping: Array | float = FIRST_DAMPING


class State(NamedTuple, Generic[T, N]):
    """Where the loop is."""

    parameters: T
    chi2: Array  # at `parameters`
    normal: N  # normal equations there
    candidate: T  # what to try next
    chi2_decrease: Array  # that it is expected to bring
    damping: Array
    history: Array  # (niter + 1,) loss, NaN after the last step
    iteration: Array


def begin(
    start: T, unknown: N, limits: Limits, n_history: int, shape: tuple[int, ...] = ()
) -> State[T, N]:
    """Before the first evaluation, whose candidate is the start itself: a good step from
    chi2 = inf. `unknown`: normal equations of any values; `shape`: of the leading axes.
    """
    chi2, decrease, damping, history, iteration = jax.device_put(
        (
            np.full(shape, np.inf),
            np.ones(shape),
            np.full(shape, limits.damping / AFTER_GOOD),
            np.full((*shape, n_history + 1), np.nan),
            np.full(shape, -1),
        )
    )
    return State(start, chi2, unknown, start, decrease, damping, history, iteration)


def is_running(state: State, limits: Limits) -> Array:
    """Whether the candidate is to be evaluated."""
    # The prediction counts only near the minimum: after a good step with the first damping.
    is_near = state.damping < limits.damping
    has_converged = is_near & (state.chi2_decrease < limits.tolerance)
    is_stuck = state.damping > LARGEST_DAMPING
    return ~has_converged & ~is_stuck & (state.iteration < limits.niter)


def advance(state: State[T, N], normal: N, solve: Callable[[N, Array], Proposal]) -> State[T, N]:
    """Take the candidate, or take it back, and propose the next. `normal`: at the candidate."""
    gain = (state.chi2 - normal.chi2) / state.chi2_decrease
    # A NaN gain fails the comparison and is rejected like an increase of chi2.
    is_better = gain > SMALLEST_GAIN
    after_poor = jnp.where(gain < POOR_GAIN, AFTER_POOR, 1.0)
    factor = jnp.where(gain > GOOD_GAIN, AFTER_GOOD, after_poor)
    damping = state.damping * jnp.where(is_better, factor, TAKEN_BACK)
    parameters, normal = jax.tree.map(
        lambda new, old: jnp.where(is_better, new, old),
        (state.candidate, normal),
        (state.parameters, state.normal),
    )
    proposal = solve(normal, damping)
    return State(
        parameters,
        normal.chi2,
        normal,
        jax.tree.map(jnp.add, parameters, proposal.parameters),
        proposal.chi2_decrease,
        damping,
        state.history.at[state.iteration + 1].set(0.5 * normal.chi2),
        state.iteration + 1,
    )


def minimise(
    evaluate: Callable[[T], N],
    solve: Callable[[N, Array], Proposal],
    start: T,
    limits: Limits,
    n_history: int,
) -> State[T, N]:
    """Minimise chi2 of one problem; traceable and batchable by JAX.

    `evaluate(parameters)` gives the normal equations, `solve(normal, damping)` a step. Ends at one
    of the `limits`, at most `n_history` steps, or when no damping yields a decrease.
    """
    unknown = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(evaluate, start))
    return jax.lax.while_loop(
        lambda state: is_running(state, limits),
        lambda state: advance(state, evaluate(state.candidate), solve),
        begin(start, unknown, limits, n_history),
    )
