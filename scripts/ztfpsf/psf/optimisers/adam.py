"""Adam (Kingma & Ba 2015) by optax, the internship's first-order reference."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from ztfpsf.psf.optimisers._scaled import curvature_scale, solve_scaled
from ztfpsf.psf.problem import Parameters, Problem, Solution, Stars

# ASSUME: how far a start typically is from the minimum, in px, px, fraction of the flux,
# fraction of the flux per pixel, and units of the (logarithmic) shape parameters.
START_ERRORS = (0.05, 0.05, 0.1, 1e-4)
SHAPE_START_ERROR = 0.1


class Options(NamedTuple):
    learning_rate: float = 0.1
    niter: int = 600
    tol: float = 1e-3  # ends when the loss changes by less in one step


class _State(NamedTuple):
    parameters: Any
    optax_state: Any
    value: Array
    change: Array
    history: Array
    iteration: Array
    best: Any
    best_value: Array


def _minimise(
    func: Callable, init_params: Any, learning_rate: float, niter: int, tol: float
) -> tuple[Any, Array, Array]:
    optimiser = optax.adam(learning_rate)
    value_and_grad = jax.value_and_grad(func)

    def step(state: _State) -> _State:
        value, gradient = value_and_grad(state.parameters)
        updates, optax_state = optimiser.update(gradient, state.optax_state, state.parameters)
        is_best = value < state.best_value
        best = jax.tree.map(
            lambda new, old: jnp.where(is_best, new, old), state.parameters, state.best
        )
        return _State(
            optax.apply_updates(state.parameters, updates),
            optax_state,
            value,
            jnp.abs(value - state.value),
            state.history.at[state.iteration].set(value),
            state.iteration + 1,
            best,
            jnp.minimum(value, state.best_value),
        )

    first = _State(
        init_params,
        optimiser.init(init_params),
        jnp.asarray(jnp.inf),
        jnp.asarray(jnp.inf),
        jnp.full(niter + 1, jnp.nan),
        jnp.zeros((), int),
        init_params,
        jnp.asarray(jnp.inf),
    )
    # niter updates need niter + 1 evaluations, the last one to judge the last update.
    last = jax.lax.while_loop(
        lambda state: (state.iteration <= niter) & ~(state.change < tol), step, first
    )
    return last.best, last.history, last.iteration - 1


@partial(jax.jit, static_argnames=("func", "niter"))
def _fit(func, init_params, learning_rate, niter, tol, kwargs):
    return _minimise(lambda params: func(params, **kwargs), init_params, learning_rate, niter, tol)


def fit_adam(
    func: Callable,
    init_params: Any,
    learning_rate: float = 5e-3,
    niter: int = 200,
    tol: float = 1e-3,
    **kwargs: Any,
) -> tuple[Any, np.ndarray]:
    """Minimise `func(params, **kwargs)`, any pytree of arrays, by Adam.

    Ends after `niter` steps or when the loss changes by less than `tol` in one.
    Returns the best parameters met and the loss at the start and after each step.
    """
    init_params = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), init_params)
    best, history, iterations = _fit(func, init_params, learning_rate, niter, tol, kwargs)
    return best, np.asarray(history)[: int(iterations) + 1]


def _start_scale(model: ModuleType, stars: Stars, start: Parameters, batch: int) -> Parameters:
    """How far to look: the larger of the noise and of a typical start's error.

    Adam moves every coordinate by about the learning rate per step, so that coordinates must be
    comparable in distance to the minimum, not in curvature.
    """
    noise = curvature_scale(model, stars, start, batch)
    flux = jnp.abs(start.star[:, 2:3])
    typical = jnp.array(START_ERRORS) * jnp.where(jnp.arange(4) < 2, 1.0, flux)
    distance = Parameters(
        jnp.broadcast_to(typical, noise.star.shape),
        jnp.full_like(noise.shape, SHAPE_START_ERROR),
        None if start.grid is None else jnp.zeros_like(noise.grid) + stars.grid.precision**-0.5,
    )
    return jax.tree.map(jnp.hypot, noise, distance)


def solve(problem: Problem, options: Options) -> Solution:
    """Minimise every problem; see ztfpsf.psf.optimisers."""
    return solve_scaled(problem, options, _minimise, _start_scale)
