"""The objective of all optimisers, chi2 / 2 = sum weight (data - m)^2 / 2, priors included."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.problem.blocks import map_batched
from ztfpsf.psf.problem.parameters import Parameters, Pixels, StarData
from ztfpsf.psf.profile.star import BACKGROUND, N_STAR_PARAMETERS, star_model


class Prior(NamedTuple):
    """Independent Gaussian priors: chi2 = sum precision (parameter - mean)^2."""

    mean: Parameters
    precision: Parameters


def free_coefficients(model: PsfModel, n_terms: int) -> np.ndarray:
    """1 where a polynomial coefficient of the profile is free, (K, B).

    See `constant`, `settled` and `wings` of ztfpsf.psf.models.PsfModel.
    """
    free = np.ones((model.n_params, n_terms))
    for row, name in enumerate(model.Params._fields):
        if name in model.constant:
            free[row, 1:] = 0.0
        is_wing = row >= model.n_params - model.n_wings
        if is_wing if model.grid is None else name in model.settled:
            free[row] = 0.0
    return free


def local_params(model: PsfModel, parameters: Parameters, stars: StarData) -> Array:
    """Profile parameters and grid nodes, 0 before there is a grid, at each star, (n, K + G)."""
    free = free_coefficients(model, parameters.profile.shape[1])
    held = jax.lax.stop_gradient(parameters.profile)
    profiles = stars.basis @ (parameters.profile * free + held * (1.0 - free)).T
    if model.grid is None:
        return profiles
    if parameters.grid is None or stars.grid is None:
        return jnp.pad(profiles, ((0, 0), (0, model.grid.width**2)))
    nodes = (stars.grid.basis @ parameters.grid.T) @ stars.grid.modes.T
    return jnp.concatenate([profiles, nodes], axis=1)


def make_prior(model: PsfModel, parameters: Parameters, stars: StarData) -> Prior:
    """Priors of a model and of its grid; stars have none."""
    mean = np.zeros(parameters.profile.shape)
    precision = np.zeros(parameters.profile.shape)
    free = free_coefficients(model, parameters.profile.shape[1])
    for prior in model.prior:
        row = model.Params._fields.index(prior.name)
        mean[row, 0], precision[row, 0] = prior.mean, free[row, 0] * prior.sigma**-2
    no_star = jnp.zeros_like(parameters.stars)
    of_profile = Prior(
        Parameters(no_star, jnp.asarray(mean)), Parameters(no_star, jnp.asarray(precision))
    )
    if parameters.grid is None or stars.grid is None:
        return of_profile
    varying = free * model.is_varying[:, None]
    profile_precision = of_profile.precision.profile + varying * stars.grid.profile_precision
    return Prior(
        of_profile.mean._replace(grid=jnp.zeros_like(parameters.grid)),
        of_profile.precision._replace(profile=profile_precision, grid=stars.grid.precision),
    )


def prior_chi2(parameters: Parameters, prior: Prior) -> Array:
    """Part of chi2 that is the priors'."""
    terms = jax.tree.map(lambda p, m, w: jnp.sum(w * (p - m) ** 2), parameters, *prior)
    return sum(jax.tree.leaves(terms), start=jnp.zeros(()))


def loss(model: PsfModel, parameters: Parameters, stars: StarData, batch: int) -> Array:
    """Half of chi2 of one problem, `batch` stars at a time."""
    params = local_params(model, parameters, stars)
    seen = jnp.concatenate([parameters.stars, params], axis=1)
    losses = _find_losses(model, batch, seen, stars.pixels)
    prior = make_prior(model, parameters, stars)
    return jnp.sum(losses) + 0.5 * prior_chi2(parameters, prior)


def _star_loss(model: PsfModel, seen: Array, pixels: Pixels) -> Array:
    """Half of chi2 of one star.

    `seen`: (4 + K + G,) its own parameters, the profile's at its place and the nodes.
    """
    star, params = jnp.split(seen, [N_STAR_PARAMETERS])
    residual = pixels.data - star_model(model, star, params, pixels.data.shape[-1])
    sky_adu, precision = pixels.around
    of_sky = precision * (sky_adu - star[BACKGROUND]) ** 2
    return 0.5 * (jnp.sum(pixels.weight * residual * residual) + of_sky)


# What a star sees are a few numbers: its gradient and Hessian by those are all that derivatives by
# the parameters of the problem take. JAX alone would keep the nodes of all stars for them.
def _map(one: Callable[..., Any], batch: int, seen: Array, pixels: Pixels) -> Any:
    return map_batched(lambda star: one(*star), (seen, pixels), batch)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _find_losses(model: PsfModel, batch: int, seen: Array, pixels: Pixels) -> Array:
    """Half of chi2 of each star, (n,), to be differentiated by `seen` alone."""
    return _map(partial(_star_loss, model), batch, seen, pixels)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _find_gradients(
    model: PsfModel, batch: int, seen: Array, pixels: Pixels
) -> tuple[Array, Array]:
    """The same with their gradients, (n, 4 + K + G)."""
    return _map(jax.value_and_grad(partial(_star_loss, model)), batch, seen, pixels)


@_find_losses.defjvp
def _(model: PsfModel, batch: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
    losses, gradients = _find_gradients(model, batch, *primals)
    return losses, jnp.sum(gradients * tangents[0], axis=1)


@_find_gradients.defjvp
def _(model: PsfModel, batch: int, primals: Any, tangents: Any) -> tuple[Any, Any]:
    value_and_gradient = jax.value_and_grad(partial(_star_loss, model))
    (seen, pixels), (change, _) = primals, tangents
    if model.grid is not None:
        # Of so many nodes no Hessian: products anew, each time.
        one = jax.checkpoint(value_and_gradient)
        return jax.jvp(lambda seen: _map(one, batch, seen, pixels), (seen,), (change,))

    def gradient(seen: Array, pixels: Pixels) -> tuple[Array, Any]:
        found = value_and_gradient(seen, pixels)
        return found[1], found

    hessians, found = _map(jax.jacfwd(gradient, has_aux=True), batch, seen, pixels)
    of_gradients = jnp.einsum("nij,nj->ni", hessians, change)
    return found, (jnp.sum(found[1] * change, axis=1), of_gradients)
