"""Noise measured on stars and sky against noise that was put in."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from galsim_stars import draw, moffat
from problems import GAIN, READ_NOISE_ELECTRON, SKY_ADU, make_stamps, make_truth
from ztfpsf.noise import Noise, read_variance
from ztfpsf.psf.inputs.settings import FitSettings
from ztfpsf.psf.inputs.stack import ImagePixels
from ztfpsf.psf.models import get_model
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.psf.problem.star_fit import StarsInPsf, fit_stars, own_covariances
from ztfpsf.psf.product.tables import make_image_row
from ztfpsf.psf.profile.star import BACKGROUND, FLUX, X, Y
from ztfpsf.psf.solution.fit import fit_image
from ztfpsf.psf.weights.pixel_noise import measure_noise

SIZE, FWHM_PX, ALPHA = 21, 2.0, 3.0
HEADER_GAIN, HEADER_READ_NOISE = 6.2, 9.0
MODEL = get_model("moffat")
PARAMS = np.array([*MODEL.start(FWHM_PX)._replace(ln_alpha_minus_1=np.log(ALPHA - 1))])


class Sky(NamedTuple):
    level_adu: float
    gain: float
    constant_adu2: float


def make_stars(sky: Sky, n: int, seed: int) -> np.ndarray:
    """(n, 4): within the central pixel, of 15 to 19 mag, more ADU where they are electrons."""
    rng = np.random.default_rng(seed)
    flux = 10 ** (0.4 * (26.3 - rng.uniform(15, 19, n))) * max(1.0, HEADER_GAIN / sky.gain)
    background = np.full(n, sky.level_adu)
    return np.stack([*rng.uniform(-0.5, 0.5, (2, n)), flux, background], axis=1)


class Observed(NamedTuple):
    """n stars."""

    stars: np.ndarray  # (n, 4) as they are
    fitted: np.ndarray  # (n, 4) with the PSF known and the weights of the noise
    data: np.ndarray  # (n, S, S) ADU
    weight: np.ndarray


def draw_light(stars: np.ndarray) -> np.ndarray:
    profile = moffat(FWHM_PX, ALPHA, 1.0, 0.0)
    return np.stack([star[FLUX] * draw(profile, star[X], star[Y], SIZE) for star in stars])


def in_psf(stars: np.ndarray) -> StarsInPsf:
    return StarsInPsf(jnp.asarray(stars), jnp.tile(PARAMS, (len(stars), 1)))


def observe(sky: Sky, n: int, model_error: float, seed: int) -> Observed:
    """Stars whose pixels err by noise and by that fraction of their light."""
    rng = np.random.default_rng(seed + 1000)
    stars = make_stars(sky, n, seed)
    light = draw_light(stars)
    noise = (light + sky.level_adu) / sky.gain + sky.constant_adu2
    scatter = np.sqrt(noise + (model_error * light) ** 2)
    data, weight = sky.level_adu + light + scatter * rng.normal(size=light.shape), 1.0 / noise
    with jax.enable_x64(True):
        arrays = (jnp.asarray(data), jnp.asarray(weight), jnp.zeros((n, 2)))
        fitted = fit_stars(MODEL, in_psf(stars), *arrays, 32)
    return Observed(stars, np.asarray(fitted), data, weight)


def measure(sky: Sky, n: int, model_error: float = 0.0, seed: int = 1) -> Noise:
    """The noise of stars that were fitted."""
    observed = observe(sky, n, model_error, seed)
    models = draw_light(observed.fitted) + observed.fitted[:, BACKGROUND, None, None]
    data = observed.data
    image = ImagePixels(
        data,
        np.ones(data.shape, bool),
        np.full(n, sky.level_adu),
        np.ones(n, bool),
        HEADER_GAIN,
        HEADER_READ_NOISE,
        sky.level_adu,
        sky.level_adu / sky.gain + sky.constant_adu2,
        np.full(n, np.nan),
    )
    with jax.enable_x64(True):
        image = jax.tree.map(jnp.asarray, image)
        noise = measure_noise(image, jnp.asarray(models), jnp.asarray(observed.fitted), image.good)
    return Noise(*(float(part) for part in noise))


@pytest.mark.parametrize(
    "sky",
    [
        Sky(150.0, 6.2, 2.6),
        Sky(150.0, 5.0, 8.0),
        Sky(930.0, 1.0, 80.0),  # electrons
        Sky(0.0, 6.2, 27.0),  # sky subtracted
        Sky(0.0, 1.0, 1000.0),  # and electrons
        Sky(150.0, 93.0, 0.2),  # a mean of 15 images
    ],
)
def test_gain_and_constant_that_were_put_in(sky: Sky) -> None:
    """Whatever the header says: a gain of 6.2 and a read noise of 9."""
    noise = measure(sky, 250)
    at_sky = sky.level_adu / noise.gain + noise.constant_adu2
    assert at_sky == pytest.approx(sky.level_adu / sky.gain + sky.constant_adu2, rel=1e-6)
    assert noise.gain == pytest.approx(sky.gain, rel=0.06)
    assert noise.model_error < 0.005


def test_error_of_the_model_is_no_noise() -> None:
    sky = Sky(150.0, 6.2, 8.0)
    noise = measure(sky, 300, model_error=0.03)
    assert noise.model_error == pytest.approx(0.03, rel=0.1)
    # Photons make no more noise than there is in the sky.
    assert 0.9 * (150.0 / (150.0 / 6.2 + 8.0)) < noise.gain < 1.1 * 6.2


def test_few_stars_stay_near_the_header() -> None:
    gains = [measure(Sky(150.0, 6.2, 2.6), 5, seed=seed).gain for seed in range(8)]
    assert np.isfinite(gains).all()
    assert 4.5 < np.median(gains) < 8.0


def test_without_a_measured_sky_the_header_counts() -> None:
    blank = np.zeros((3, SIZE, SIZE))
    arrays = (blank, blank == 0, np.zeros(3), np.ones(3, bool))
    image = ImagePixels(*arrays, HEADER_GAIN, HEADER_READ_NOISE, 0.0, np.nan, np.full(3, np.nan))
    with jax.enable_x64(True):
        image = jax.tree.map(jnp.asarray, image)
        noise = measure_noise(image, image.data, jnp.zeros((3, 4)), image.good)
    expected = Noise(HEADER_GAIN, read_variance(HEADER_READ_NOISE, HEADER_GAIN))
    np.testing.assert_allclose(noise, expected)


@pytest.mark.parametrize("model_error", [0.0, 0.03])
def test_errors_hold_the_error_of_the_model(model_error: float) -> None:
    """Pulls of flux and position have a width of 1, with an error of the model as without."""
    sky = Sky(150.0, 6.2, 2.6)
    observed = observe(sky, 400, model_error, 5)
    with jax.enable_x64(True):
        arrays = (jnp.asarray(observed.weight), jnp.zeros((len(observed.weight), 2)))
        fitted = in_psf(observed.fitted)
        own, of_model = own_covariances(MODEL, fitted, *arrays, model_error, 32)
    error = np.sqrt(np.diagonal(np.asarray(own + of_model), axis1=1, axis2=2))
    pull = (observed.fitted - observed.stars) / error
    assert pull.std(axis=0) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("noise", "gain"), [("measured", GAIN), ("header", 2 * GAIN)])
def test_fit_with_a_gain_that_is_not_that_of_the_pixels(noise: str, gain: float) -> None:
    """chi2 is right with the noise measured, and too large with a gain twice too large."""
    truth = make_truth("moffat", 60, 15, seed=21)
    stamps = make_stamps(truth, seed=22)._replace(
        gain=2 * GAIN,
        sky_level_adu=SKY_ADU,
        sky_variance_adu2=at_sky_of_pixels(),
    )
    solver = get_optimiser("gauss_newton").make_solver()
    fit = fit_image(MODEL, solver, stamps, FitSettings(degree=0, noise=noise))
    assert fit.psf.noise.gain == pytest.approx(gain, rel=0.1)
    row = make_image_row(stamps, fit)
    assert (row["header_gain"], row["noise_gain"]) == (2 * GAIN, fit.psf.noise.gain)
    at_sky = SKY_ADU / row["noise_gain"] + row["noise_constant_adu2"]
    header = SKY_ADU / (2 * GAIN) + read_variance(READ_NOISE_ELECTRON, 2 * GAIN)
    assert row["noise_ratio"] == pytest.approx(np.sqrt(at_sky / header))
    # chi2 is that of the noise, or half of the variance is missing.
    expected = 1.0 if noise == "measured" else at_sky_of_pixels() / header
    assert row["chi2"] / row["dof"] == pytest.approx(expected, rel=0.05)


def at_sky_of_pixels() -> float:
    """Variance of sky and read-out in ADU^2, as simulated."""
    return SKY_ADU / GAIN + read_variance(READ_NOISE_ELECTRON, GAIN)
