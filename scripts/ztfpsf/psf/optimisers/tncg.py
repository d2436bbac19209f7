"""Truncated Newton with conjugate gradients (Martens 2010, "Hessian-free optimization", ICML).

Each step solves (H + lambda) d = -g by conjugate gradients with Hessian-vector products; lambda
falls when the quadratic model predicts the decrease of the loss well and rises when not.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from ztfpsf.psf.optimisers._scaled import curvature_scale, solve_scaled
from ztfpsf.psf.problem import Problem, Solution

MAX_CG_STEPS = 50
CG_TOLERANCE = 5e-4  # Martens' stop: relative progress of the quadratic model per step
LARGEST_DAMPING = 1e12


class Options(NamedTuple):
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


def _minimise(
    func: Callable[[Array], Array], z0: Array, niter: int, tol: float, lmbda: float
) -> tuple[Array, Array, Array]:
    gradient_of = jax.grad(func)

    def step(state: _State) -> _State:
        gradient = gradient_of(state.z)

        def product(vector: Array) -> Array:
            return jax.jvp(gradient_of, (state.z,), (vector,))[1] + state.lmbda * vector

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
        is_done = (is_better & (state.value - value < tol)) | (lmbda > LARGEST_DAMPING)
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
        jnp.asarray(lmbda, value.dtype),
        jnp.zeros_like(z0),
        jnp.full(niter + 1, jnp.nan).at[0].set(value),
        jnp.zeros((), int),
        jnp.zeros((), bool),
    )
    last = jax.lax.while_loop(lambda state: (state.iteration < niter) & ~state.is_done, step, first)
    return last.z, last.history, last.iteration


@partial(jax.jit, static_argnames=("func", "niter"))
def _fit(func, init_param, niter, tol, lmbda, kwargs):
    flat, unravel = ravel_pytree(init_param)
    z, history, iterations = _minimise(
        lambda z: func(unravel(z), **kwargs), flat, niter, tol, lmbda
    )
    return unravel(z), history, iterations


def fit_tncg(
    func: Callable,
    init_param: Any,
    niter: int = 10,
    tol: float = 5e-3,
    lmbda: float = 1e2,
    **kwargs: Any,
) -> tuple[Any, np.ndarray]:
    """Minimise `func(params, **kwargs)`, any pytree of arrays, by truncated Newton-CG.

    Ends after `niter` steps or when an accepted step lowers the loss by less than `tol`.
    Returns the best parameters and the loss at the start and after each step.
    """
    init_param = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), init_param)
    best, history, iterations = _fit(func, init_param, niter, tol, lmbda, kwargs)
    return best, np.asarray(history)[: int(iterations) + 1]


def solve(problem: Problem, options: Options) -> Solution:
    """Minimise every problem; see ztfpsf.psf.optimisers."""
    return solve_scaled(problem, options, _minimise, curvature_scale)
