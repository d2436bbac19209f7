"""The background of stars from the sky around their stamps."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import make_stamps, make_truth
from ztfpsf.psf.inputs.settings import FitSettings
from ztfpsf.psf.models import get_model
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.psf.profile.rings import light_within, ring_mean
from ztfpsf.psf.profile.star import BACKGROUND, FLUX, star_psf
from ztfpsf.psf.solution.fit import fit_image
from ztfpsf.psf.weights.around import Outskirts, find_around

N = 1000
SKY_ADU, COMMON_ADU, SCATTER_ADU = 150.0, 0.4, 0.3


def observe(seed: int, wing_error: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """What find_around makes of stars whose backgrounds scatter, and the true backgrounds."""
    rng = np.random.default_rng(seed)
    flux = 10 ** rng.uniform(3, 5, N)
    background = SKY_ADU + rng.normal(0, 2.0, N)
    error, of_stamp_error = np.full(N, 0.2), np.full(N, 0.4)
    around = background - COMMON_ADU + rng.normal(0, np.hypot(SCATTER_ADU, error))
    of_stamp = background + wing_error * flux + rng.normal(0, of_stamp_error)
    ring_light = 1e-6 * flux
    outskirts = Outskirts(*map(jnp.asarray, (of_stamp, of_stamp_error, ring_light)))
    ring = around + ring_light
    return find_around(outskirts, flux, ring, error, np.ones(N, bool)), background


@pytest.mark.parametrize("wing_error", [0.0, 2e-5])
def test_background_and_its_error_are_those_that_were_put_in(wing_error: float) -> None:
    """Wings that are wrong by 2 ADU in the brightest stars leave the others' backgrounds alone."""
    pulls = []
    for seed in range(20):
        found, truth = observe(seed, wing_error)
        pulls.append((found[:, 0] - truth) * np.sqrt(found[:, 1]))
    assert np.std(pulls) == pytest.approx(1.0, abs=0.05)
    assert abs(np.mean(pulls)) < 0.1


def test_a_star_without_a_ring_is_left_free() -> None:
    outskirts = Outskirts(jnp.full(3, 150.0), jnp.full(3, 0.1), jnp.zeros(3))
    error = np.array([0.2, np.nan, 0.2])
    found = find_around(outskirts, np.ones(3), np.full(3, 151.0), error, np.ones(3, bool))
    np.testing.assert_allclose(found, [[151.0, 25.0], [0.0, 0.0], [151.0, 25.0]])


@pytest.mark.parametrize("name", ["moffat", "moffat_grid"])
def test_light_of_the_ring(name: str) -> None:
    """The mean of a stamp that is large enough to hold it."""
    model = replace(get_model(name), grid=None)
    params = jnp.asarray([*model.start(2.0)])
    large = 81
    stamp = np.asarray(star_psf(model, jnp.zeros(2), params, large))
    steps = np.arange(large) - large // 2
    distance = np.hypot(steps, steps[:, None])
    inner, outer = 16.0, 26.0
    ring = (distance > inner) & (distance <= outer)
    mean = float(ring_mean(model, params[None], inner, outer)[0])
    assert mean == pytest.approx(stamp[ring].mean(), rel=0.03)
    within = float(light_within(model, params, outer))
    assert within == pytest.approx(stamp[distance <= outer].sum(), abs=1e-4)


def test_a_known_sky_makes_fluxes_better() -> None:
    """Also of reserved stars; the fit then follows a sky that is wrong."""
    truth = make_truth("moffat", 24, 15, seed=3)
    stamps = make_stamps(truth, seed=4, n_reserved=6)
    settings = FitSettings(degree=0)

    def fit(sky_error_adu: float, offset_adu: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        known = stamps._replace(
            sky_adu=stamps.sky_adu + offset_adu, sky_error_adu=np.full(24, sky_error_adu)
        )
        solver = get_optimiser("gauss_newton").make_solver()
        with jax.enable_x64(True):
            fitted = fit_image(get_model("moffat"), solver, known, settings)
        stars = fitted.stars
        return stars.parameters, np.sqrt(np.diagonal(stars.covariance, axis1=1, axis2=2))

    _, free = fit(np.nan)
    known, held = fit(1e-3)
    # What the stars have in common is measured: a sky that is wrong for all of them is none.
    offset, _ = fit(1e-3, 5.0)
    assert (held[:, FLUX] < free[:, FLUX]).all()
    assert held[:, BACKGROUND].max() < 0.8 * free[:, BACKGROUND].min()
    np.testing.assert_allclose(known[:, FLUX], offset[:, FLUX], rtol=1e-4)
