"""The variance of pixels, for NumPy and JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ztfpsf.noise import model_variance, read_variance, split_constant

GAIN, READ_NOISE_ELECTRON = 6.2, 10.0
SKY_ADU = 150.0


def test_photons_of_the_model_and_read_noise() -> None:
    model = np.array([[[150.0, 6350.0, 90.0, -20.0]]])
    sky = np.array([SKY_ADU, -40.0])[:, None, None]
    constant = read_variance(READ_NOISE_ELECTRON, GAIN)
    assert constant == pytest.approx((10 / 6.2) ** 2)
    expected = np.array([[[150, 6350, 150, 150]], [[150, 6350, 90, 0]]]) / GAIN + constant
    np.testing.assert_allclose(model_variance(model, sky, GAIN, constant), expected)


def test_variance_is_that_of_simulated_pixels() -> None:
    rng = np.random.default_rng(1)
    light = np.array([150.0, 1000.0, 20_000.0])
    electrons = rng.poisson(light * GAIN, (40_000, 3))
    electrons = electrons + rng.normal(0, READ_NOISE_ELECTRON, electrons.shape)
    constant = read_variance(READ_NOISE_ELECTRON, GAIN)
    found = model_variance(light, np.array(SKY_ADU), GAIN, constant)
    np.testing.assert_allclose((electrons / GAIN).var(axis=0), found, rtol=0.03)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_jax_and_numpy_agree_in_their_own_precision(dtype: type) -> None:
    rng = np.random.default_rng(2)
    model = rng.uniform(-50, 5e4, (3, 5, 5)).astype(dtype)
    sky = rng.uniform(-50, 300, (3, 1, 1)).astype(dtype)
    found = model_variance(model, sky, GAIN, 2.6)
    assert found.dtype == dtype
    with jax.enable_x64(True):
        traced = jax.jit(model_variance)(jnp.asarray(model), jnp.asarray(sky), GAIN, 2.6)
    assert traced.dtype == dtype
    np.testing.assert_allclose(traced, found, rtol=4 * np.finfo(dtype).eps)


def test_constant_of_a_calibrated_variance() -> None:
    """The photons of noisy pixels are taken off; what is no variance counts as read noise."""
    rng = np.random.default_rng(3)
    data = (SKY_ADU + rng.normal(0, 5, (4, 4))).astype(np.float32)
    sky = np.full_like(data, SKY_ADU)
    variance = data / np.float32(GAIN) + np.float32(7.5)
    variance.flat[:4] = 0.0, -3.0, np.nan, np.inf
    found = split_constant(variance, data, sky, GAIN, 2.6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.flat[:4], 2.6, rtol=1e-6)
    np.testing.assert_allclose(found.flat[4:], 7.5, rtol=1e-5)
    # Less than nothing is left beside the photons.
    assert split_constant(np.float32([5.0]), np.float32([900.0]), sky[0], GAIN, 2.6)[0] == (
        np.float32(2.6)
    )
