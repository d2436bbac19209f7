"""The errors of light curves against dense algebra and against a Hamiltonian Monte Carlo chain."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jax.flatten_util import ravel_pytree
from light_curve_scenes import add_noise, make_blob, make_truth
from scipy.linalg import block_diag
from ztfpsf.lightcurve.equations import find_variance
from ztfpsf.lightcurve.fit import fit_scenes
from ztfpsf.lightcurve.likelihood import (
    SceneData,
    draw_scene,
    log_likelihood,
    log_prior,
    make_data,
)
from ztfpsf.lightcurve.model import Parameters
from ztfpsf.lightcurve.scene import LightCurve, SceneSettings

SETTINGS = SceneSettings(host_radius_px=2.0, pixel_radius_px=4.0, n_rounds=6)


class Case(NamedTuple):
    """A fit, and its likelihood."""

    found: LightCurve
    on: np.ndarray  # (E,) bool, exposures with flux
    data: SceneData
    start: Parameters


def make_case(flux_adu: float) -> Case:
    truth = make_truth(1, n=6, size_px=9, flux_adu=flux_adu, host=make_blob(1, 300.0))
    scene = add_noise(truth, 2)
    (found,) = fit_scenes([scene], SETTINGS)
    return Case(found, ~scene.in_baseline, *make_data(scene, SETTINGS, found))


def flatten(case: Case) -> tuple[np.ndarray, Any, np.ndarray]:
    """Parameters as a vector, the function back, and the indices of those that are free."""
    vector, unflatten = ravel_pytree(case.start)
    motion = np.isfinite(np.asarray(case.data.motion_precision))
    rest = np.ones(len(vector) - len(case.on) - len(motion), bool)
    return np.asarray(vector), unflatten, np.flatnonzero([*case.on, *rest, *motion])


draw = jax.jit(draw_scene)


def find_jacobian(case: Case) -> np.ndarray:
    """Derivatives of the good pixels by the free parameters, by differences."""
    vector, unflatten, index = flatten(case)
    good = np.asarray(case.data.exposures.is_good).ravel()
    columns = []
    for row in index:
        step = np.zeros(len(vector))
        step[row] = 1e-4 if row >= len(vector) - 4 else 1.0  # the motion is not linear
        up, down = (draw(unflatten(jnp.asarray(vector + s * step)), case.data) for s in (1, -1))
        columns.append((np.asarray(up - down) / (2 * step[row])).ravel()[good])
    return np.stack(columns, axis=1)


def find_prior(case: Case, n: int) -> np.ndarray:
    """Matrix of the priors of the n free parameters."""
    k = len(case.start.host_adu)
    motion = np.asarray(case.data.motion_precision)[:2]
    host = np.asarray(case.data.host_precision)
    return block_diag(np.zeros((n - k - 2, n - k - 2)), host, np.diag(motion))


@pytest.mark.parametrize("flux_adu", [300.0, 30000.0])
def test_covariance_is_that_of_dense_algebra(flux_adu: float) -> None:
    """Weights without the photons of the object, covariance with them: M^-1 J^T W V W J M^-1."""
    case = make_case(flux_adu)
    vector, _, index = flatten(case)
    jacobian, prior = find_jacobian(case), find_prior(case, len(index))
    data = case.data
    good = np.asarray(data.exposures.is_good).ravel()
    host_light = data.host @ case.start.host_adu
    weight = 1.0 / np.asarray(find_variance(data.exposures, host_light)).ravel()[good]
    variance = np.asarray(data.variance_adu2).ravel()[good]
    inverse = np.linalg.inv(jacobian.T @ (weight[:, None] * jacobian) + prior)
    meat = jacobian.T @ ((weight**2 * variance)[:, None] * jacobian) + prior
    expected = inverse @ meat @ inverse
    n = case.on.sum()
    scale = np.sqrt(np.diagonal(expected))
    got = case.found.covariance_adu2[np.ix_(case.on, case.on)]
    np.testing.assert_allclose(
        got / np.outer(scale, scale)[:n, :n], (expected / np.outer(scale, scale))[:n, :n], atol=0.02
    )
    # And the solution is where the gradient of its objective vanishes; derivatives by the place
    # of faint objects are shrunk.
    residual = np.asarray(data.exposures.data - draw(case.start, data)).ravel()[good]
    gradient = jacobian.T @ (weight * residual) - prior @ vector[index]
    gradient[-2:] *= flux_adu > 1e4
    assert np.abs(inverse @ gradient / scale).max() < 0.02


def test_likelihood_is_differentiable_and_maps() -> None:
    case = make_case(3000.0)
    gradient = jax.jit(jax.grad(log_likelihood))(case.start, case.data)
    flux = case.start.flux_adu
    moved = jnp.stack([flux.at[4].add(0.1), flux.at[4].add(-0.1)])
    many = Parameters(moved, *(jnp.stack([array] * 2) for array in case.start[1:]))
    up, down = jax.jit(jax.vmap(log_likelihood, (0, None)))(many, case.data)
    assert (up - down) / 0.2 == pytest.approx(float(gradient.flux_adu[4]), rel=1e-5)


def test_errors_are_those_of_a_hamiltonian_chain() -> None:
    """Neal 2011 (Handbook of MCMC, 5), 2000 samples in coordinates of the covariance."""
    case = make_case(1000.0)
    vector, unflatten, index = flatten(case)

    def log_density(z: Array) -> Array:
        parameters = unflatten(jnp.asarray(vector).at[index].add(root @ z))
        return log_likelihood(parameters, case.data) + log_prior(parameters, case.data)

    jacobian = find_jacobian(case)
    variance = np.asarray(case.data.variance_adu2)[np.asarray(case.data.exposures.is_good)]
    precision = jacobian.T @ (jacobian / variance[:, None]) + find_prior(case, len(index))
    root = jnp.linalg.cholesky(jnp.linalg.inv(precision))
    chain = sample_hamiltonian(log_density, len(index), 2000)
    flux = np.asarray(chain @ root.T)[:, : case.on.sum()]
    ratio = flux.std(axis=0) / case.found.flux_error_adu[case.on]
    np.testing.assert_allclose(ratio, 1.0, atol=0.05)
    got = np.corrcoef(flux.T)
    covariance = case.found.covariance_adu2[np.ix_(case.on, case.on)]
    scale = np.sqrt(np.diagonal(covariance))
    np.testing.assert_allclose(got, covariance / scale / scale[:, None], atol=0.06)


def sample_hamiltonian(log_density: Any, n_dimensions: int, n: int) -> Array:
    """(n, dimensions); the density is near to a normal one of unit width."""
    step, n_steps = 0.35, 5

    def leap(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        place, momentum = state
        momentum = momentum + 0.5 * step * slope(place)
        place = place + step * momentum
        return (place, momentum + 0.5 * step * slope(place)), None

    slope = jax.grad(log_density)

    def advance(place: Array, key: Array) -> tuple[Array, Array]:
        first, second = jax.random.split(key)
        momentum = jax.random.normal(first, place.shape)
        (moved, left), _ = jax.lax.scan(leap, (place, momentum), None, n_steps)
        energy = [log_density(p) - 0.5 * m @ m for p, m in ((moved, left), (place, momentum))]
        accepted = jnp.log(jax.random.uniform(second)) < energy[0] - energy[1]
        place = jnp.where(accepted, moved, place)
        return place, place

    keys = jax.random.split(jax.random.PRNGKey(1), n)
    return jax.jit(lambda keys: jax.lax.scan(advance, jnp.zeros(n_dimensions), keys)[1])(keys)
