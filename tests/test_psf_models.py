"""The contract of a model, over all files there are; and what is known of single ones."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from galsim_stars import draw, ellipse, gaussian, moffat
from problems import disturb_start
from ztfpsf.errors import InputError
from ztfpsf.psf.models import GaussianPrior, get_model, list_models
from ztfpsf.psf.profile.star import differentiate, star_psf

pytestmark = pytest.mark.usefixtures("strict_promotion")


def make_params(name: str, fwhm_px: float, e1: float = 0.0, e2: float = 0.0):
    model = get_model(name)
    params = model.start(fwhm_px)
    return model, params._replace(e1=jnp.asarray(e1), e2=jnp.asarray(e2))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", list_models())
def test_integral_over_the_plane_is_one(name: str, seed: int) -> None:
    model = get_model(name)
    params = model.Params(*jnp.asarray(disturb_start(model, 1.7, seed)))
    # Polar grid with r = tan(s), so that the wings to infinity are in.
    s = (np.arange(4000) + 0.5) / 4000 * np.pi / 2
    phi = (np.arange(64) + 0.5) / 64 * 2 * np.pi
    r = np.tan(s)[:, None]
    values = model.profile(jnp.asarray(r * np.cos(phi)), jnp.asarray(r * np.sin(phi)), params)
    area = r / np.cos(s)[:, None] ** 2 * (np.pi / 2 / 4000) * (2 * np.pi / 64)
    # A profile that falls as r^-3 leaves 4e-4 beyond the last ring.
    assert float(np.sum(values * area)) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("name", list_models())
def test_derivatives_are_those_of_finite_differences(name: str, seed: int) -> None:
    model = get_model(name)
    rng = np.random.default_rng(seed)

    def profile(vector):
        return model.profile(vector[0], vector[1], model.Params(*vector[2:]))

    for _ in range(5):
        at = np.concatenate([rng.normal(0.0, 1.5, 2), disturb_start(model, 2.0, seed)])
        exact = np.asarray(jax.grad(profile)(jnp.asarray(at)))
        steps = 1e-5 * np.eye(len(at))
        central = [
            float(profile(jnp.asarray(at + h)) - profile(jnp.asarray(at - h))) / 2e-5 for h in steps
        ]
        np.testing.assert_allclose(exact, central, rtol=1e-6, atol=1e-9)
    # Where every stamp has one pixel.
    assert np.isfinite(jax.grad(profile)(jnp.asarray(np.concatenate([[0.0, 0.0], at[2:]])))).all()


@pytest.mark.parametrize("name", [name for name in list_models() if get_model(name).radial])
def test_derivatives_from_the_radial_profile_are_those_of_the_profile(name: str) -> None:
    model = get_model(name)
    nodes = [] if model.grid is None else np.random.default_rng(5).normal(0, 0.01, 33**2)
    params = jnp.asarray(np.concatenate([disturb_start(model, 1.3, 6), nodes]))
    offset = jnp.array([0.3, -0.4])
    ours = differentiate(model, offset, params, 25)
    theirs = differentiate(replace(model, radial=None), offset, params, 25)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", list_models())
def test_start_is_round_and_has_the_fwhm_asked_for(name: str) -> None:
    model = get_model(name)
    params = model.start(2.4)
    assert isinstance(params, model.Params)
    phi = jnp.linspace(0.0, 2.0 * np.pi, 9)
    edge = model.profile(1.2 * jnp.cos(phi), 1.2 * jnp.sin(phi), params)
    zero = jnp.asarray(0.0)
    np.testing.assert_allclose(edge / model.profile(zero, zero, params), 0.5, rtol=1e-12)
    assert float(model.describe(params).fwhm_px) == pytest.approx(2.4)


@pytest.mark.parametrize("name", list_models())
def test_description_is_finite_and_can_be_differentiated(name: str) -> None:
    model = get_model(name)

    def describe(vector):
        described = model.describe(model.Params(*vector))
        assert isinstance(described, model.Description)
        return jnp.stack(list(described))

    vector = jnp.asarray(disturb_start(model, 2.0, 5))
    assert np.isfinite(describe(vector)).all()
    assert np.isfinite(jax.jacfwd(describe)(vector)).all()


@pytest.mark.parametrize("name", list_models())
def test_names_are_those_of_the_file(name: str) -> None:
    model = get_model(name)
    assert model.name == name
    assert model == get_model(name)
    assert hash(model) == hash(get_model(name))
    assert replace(model, name="other") != model


def test_a_model_that_names_no_parameter_of_its_own_is_told() -> None:
    known = get_model("gaussian")
    with pytest.raises(InputError, match="model 'gaussian' names alpha, and its parameters are"):
        replace(known, constant=("alpha",))
    with pytest.raises(InputError, match="correct constant, settled or prior"):
        replace(known, prior=(GaussianPrior("wing", 0.1, 1.0),))
    with pytest.raises(InputError, match="and not its FWHM: add fwhm_px"):
        replace(known, Description=known.Params)


@pytest.mark.parametrize(("axis_ratio", "theta_deg"), [(1.0, 0.0), (0.8, 0.0), (0.7, 35.0)])
@pytest.mark.parametrize("fwhm_px", [1.0, 1.6, 2.5])
def test_gaussian_pixels_are_those_of_galsim(fwhm_px, axis_ratio, theta_deg) -> None:
    model, params = make_params("gaussian", fwhm_px, *ellipse(axis_ratio, theta_deg))
    ours = star_psf(model, jnp.array([0.3, -0.45]), jnp.array(params), 21)
    theirs = draw(gaussian(fwhm_px, axis_ratio, theta_deg), 0.3, -0.45, 21)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("axis_ratio", "theta_deg"), [(1.0, 0.0), (0.75, -30.0)])
@pytest.mark.parametrize(("fwhm_px", "alpha"), [(1.0, 3.0), (1.6, 2.5), (2.5, 4.0)])
def test_moffat_pixels_are_those_of_galsim(fwhm_px, alpha, axis_ratio, theta_deg) -> None:
    model, params = make_params("moffat", fwhm_px, *ellipse(axis_ratio, theta_deg))
    params = params._replace(ln_alpha_minus_1=jnp.log(alpha - 1.0))
    ours = star_psf(model, jnp.array([-0.2, 0.5]), jnp.array(params), 21)
    theirs = draw(moffat(fwhm_px, alpha, axis_ratio, theta_deg), -0.2, 0.5, 21)
    np.testing.assert_allclose(ours, theirs, atol=3e-5)


def test_gaussian_axes() -> None:
    model, params = make_params("gaussian", 2.0, *ellipse(0.64, 20.0))
    described = model.describe(params)
    assert float(described.theta_deg) == pytest.approx(20.0)
    assert float(described.sigma_minor_px / described.sigma_major_px) == pytest.approx(0.64)
    mean = np.sqrt(float(described.sigma_minor_px * described.sigma_major_px))
    assert mean * 2 * np.sqrt(2 * np.log(2)) == pytest.approx(2.0)


def test_moffat_tends_to_the_gaussian_for_large_alpha() -> None:
    moffat_model, params = make_params("moffat", 2.0)
    gaussian_model, gaussian_params = make_params("gaussian", 2.0)
    params = params._replace(ln_alpha_minus_1=jnp.asarray(np.log(1e9)))
    x = jnp.linspace(0.0, 4.0, 9)
    np.testing.assert_allclose(
        moffat_model.profile(x, 0.5 * x, params),
        gaussian_model.profile(x, 0.5 * x, gaussian_params),
        rtol=1e-6,
    )


def test_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'moffatt' is not a PSF model; choose .*moffat"):
        get_model("moffatt")
