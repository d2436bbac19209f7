"""Every optimiser on every model: the same minimum of the same objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import PROFILES, make_problem, make_truth
from ztfpsf.errors import InputError
from ztfpsf.psf import pixels
from ztfpsf.psf.fit import judge
from ztfpsf.psf.optimisers import gauss_newton, get_optimiser, list_optimisers
from ztfpsf.psf.optimisers.adam import fit_adam
from ztfpsf.psf.optimisers.tncg import fit_tncg
from ztfpsf.psf.problem import loss
from ztfpsf.psf.results import EDM_TOLERANCE

TRUTH_STARS, SIZE_PX = 8, 13


@pytest.fixture(scope="module", params=PROFILES)
def problem(request):
    return make_problem(make_truth(request.param, TRUTH_STARS, SIZE_PX, seed=5), 3, seed=6)


@pytest.mark.parametrize("name", list_optimisers())
def test_all_find_the_same_minimum(problem, name) -> None:
    optimiser = get_optimiser(name)
    solution = optimiser.solve(problem, optimiser.Options())
    reference = gauss_newton.solve(problem, gauss_newton.Options())
    for index in range(3):
        history = np.asarray(solution.loss_history[index])
        steps = int(solution.iterations[index])
        assert np.isfinite(history[: steps + 1]).all()
        assert np.isnan(history[steps + 1 :]).all()
        stars, parameters, start = jax.tree.map(
            lambda leaf, i=index: leaf[i], (problem.stars, solution.parameters, problem.start)
        )
        value = float(loss(problem.model, parameters, stars))
        assert value == pytest.approx(float(np.nanmin(history)), rel=1e-9)
        assert history[0] == pytest.approx(float(loss(problem.model, start, stars)), rel=1e-9)
        assert value == pytest.approx(float(np.nanmin(reference.loss_history[index])), rel=1e-3)


def test_gauss_newton_converges_in_few_steps(problem) -> None:
    solution = gauss_newton.solve(problem, gauss_newton.Options())
    assert int(jnp.max(solution.iterations)) <= 10
    assert float(jnp.max(judge(problem, solution).edm)) < EDM_TOLERANCE


def test_edm_tells_how_far_the_minimum_is(problem) -> None:
    """Moved by one sigma in one coefficient of the shape, chi2 is expected to fall by one."""
    solution = gauss_newton.solve(problem, gauss_newton.Options(tol=1e-9))
    judgement = judge(problem, solution)
    covariance = np.asarray(judgement.covariance.shape[0])
    # One sigma along the first coefficient, everything else at its conditional minimum.
    direction = covariance[:, 0] / np.sqrt(covariance[0, 0])
    star_shape = np.asarray(judgement.covariance.star_shape[0])[:, :, 0]
    star_direction = star_shape / np.sqrt(covariance[0, 0])
    parameters = solution.parameters
    moved = parameters._replace(
        shape=parameters.shape.at[0].add(direction.reshape(parameters.shape.shape[1:])),
        star=parameters.star.at[0].add(star_direction),
    )
    edm = judge(problem, solution._replace(parameters=moved, normal=None)).edm
    assert float(edm[0]) == pytest.approx(1.0, rel=0.05)
    assert float(edm[1]) < 1e-6


def test_compiled_once_per_size(problem, monkeypatch) -> None:
    gauss_newton.solve(problem, gauss_newton.Options())
    calls = []
    original = pixels.integrate
    monkeypatch.setattr(
        "ztfpsf.psf.problem.integrate", lambda *args: calls.append(1) or original(*args)
    )
    shifted = problem._replace(stars=problem.stars._replace(data=problem.stars.data + 1.0))
    gauss_newton.solve(shifted, gauss_newton.Options())
    assert not calls
    jax.clear_caches()
    gauss_newton.solve(shifted, gauss_newton.Options())
    assert calls


def rosenbrock(params, a=1.0):
    return (a - params["x"]) ** 2 + 100.0 * (params["y"] - params["x"] ** 2) ** 2


@pytest.mark.parametrize(
    ("fit", "options", "tolerance"),
    [
        (fit_adam, {"learning_rate": 0.02, "niter": 20000, "tol": 1e-14}, 1e-2),
        (fit_tncg, {"niter": 200, "tol": 1e-14, "lmbda": 1.0}, 1e-4),
    ],
)
def test_signatures_of_the_internship(fit, options, tolerance) -> None:
    best, history = fit(rosenbrock, {"x": -1.2, "y": 1.0}, **options, a=1.5)
    assert float(best["x"]) == pytest.approx(1.5, abs=tolerance)
    assert float(best["y"]) == pytest.approx(2.25, abs=4 * tolerance)
    assert history[0] == pytest.approx(float(rosenbrock({"x": -1.2, "y": 1.0}, 1.5)))
    assert len(history) <= options["niter"] + 1
    assert np.isfinite(history).all()


@pytest.mark.parametrize("fit", [fit_adam, fit_tncg])
def test_defaults_of_the_internship_lower_the_loss(fit) -> None:
    best, history = fit(rosenbrock, {"x": 0.5, "y": 0.5})
    assert float(rosenbrock(best)) <= history[0]


def test_tncg_goes_on_after_a_rejected_step() -> None:
    """A rejected step is no convergence: the loss of a quartic valley must still fall."""
    best, _ = fit_tncg(rosenbrock, {"x": -1.2, "y": 1.0}, niter=200, tol=1e-10, lmbda=1e-6)
    assert float(rosenbrock(best)) < 1e-6


def test_unknown_optimiser_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="'adamm' is not an optimiser; choose one of adam"):
        get_optimiser("adamm")
