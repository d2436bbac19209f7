"""Adam (Kingma & Ba 2015, ICLR) by optax: the first-order reference."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.optimisers import Optimiser, Solution
from ztfpsf.psf.optimisers._scaled import Objective, Way, curvature_scale, minimise_scaled
from ztfpsf.psf.problem.parameters import Parameters, Problem, StarData
from ztfpsf.psf.profile.star import FLUX

# ASSUME: how far a start typically is from the minimum, in px, px, fraction of the flux,
# fraction of the flux per pixel, and units of the (logarithmic) profile parameters.
START_ERRORS = (0.05, 0.05, 0.1, 1e-4)
PROFILE_START_ERROR = 0.1


@dataclass(frozen=True)
class Options:
    learning_rate: float = 0.3
    niter: int = 600
    tol: float = 1e-3  # ends when the loss changes by less in one step


class _State(NamedTuple):
    z: Array
    optax_state: optax.OptState
    value: Array
    change: Array
    history: Array
    iteration: Array
    best: Array
    best_value: Array


def _minimise(func: Objective, z0: Array, options: Options) -> Way:
    """Ends after `niter` steps; the best z that was met."""
    adam = optax.adam(options.learning_rate)
    value_and_grad = jax.value_and_grad(func)

    def step(state: _State) -> _State:
        value, gradient = value_and_grad(state.z)
        updates, optax_state = adam.update(gradient, state.optax_state, state.z)
        is_best = value < state.best_value
        return _State(
            optax.apply_updates(state.z, updates),
            optax_state,
            value,
            jnp.abs(value - state.value),
            state.history.at[state.iteration].set(value),
            state.iteration + 1,
            jnp.where(is_best, state.z, state.best),
            jnp.minimum(value, state.best_value),
        )

    infinite = jnp.asarray(jnp.inf)
    history = jnp.full(options.niter + 1, jnp.nan)
    first = _State(z0, adam.init(z0), infinite, infinite, history, jnp.zeros((), int), z0, infinite)
    # niter updates need niter + 1 evaluations, the last one to judge the last update.
    last = jax.lax.while_loop(
        lambda state: (state.iteration <= options.niter) & ~(state.change < options.tol),
        step,
        first,
    )
    return Way(last.best, last.history, last.iteration - 1)


def _find_scale(model: PsfModel, stars: StarData, start: Parameters, batch: int) -> Parameters:
    """How far to look: the larger of the noise and of a typical start's error.

    Adam moves every coordinate by about the learning rate per step, so that coordinates must be
    comparable in distance to the minimum, not in curvature.
    """
    noise = curvature_scale(model, stars, start, batch)
    flux = jnp.abs(start.stars[:, FLUX, None])
    typical = jnp.array(START_ERRORS) * jnp.where(jnp.arange(4) < FLUX, 1.0, flux)
    grid = None
    if noise.grid is not None and stars.grid is not None:
        grid = jnp.zeros_like(noise.grid) + stars.grid.precision**-0.5
    distance = Parameters(
        jnp.broadcast_to(typical, noise.stars.shape),
        jnp.full_like(noise.profile, PROFILE_START_ERROR),
        grid,
    )
    return jax.tree.map(jnp.hypot, noise, distance)


def minimise(problem: Problem, options: Options) -> Solution:
    """See ztfpsf.psf.optimisers.Optimiser."""
    return minimise_scaled(problem, options, _minimise, _find_scale)


OPTIMISER = Optimiser("adam", Options, minimise)
