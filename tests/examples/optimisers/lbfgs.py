"""L-BFGS by optax (Nocedal & Wright 2006, "Numerical optimization", chapter 7)."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ztfpsf.psf.optimisers import Optimiser, Solution
from ztfpsf.psf.optimisers._scaled import Objective, Way, curvature_scale, minimise_scaled
from ztfpsf.psf.problem.parameters import Problem


@dataclass(frozen=True)
class Options:
    niter: int = 200
    tol: float = 1e-3  # ends when a step lowers the loss by less


class _State(NamedTuple):
    z: Array
    optax_state: optax.OptState
    history: Array
    iteration: Array
    decrease: Array


def _minimise(func: Objective, z0: Array, options: Options) -> Way:
    lbfgs = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(func)

    def step(state: _State) -> _State:
        value, grad = value_and_grad(state.z, state=state.optax_state)
        updates, optax_state = lbfgs.update(
            grad, state.optax_state, state.z, value=value, grad=grad, value_fn=func
        )
        z = optax.apply_updates(state.z, updates)
        new = func(z)
        history = state.history.at[state.iteration + 1].set(new)
        return _State(z, optax_state, history, state.iteration + 1, value - new)

    history = jnp.full(options.niter + 1, jnp.nan).at[0].set(func(z0))
    first = _State(z0, lbfgs.init(z0), history, jnp.zeros((), int), jnp.asarray(jnp.inf))
    last = jax.lax.while_loop(
        lambda state: (state.iteration < options.niter) & (state.decrease > options.tol),
        step,
        first,
    )
    return Way(last.z, last.history, last.iteration)


def minimise(problem: Problem, options: Options) -> Solution:
    """See ztfpsf.psf.optimisers.Optimiser."""
    return minimise_scaled(problem, options, _minimise, curvature_scale)


OPTIMISER = Optimiser("lbfgs", Options, minimise)
