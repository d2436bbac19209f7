"""The objective of one problem as a function of one vector with comparable components."""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from ztfpsf.psf.arrow import normal_equations
from ztfpsf.psf.problem import Parameters, Stars, loss


class Scaled(NamedTuple):
    func: Callable[[Array], Array]  # z -> loss
    start: Array  # zeros
    to_parameters: Callable[[Array], Parameters]


def curvature_scale(model: ModuleType, stars: Stars, start: Parameters, batch: int) -> Parameters:
    """Error of each parameter at the start with all others fixed: unit curvature in z."""
    normal = normal_equations(model, start, stars, batch)
    star = jnp.diagonal(normal.star, axis1=1, axis2=2)
    shape = jnp.diagonal(normal.corner).reshape(start.shape.shape)
    return Parameters(
        jnp.where(star > 0, star, 1.0) ** -0.5, jnp.where(shape > 0, shape, 1.0) ** -0.5
    )


def scale_problem(model: ModuleType, stars: Stars, start: Parameters, scale: Parameters) -> Scaled:
    """Parameters = start + scale * z: the same objective, only its coordinates change."""
    flat_start, unravel = ravel_pytree(start)
    flat_scale, _ = ravel_pytree(scale)

    def to_parameters(z: Array) -> Parameters:
        return unravel(flat_start + flat_scale * z)

    return Scaled(
        lambda z: loss(model, to_parameters(z), stars), jnp.zeros_like(flat_start), to_parameters
    )
