"""The objective of one problem as a function of one vector with comparable components."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.optimisers import Solution
from ztfpsf.psf.problem.blocks import map_batched
from ztfpsf.psf.problem.normal import normal_equations
from ztfpsf.psf.problem.objective import loss
from ztfpsf.psf.problem.parameters import Parameters, Problem, StarData

O = TypeVar("O")  # noqa: E741
Objective = Callable[[Array], Array]


class Scaled(NamedTuple):
    """A problem in z: parameters = start + scale * z."""

    func: Objective  # z -> loss
    start: Array  # zeros
    to_parameters: Callable[[Array], Parameters]


class Way(NamedTuple):
    """What a minimisation in z found."""

    z: Array
    history: Array  # (steps + 1,) loss, NaN after the last step
    iterations: Array


# From the objective, the start and the options of an optimiser; traceable by JAX.
Minimise = Callable[[Objective, Array, O], Way]
# The unit of each parameter, from the model, the stars, the start and the size of a batch.
FindScale = Callable[[PsfModel, StarData, Parameters, int], Parameters]


def curvature_scale(model: PsfModel, stars: StarData, start: Parameters, batch: int) -> Parameters:
    """Error of each parameter at the start with all others fixed: unit curvature in z."""
    normal = normal_equations(model, start, stars, len(start.stars), batch)
    of_stars = jnp.diagonal(normal.stars, axis1=1, axis2=2)
    curvature = start.replace_all(of_stars, jnp.diagonal(normal.corner))
    return jax.tree.map(lambda leaf: jnp.where(leaf > 0, leaf, 1.0) ** -0.5, curvature)


def scale_problem(
    model: PsfModel, stars: StarData, start: Parameters, scale: Parameters, batch: int
) -> Scaled:
    """The same objective in other coordinates, `batch` stars at a time."""
    flat_start, unravel = ravel_pytree(start)
    flat_scale, _ = ravel_pytree(scale)

    def to_parameters(z: Array) -> Parameters:
        return unravel(flat_start + flat_scale * z)

    def func(z: Array) -> Array:
        return loss(model, to_parameters(z), stars, batch)

    return Scaled(func, jnp.zeros_like(flat_start), to_parameters)


@partial(jax.jit, static_argnames=("model", "options", "minimise", "find_scale", "batch"))
def _minimise_all(
    model: PsfModel,
    stars_and_starts: tuple[StarData, Parameters],
    options: O,
    minimise: Minimise[O],
    find_scale: FindScale,
    batch: Batch,
) -> Solution:
    def minimise_one(one: tuple[StarData, Parameters]) -> Solution:
        scaled = scale_problem(model, *one, find_scale(model, *one, batch.stars), batch.stars)
        way = minimise(scaled.func, scaled.start, options)
        return Solution(scaled.to_parameters(way.z), way.history, way.iterations)

    return map_batched(minimise_one, stars_and_starts, batch.problems)


def minimise_scaled(
    problem: Problem, options: O, minimise: Minimise[O], find_scale: FindScale
) -> Solution:
    """Minimise every problem in scaled coordinates."""
    arrays = (problem.stars, problem.start)
    return _minimise_all(problem.model, arrays, options, minimise, find_scale, problem.batch)
