"""The normal equations against dense linear algebra on the whole problem."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from problems import make_problem, make_truth
from ztfpsf.psf.problem import elimination
from ztfpsf.psf.problem.normal import normal_equations
from ztfpsf.psf.problem.objective import (
    free_coefficients,
    local_params,
    loss,
    make_prior,
)
from ztfpsf.psf.problem.parameters import GridTerms
from ztfpsf.psf.profile.field import field_basis
from ztfpsf.psf.profile.grid_modes import make_modes
from ztfpsf.psf.profile.residual_grid import ResidualGrid
from ztfpsf.psf.profile.star import star_model

pytestmark = pytest.mark.usefixtures("strict_promotion")


GRID = ResidualGrid(spacing_px=0.75, radius_px=3.0, n_modes=12)


@pytest.fixture(scope="module", params=["moffat", "moffat_grid"])
def problem(request):
    """One problem of 6 stars with a profile linear in position; one star without data."""
    n = 6
    made = make_problem(make_truth(request.param, n, 11, seed=1), 1, seed=2)
    model = made.model if made.model.grid is None else replace(made.model, grid=GRID)
    rng = np.random.default_rng(3)
    basis = field_basis(rng.uniform(0, 99, n), rng.uniform(0, 79, n), 100, 80, 1)
    stars = jax.tree.map(lambda leaf: leaf[0], made.stars)._replace(basis=jnp.asarray(basis))
    stars = stars._replace(weight=stars.weight.at[2].set(0.0))
    start = jax.tree.map(lambda leaf: leaf[0], made.start)
    free = free_coefficients(model, 3)[:, 1:]
    profile = jnp.concatenate([start.profile, 0.01 * free], axis=1)
    start = start._replace(profile=profile)
    if model.grid is None:
        return model, stars, start
    modes = jnp.asarray(make_modes(model, start.profile[:, 0]))
    n_modes = modes.shape[1]
    precision = jnp.broadcast_to(jnp.array([30.0, 300.0]), (n_modes, 2))
    of_profile = jnp.array([0.0, 20.0, 20.0])
    terms = GridTerms(jnp.asarray(basis[:, :2]), modes, precision, of_profile)
    grid = jnp.asarray(rng.normal(0, 0.05, (n_modes, 2)))
    return model, stars._replace(grid=terms), start._replace(grid=grid)


def dense(problem):
    """Columns of the weighted Jacobian and residual of all pixels and parameters."""
    model, stars, start = problem
    flat, unravel = ravel_pytree(start)

    def residual(vector):
        parameters = unravel(vector)
        params = local_params(model, parameters, stars)
        models = jax.vmap(lambda s, p: star_model(model, s, p, 11))(parameters.stars, params)
        pixels = (jnp.sqrt(stars.weight) * (stars.data - models)).ravel()
        prior = make_prior(model, parameters, stars)
        away = jax.tree.map(lambda p, m, w: (jnp.sqrt(w) * (m - p)).ravel(), parameters, *prior)
        return jnp.concatenate([pixels, *jax.tree.leaves(away)])

    jacobian = -np.asarray(jax.jacfwd(residual)(flat))
    return jacobian, np.asarray(residual(flat)), unravel


def test_step_is_that_of_the_dense_normal_equations(problem) -> None:
    model, stars, start = problem
    jacobian, residual, unravel = dense(problem)
    expected = np.linalg.lstsq(jacobian, residual, rcond=1e-12)[0]
    normal = normal_equations(model, start, stars, 6, 2)
    step = elimination.solve(normal, jnp.zeros(()), start)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8),
        step.parameters,
        unravel(jnp.asarray(expected)),
    )
    gradient = jacobian.T @ residual
    assert float(step.chi2_decrease) == pytest.approx(gradient @ expected)
    assert float(normal.chi2) == pytest.approx(residual @ residual)
    assert float(loss(model, start, stars, 2)) == pytest.approx(0.5 * residual @ residual)


def test_derivatives_of_the_loss_are_those_of_the_dense_problem(problem) -> None:
    model, stars, start = problem
    jacobian, residual, _ = dense(problem)
    gradient_of = jax.grad(lambda parameters: loss(model, parameters, stars, 2))
    gradient, product = jax.linearize(gradient_of, start)
    expected = -jacobian.T @ residual
    np.testing.assert_allclose(ravel_pytree(gradient)[0], expected, rtol=1e-8, atol=1e-6)
    rng = np.random.default_rng(4)
    change = jax.tree.map(lambda leaf: jnp.asarray(1e-5 * rng.normal(size=leaf.shape)), start)
    # Coefficients that are held do not move.
    change = change._replace(profile=change.profile * free_coefficients(model, 3))
    ahead = gradient_of(jax.tree.map(jnp.add, start, change))
    behind = gradient_of(jax.tree.map(jnp.subtract, start, change))
    numeric = 0.5 * (ravel_pytree(ahead)[0] - ravel_pytree(behind)[0])
    found = ravel_pytree(product(change))[0]
    np.testing.assert_allclose(found, numeric, atol=1e-6 * np.abs(numeric).max())


def test_covariance_is_the_inverse_of_the_dense_matrix(problem) -> None:
    model, stars, start = problem
    jacobian, _, _ = dense(problem)
    has_data = np.abs(jacobian).sum(axis=0) > 0
    inverse = np.zeros((len(has_data), len(has_data)))
    reduced = jacobian[:, has_data]
    inverse[np.ix_(has_data, has_data)] = np.linalg.inv(reduced.T @ reduced)
    ours, _ = elimination.covariance(normal_equations(model, start, stars, 6, 2))
    n = len(start.stars)
    for star in set(range(n)) - {2}:
        rows = slice(4 * star, 4 * star + 4)
        np.testing.assert_allclose(ours.stars[star], inverse[rows, rows], rtol=1e-5, atol=1e-12)

    np.testing.assert_allclose(ours.coefficients, inverse[4 * n :, 4 * n :], rtol=1e-5, atol=1e-12)


def test_a_star_without_data_does_not_move(problem) -> None:
    model, stars, start = problem
    normal = normal_equations(model, start, stars, 6, 2)
    step = elimination.solve(normal, jnp.zeros(()), start)
    np.testing.assert_array_equal(step.parameters.stars[2], 0.0)


def test_damping_shortens_the_step(problem) -> None:
    model, stars, start = problem
    normal = normal_equations(model, start, stars, 6, 2)
    lengths = [
        float(jnp.linalg.norm(elimination.solve(normal, jnp.asarray(d), start).parameters[1]))
        for d in (0.0, 1.0, 100.0)
    ]
    assert lengths[0] > lengths[1] > lengths[2] > 0


def test_result_does_not_depend_on_the_batch(problem) -> None:
    model, stars, start = problem
    small = normal_equations(model, start, stars, 6, 1)
    large = normal_equations(model, start, stars, 6, 6)
    for one, other in zip(jax.tree.leaves(small), jax.tree.leaves(large), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
