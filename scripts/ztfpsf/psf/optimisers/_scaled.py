"""The objective of one problem as a function of one vector with comparable components."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from ztfpsf.psf.arrow import normal_equations, unflatten
from ztfpsf.psf.problem import Batch, Parameters, Problem, Solution, Stars, loss


class Scaled(NamedTuple):
    func: Callable[[Array], Array]  # z -> loss
    start: Array  # zeros
    to_parameters: Callable[[Array], Parameters]


def curvature_scale(model: ModuleType, stars: Stars, start: Parameters, batch: int) -> Parameters:
    """Error of each parameter at the start with all others fixed: unit curvature in z."""
    normal = normal_equations(model, start, stars, batch)
    star = jnp.diagonal(normal.star, axis1=1, axis2=2)
    curvature = unflatten(star, jnp.diagonal(normal.corner), start)
    return jax.tree.map(lambda leaf: jnp.where(leaf > 0, leaf, 1.0) ** -0.5, curvature)


def scale_problem(model: ModuleType, stars: Stars, start: Parameters, scale: Parameters) -> Scaled:
    """Parameters = start + scale * z: the same objective, only its coordinates change."""
    flat_start, unravel = ravel_pytree(start)
    flat_scale, _ = ravel_pytree(scale)

    def to_parameters(z: Array) -> Parameters:
        return unravel(flat_start + flat_scale * z)

    return Scaled(
        lambda z: loss(model, to_parameters(z), stars), jnp.zeros_like(flat_start), to_parameters
    )


@partial(jax.jit, static_argnames=("model", "options", "minimise", "scale_of", "batch"))
def _solve(
    model: ModuleType,
    stars: Stars,
    start: Parameters,
    options: tuple,
    minimise: Callable,
    scale_of: Callable,
    batch: Batch,
) -> Solution:
    def solve_one(stars_and_start: tuple[Stars, Parameters]) -> Solution:
        scale = scale_of(model, *stars_and_start, batch.stars)
        scaled = scale_problem(model, *stars_and_start, scale)
        z, history, iterations = minimise(scaled.func, scaled.start, *options)
        return Solution(scaled.to_parameters(z), history, iterations)

    return jax.lax.map(solve_one, (stars, start), batch_size=batch.problems)


def solve_scaled(
    problem: Problem, options: tuple, minimise: Callable, scale_of: Callable
) -> Solution:
    """Minimise every problem in scaled coordinates.

    `minimise(func, z0, *options)` gives z, the loss history and the number of steps, traceable by
    JAX; `scale_of(model, stars, start, batch)` the unit of each parameter.
    """
    stars, start, batch = problem.stars, problem.start, problem.batch
    return _solve(problem.model, stars, start, options, minimise, scale_of, batch)
