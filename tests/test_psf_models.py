"""Models: normalisation, FWHM, and GalSim's pixels for the same parameters."""

import jax.numpy as jnp
import numpy as np
import pytest
from galsim_stars import draw, ellipse, gaussian, moffat
from ztfpsf.errors import InputError
from ztfpsf.psf.models import get_model, list_models
from ztfpsf.psf.problem import star_psf

pytestmark = pytest.mark.usefixtures("strict_promotion")


def make_shape(name: str, fwhm_px: float, e1: float = 0.0, e2: float = 0.0):
    model = get_model(name)
    shape = model.start(fwhm_px)
    return model, shape._replace(e1=jnp.asarray(e1), e2=jnp.asarray(e2))


@pytest.mark.parametrize("name", list_models())
def test_integral_over_the_plane_is_one(name: str) -> None:
    model, shape = make_shape(name, 1.7, 0.3, -0.2)
    # Polar grid with r = tan(s), so that the wings to infinity are in.
    s = (np.arange(4000) + 0.5) / 4000 * np.pi / 2
    phi = (np.arange(64) + 0.5) / 64 * 2 * np.pi
    r = np.tan(s)[:, None]
    values = model.profile(jnp.asarray(r * np.cos(phi)), jnp.asarray(r * np.sin(phi)), shape)
    area = r / np.cos(s)[:, None] ** 2 * (np.pi / 2 / 4000) * (2 * np.pi / 64)
    assert float(np.sum(values * area)) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", list_models())
def test_half_maximum_is_at_half_the_fwhm(name: str) -> None:
    model, shape = make_shape(name, 2.4)
    radius = jnp.asarray(1.2)
    zero = jnp.asarray(0.0)
    ratio = model.profile(radius, zero, shape) / model.profile(zero, zero, shape)
    assert float(ratio) == pytest.approx(0.5, rel=1e-12)
    assert float(model.describe(shape).fwhm_px) == pytest.approx(2.4)


@pytest.mark.parametrize(("axis_ratio", "theta_deg"), [(1.0, 0.0), (0.8, 0.0), (0.7, 35.0)])
@pytest.mark.parametrize("fwhm_px", [1.0, 1.6, 2.5])
def test_gaussian_pixels_are_those_of_galsim(fwhm_px, axis_ratio, theta_deg) -> None:
    model, shape = make_shape("gaussian", fwhm_px, *ellipse(axis_ratio, theta_deg))
    ours = star_psf(model, jnp.array([0.3, -0.45]), jnp.array(shape), 21)
    theirs = draw(gaussian(fwhm_px, axis_ratio, theta_deg), 0.3, -0.45, 21)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("axis_ratio", "theta_deg"), [(1.0, 0.0), (0.75, -30.0)])
@pytest.mark.parametrize(("fwhm_px", "alpha"), [(1.0, 3.0), (1.6, 2.5), (2.5, 4.0)])
def test_moffat_pixels_are_those_of_galsim(fwhm_px, alpha, axis_ratio, theta_deg) -> None:
    model, shape = make_shape("moffat", fwhm_px, *ellipse(axis_ratio, theta_deg))
    shape = shape._replace(ln_alpha_minus_1=jnp.log(alpha - 1.0))
    ours = star_psf(model, jnp.array([-0.2, 0.5]), jnp.array(shape), 21)
    theirs = draw(moffat(fwhm_px, alpha, axis_ratio, theta_deg), -0.2, 0.5, 21)
    np.testing.assert_allclose(ours, theirs, atol=3e-5)


def test_gaussian_axes() -> None:
    model, shape = make_shape("gaussian", 2.0, *ellipse(0.64, 20.0))
    described = model.describe(shape)
    assert float(described.theta_deg) == pytest.approx(20.0)
    assert float(described.sigma_minor_px / described.sigma_major_px) == pytest.approx(0.64)
    mean = np.sqrt(float(described.sigma_minor_px * described.sigma_major_px))
    assert mean * 2 * np.sqrt(2 * np.log(2)) == pytest.approx(2.0)


def test_moffat_tends_to_the_gaussian_for_large_alpha() -> None:
    moffat_model, shape = make_shape("moffat", 2.0)
    gaussian_model, gaussian_shape = make_shape("gaussian", 2.0)
    shape = shape._replace(ln_alpha_minus_1=jnp.asarray(np.log(1e9)))
    x = jnp.linspace(0.0, 4.0, 9)
    np.testing.assert_allclose(
        moffat_model.profile(x, 0.5 * x, shape),
        gaussian_model.profile(x, 0.5 * x, gaussian_shape),
        rtol=1e-6,
    )


def test_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'moffatt' is not a PSF model; choose .*moffat"):
        get_model("moffatt")
