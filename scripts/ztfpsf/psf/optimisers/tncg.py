"""Truncated Newton with conjugate gradients (Martens 2010, "Hessian-free optimization", ICML).

Each step solves (H + lambda) d = -g by conjugate gradients with Hessian-vector products, from what
was evaluated once (jax.linearize); lambda falls when the quadratic model predicts the decrease of
the loss well and rises when not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ztfpsf.psf.optimisers import Optimiser, Solution
from ztfpsf.psf.optimisers._scaled import Objective, Way, curvature_scale, minimise_scaled
from ztfpsf.psf.problem.parameters import Problem

MAX_CG_STEPS = 50
CG_TOLERANCE = 5e-4  # Martens' stop: relative progress of the quadratic model per step
LARGEST_DAMPING = 1e12


@dataclass(frozen=True)
class Options:
    niter: int = 100
    tol: float = 1e-3  # ends when an accepted step lowers the loss by less
    lmbda: float = 1.0  # first damping, in units of the start's curvature


class _State(NamedTuple):
    z: Array
    value: Array
    lmbda: Array
    direction: Array  # last CG solution, where the next one starts
    history: Array
    iteration: Array
    is_done: Array


class _Cg(NamedTuple):
    d: Array
    residual: Array
    search: Array
    squared: Array
    quadratic: Array
    progress: Array
    step: Array


def _conjugate_gradients(
    product: Callable[[Array], Array], gradient: Array, first: Array
) -> tuple[Array, Array]:
    """Minimise q(d) = d.product(d)/2 + d.gradient. Returns d and q(d)."""

    def quadratic(d: Array, residual: Array) -> Array:
        return 0.5 * jnp.vdot(d, residual + gradient)

    def step(cg: _Cg) -> _Cg:
        image = product(cg.search)
        curvature = jnp.vdot(cg.search, image)
        # Negative curvature: stay; the damping will rise.
        length = jnp.where(curvature > 0, cg.squared / curvature, 0.0)
        d = cg.d + length * cg.search
        residual = cg.residual + length * image
        squared = jnp.vdot(residual, residual)
        value = quadratic(d, residual)
        progress = (cg.quadratic - value) / jnp.abs(value)
        search = -residual + squared / cg.squared * cg.search
        return _Cg(d, residual, search, squared, value, progress, cg.step + 1)

    residual = product(first) + gradient
    start = _Cg(
        first,
        residual,
        -residual,
        jnp.vdot(residual, residual),
        quadratic(first, residual),
        jnp.asarray(jnp.inf),
        jnp.zeros((), int),
    )
    last = jax.lax.while_loop(
        lambda cg: (cg.step < MAX_CG_STEPS) & (cg.progress > CG_TOLERANCE), step, start
    )
    return last.d, last.quadratic


def _minimise(func: Objective, z0: Array, options: Options) -> Way:
    gradient_of = jax.grad(func)

    def step(state: _State) -> _State:
        gradient, hessian = jax.linearize(gradient_of, state.z)

        def product(vector: Array) -> Array:
            return hessian(vector) + state.lmbda * vector

        d, damped = _conjugate_gradients(product, gradient, state.direction)
        candidate = state.z + d
        value = func(candidate)
        predicted = damped - 0.5 * state.lmbda * jnp.vdot(d, d)
        ratio = (value - state.value) / predicted
        is_better = (value < state.value) & (predicted < 0)
        lmbda = state.lmbda * jnp.where(
            is_better & (ratio > 0.75), 0.3, jnp.where(is_better & (ratio > 0.25), 1.0, 1.5)
        )
        # A rejected step says nothing about the distance to the minimum: raise the damping faster.
        lmbda = jnp.where(is_better, lmbda, 4.0 * state.lmbda)
        is_done = (is_better & (state.value - value < options.tol)) | (lmbda > LARGEST_DAMPING)
        z, value = jax.tree.map(
            lambda new, old: jnp.where(is_better, new, old),
            (candidate, value),
            (state.z, state.value),
        )
        return _State(
            z,
            value,
            lmbda,
            jnp.where(is_better, 0.5 * d, 0.0),
            state.history.at[state.iteration + 1].set(value),
            state.iteration + 1,
            is_done,
        )

    value = func(z0)
    first = _State(
        z0,
        value,
        jnp.asarray(options.lmbda, value.dtype),
        jnp.zeros_like(z0),
        jnp.full(options.niter + 1, jnp.nan).at[0].set(value),
        jnp.zeros((), int),
        jnp.zeros((), bool),
    )
    last = jax.lax.while_loop(
        lambda state: (state.iteration < options.niter) & ~state.is_done, step, first
    )
    return Way(last.z, last.history, last.iteration)


def minimise(problem: Problem, options: Options) -> Solution:
    """See ztfpsf.psf.optimisers.Optimiser."""
    return minimise_scaled(problem, options, _minimise, curvature_scale)


OPTIMISER = Optimiser("tncg", Options, minimise)
