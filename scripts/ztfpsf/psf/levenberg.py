"""The Levenberg-Marquardt loop (Marquardt 1963; gain-ratio control after Nielsen 1999)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

FIRST_DAMPING = 1e-2
LARGEST_DAMPING = 1e12


class State(NamedTuple):
    parameters: Any
    normal: Any  # normal equations at `parameters`, with a field chi2
    proposal: Any  # the step to try next
    damping: Array
    history: Array  # (niter + 1,) loss, NaN after the last step
    iteration: Array


def minimise(
    evaluate: Callable[[Any], Any],
    solve: Callable[[Any, Array], Any],
    start: Any,
    niter: int,
    tolerance: float,
) -> State:
    """Minimise chi2 of one problem; traceable and batchable by JAX.

    `evaluate(parameters)` gives the normal equations with a field `chi2`; `solve(normal, damping)`
    a step with fields `parameters` and `chi2_decrease`. Ends when the next step is expected to
    lower chi2 by less than `tolerance`, after `niter` steps, or when no damping yields a decrease.
    """

    def is_running(state: State) -> Array:
        has_converged = (state.proposal.chi2_decrease < tolerance) & (
            state.damping <= FIRST_DAMPING
        )
        is_stuck = state.damping > LARGEST_DAMPING
        return ~has_converged & ~is_stuck & (state.iteration < niter)

    def step(state: State) -> State:
        candidate = jax.tree.map(jnp.add, state.parameters, state.proposal.parameters)
        normal = evaluate(candidate)
        gain = (state.normal.chi2 - normal.chi2) / state.proposal.chi2_decrease
        # A NaN gain fails the comparison and is rejected like an increase of chi2.
        is_better = gain > 1e-4
        damping = state.damping * jnp.where(
            is_better,
            jnp.where(gain > 0.75, 0.1, jnp.where(gain < 0.25, 4.0, 1.0)),
            10.0,
        )
        parameters, normal = jax.tree.map(
            lambda new, old: jnp.where(is_better, new, old),
            (candidate, normal),
            (state.parameters, state.normal),
        )
        return State(
            parameters,
            normal,
            solve(normal, damping),
            damping,
            state.history.at[state.iteration + 1].set(0.5 * normal.chi2),
            state.iteration + 1,
        )

    # The first pass through the loop evaluates the start itself, a step of zero from chi2 = inf:
    # one evaluation in the compiled code instead of two.
    unknown = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(evaluate, start))
    unknown = unknown._replace(chi2=jnp.asarray(jnp.inf))
    damping = jnp.full((), 10.0 * FIRST_DAMPING)
    standing = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(solve, unknown, damping)
    )._replace(chi2_decrease=jnp.ones(()))
    history = jnp.full(niter + 1, jnp.nan)
    first = State(start, unknown, standing, damping, history, jnp.full((), -1))
    return jax.lax.while_loop(is_running, step, first)
