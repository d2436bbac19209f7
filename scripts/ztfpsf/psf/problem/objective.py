"""The objective of all optimisers, chi2 / 2 = sum weight (data - m)^2 / 2, priors included."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.problem.parameters import Parameters, StarData
from ztfpsf.psf.profile.star import BACKGROUND, star_model


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


def loss(model: PsfModel, parameters: Parameters, stars: StarData) -> Array:
    """Half of chi2 of one problem."""
    size_px = stars.data.shape[-1]

    def star_loss(star: Array, params: Array, data: Array, weight: Array, around: Array) -> Array:
        residual = data - star_model(model, star, params, size_px)
        of_sky = around[1] * (around[0] - star[BACKGROUND]) ** 2
        return 0.5 * (jnp.sum(weight * residual * residual) + of_sky)

    params = local_params(model, parameters, stars)
    arrays = (parameters.stars, params, stars.data, stars.weight, stars.around)
    losses = jax.vmap(star_loss)(*arrays)
    prior = make_prior(model, parameters, stars)
    return jnp.sum(losses) + 0.5 * prior_chi2(parameters, prior)
