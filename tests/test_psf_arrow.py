"""The arrow solver against dense linear algebra on the whole problem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from problems import make_problem, make_truth
from ztfpsf.psf import arrow
from ztfpsf.psf.problem import field_basis, loss, star_model, star_shapes

pytestmark = pytest.mark.usefixtures("strict_promotion")


@pytest.fixture(scope="module")
def problem():
    """One problem of 6 stars with a shape linear in position; one star without data."""
    n = 6
    made = make_problem(make_truth("moffat", n, 11, seed=1), 1, seed=2)
    rng = np.random.default_rng(3)
    basis = field_basis(rng.uniform(0, 99, n), rng.uniform(0, 79, n), 100, 80, 1)
    stars = jax.tree.map(lambda leaf: leaf[0], made.stars)._replace(basis=jnp.asarray(basis))
    stars = stars._replace(weight=stars.weight.at[2].set(0.0))
    start = jax.tree.map(lambda leaf: leaf[0], made.start)
    shape = jnp.concatenate([start.shape, 0.01 * jnp.ones((4, 2))], axis=1)
    return made.model, stars, start._replace(shape=shape)


def dense(problem):
    """Columns of the weighted Jacobian and residual of all pixels and parameters."""
    model, stars, start = problem
    flat, unravel = ravel_pytree(start)

    def residual(vector):
        parameters = unravel(vector)
        shapes = star_shapes(parameters, stars)
        models = jax.vmap(lambda s, p: star_model(model, s, p, 11))(parameters.star, shapes)
        return (jnp.sqrt(stars.weight) * (stars.data - models)).ravel()

    jacobian = -np.asarray(jax.jacfwd(residual)(flat))
    return jacobian, np.asarray(residual(flat)), unravel


def test_step_is_that_of_the_dense_normal_equations(problem) -> None:
    model, stars, start = problem
    jacobian, residual, unravel = dense(problem)
    expected = np.linalg.lstsq(jacobian, residual, rcond=1e-12)[0]
    normal = arrow.normal_equations(model, start, stars, 2)
    step = arrow.solve(normal, jnp.zeros(()), start.shape.shape)
    for ours, theirs in zip(step.parameters, unravel(jnp.asarray(expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)
    gradient = jacobian.T @ residual
    assert float(step.chi2_decrease) == pytest.approx(gradient @ expected)
    assert float(normal.chi2) == pytest.approx(residual @ residual)
    assert float(loss(model, start, stars)) == pytest.approx(0.5 * residual @ residual)


def test_covariance_is_the_inverse_of_the_dense_matrix(problem) -> None:
    model, stars, start = problem
    jacobian, _, _ = dense(problem)
    has_data = np.abs(jacobian).sum(axis=0) > 0
    inverse = np.zeros((len(has_data), len(has_data)))
    reduced = jacobian[:, has_data]
    inverse[np.ix_(has_data, has_data)] = np.linalg.inv(reduced.T @ reduced)
    ours = arrow.covariance(arrow.normal_equations(model, start, stars, 2))
    n = len(start.star)
    for star in set(range(n)) - {2}:
        rows = slice(4 * star, 4 * star + 4)
        np.testing.assert_allclose(ours.star[star], inverse[rows, rows], rtol=1e-5, atol=1e-12)
        np.testing.assert_allclose(
            ours.star_shape[star], inverse[rows, 4 * n :], rtol=1e-4, atol=1e-9
        )
    np.testing.assert_allclose(ours.shape, inverse[4 * n :, 4 * n :], rtol=1e-5, atol=1e-12)


def test_a_star_without_data_does_not_move(problem) -> None:
    model, stars, start = problem
    normal = arrow.normal_equations(model, start, stars, 2)
    step = arrow.solve(normal, jnp.zeros(()), start.shape.shape)
    np.testing.assert_array_equal(step.parameters.star[2], 0.0)


def test_damping_shortens_the_step(problem) -> None:
    model, stars, start = problem
    normal = arrow.normal_equations(model, start, stars, 2)
    lengths = [
        float(jnp.linalg.norm(arrow.solve(normal, jnp.asarray(d), start.shape.shape).parameters[1]))
        for d in (0.0, 1.0, 100.0)
    ]
    assert lengths[0] > lengths[1] > lengths[2] > 0


def test_result_does_not_depend_on_the_batch(problem) -> None:
    model, stars, start = problem
    small = arrow.normal_equations(model, start, stars, 1)
    large = arrow.normal_equations(model, start, stars, 6)
    for one, other in zip(small, large, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
