"""Every optimiser on every model: the same minimum of the same objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import PROFILES, make_problem, make_truth
from ztfpsf.errors import InputError
from ztfpsf.psf.optimisers import adam, gauss_newton, get_optimiser, list_optimisers, tncg
from ztfpsf.psf.problem import normal as equations
from ztfpsf.psf.problem.objective import loss
from ztfpsf.psf.problem.places import see
from ztfpsf.psf.solution.judgement import EDM_TOLERANCE, judge

TRUTH_STARS, SIZE_PX = 8, 13


@pytest.fixture(scope="module", params=PROFILES)
def problem(request):
    return make_problem(make_truth(request.param, TRUTH_STARS, SIZE_PX, seed=5), 3, seed=6)


@pytest.mark.parametrize("name", list_optimisers())
def test_all_find_the_same_minimum(problem, name) -> None:
    solution = get_optimiser(name).make_solver()(problem)
    reference = gauss_newton.minimise(problem, gauss_newton.Options())
    for index in range(3):
        history = np.asarray(solution.loss_history[index])
        steps = int(solution.iterations[index])
        assert np.isfinite(history[: steps + 1]).all()
        assert np.isnan(history[steps + 1 :]).all()
        stars, parameters, start = jax.tree.map(
            lambda leaf, i=index: leaf[i], (problem.stars, solution.parameters, problem.start)
        )
        value = float(loss(problem.model, parameters, stars, 4))
        assert value == pytest.approx(float(np.nanmin(history)), rel=1e-9)
        assert history[0] == pytest.approx(float(loss(problem.model, start, stars, 4)), rel=1e-9)
        assert value == pytest.approx(float(np.nanmin(reference.loss_history[index])), rel=1e-3)


def test_gauss_newton_converges_in_few_steps(problem) -> None:
    solution = gauss_newton.minimise(problem, gauss_newton.Options())
    assert int(jnp.max(solution.iterations)) <= 10
    assert float(jnp.max(judge(problem, solution).edm)) < EDM_TOLERANCE


def test_edm_tells_how_far_the_minimum_is(problem) -> None:
    """Moved by one sigma in one coefficient of the profile, chi2 is expected to fall by one."""
    solution = gauss_newton.minimise(problem, gauss_newton.Options(tol=1e-9))
    judgement = judge(problem, solution)
    covariance = np.asarray(judgement.covariance.coefficients[0])
    # One sigma along the first coefficient, everything else at its conditional minimum.
    direction = covariance[:, 0] / np.sqrt(covariance[0, 0])
    normal = jax.tree.map(lambda leaf: leaf[0], solution.normal)
    slopes = jnp.einsum("nsl,nl->ns", normal.border, see(normal.terms, jnp.asarray(direction)))
    star_direction = -jnp.einsum("nst,nt->ns", jnp.linalg.pinv(normal.stars), slopes)
    parameters = solution.parameters
    moved = parameters._replace(
        profile=parameters.profile.at[0].add(direction.reshape(parameters.profile.shape[1:])),
        stars=parameters.stars.at[0].add(star_direction),
    )
    edm = judge(problem, solution._replace(parameters=moved, normal=None)).edm
    assert float(edm[0]) == pytest.approx(1.0, rel=0.05)
    assert float(edm[1]) < 1e-6


def test_compiled_once_per_size(problem, monkeypatch) -> None:
    gauss_newton.minimise(problem, gauss_newton.Options())
    calls = []
    original = equations.differentiate
    monkeypatch.setattr(
        equations, "differentiate", lambda *args: calls.append(1) or original(*args)
    )
    shifted = problem._replace(stars=problem.stars._replace(data=problem.stars.data + 1.0))
    gauss_newton.minimise(shifted, gauss_newton.Options())
    assert not calls
    jax.clear_caches()
    gauss_newton.minimise(shifted, gauss_newton.Options())
    assert calls


def rosenbrock(z):
    return (1.5 - z[0]) ** 2 + 100.0 * (z[1] - z[0] ** 2) ** 2


@pytest.mark.parametrize(
    ("module", "options", "tolerance"),
    [
        (adam, adam.Options(learning_rate=0.02, niter=20000, tol=1e-14), 1e-2),
        (tncg, tncg.Options(niter=200, tol=1e-14), 1e-4),
        # A rejected step, as the small damping leads to, is no convergence.
        (tncg, tncg.Options(niter=200, tol=1e-10, lmbda=1e-6), 1e-4),
    ],
)
def test_a_curved_valley_is_followed_to_its_end(module, options, tolerance) -> None:
    way = module._minimise(rosenbrock, jnp.array([-1.2, 1.0]), options)
    np.testing.assert_allclose(way.z, [1.5, 2.25], atol=4 * tolerance)
    assert way.history[0] == pytest.approx(float(rosenbrock(jnp.array([-1.2, 1.0]))))
    assert np.isfinite(way.history[: int(way.iterations) + 1]).all()


def test_unknown_optimiser_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="'adamm' is not an optimiser; choose one of adam"):
        get_optimiser("adamm")
