"""Noise of blank sky against noise that was put in."""

from collections.abc import Callable

import numpy as np
import pytest
from astropy.io import fits
from ztfpsf.stars.images import ScienceImage, Sky, measure_sky
from ztfpsf.stars.sky_noise import SkyNoise, find_blank, measure_sky_noise

SHAPE = (700, 640)
SKY_ADU, SIGMA_ADU = 300.0, 7.0


def make_image(data: np.ndarray) -> ScienceImage:
    nothing = np.zeros(data.shape, bool)
    return ScienceImage(
        "a.fits", data.astype(np.float32), fits.Header(), nothing, nothing, 6.2, 9.0, 6e4
    )


def measure(image: ScienceImage, sky: Sky) -> SkyNoise:
    return measure_sky_noise(sky, find_blank(image, sky))


def draw_stars(rng: np.random.Generator, n: int, flux_adu: float) -> np.ndarray:
    """Moffat stars of FWHM 2 px and one flux."""
    light = np.zeros(SHAPE)
    rows, columns = np.mgrid[-20:21, -20:21]
    for y, x in zip(*(rng.integers(20, size - 21, n) for size in SHAPE), strict=True):
        profile = (1 + (rows**2 + columns**2) / 1.6**2) ** -2.5
        light[y - 20 : y + 21, x - 20 : x + 21] += flux_adu * profile / profile.sum()
    return light


@pytest.mark.parametrize(
    "make_light",
    [
        lambda rng: 0.0,
        lambda rng: 0.05 * np.arange(SHAPE[1]),  # a gradient of 32 ADU
        lambda rng: draw_stars(rng, 400, 30_000.0),
    ],
    ids=["blank", "gradient", "stars"],
)
def test_variance_that_was_put_in(
    make_light: Callable[[np.random.Generator], np.ndarray],
) -> None:
    rng = np.random.default_rng(1)
    image = make_image(SKY_ADU + make_light(rng) + rng.normal(0, SIGMA_ADU, SHAPE))
    found = measure(image, measure_sky(image))
    assert found.variance_adu2 == pytest.approx(SIGMA_ADU**2, rel=0.015)
    assert found.correlation_x == pytest.approx(0, abs=0.015)
    assert found.correlation_y == pytest.approx(0, abs=0.015)


def test_correlation_along_rows_leaves_the_variance_of_a_pixel() -> None:
    """Each pixel hands 5 % of its noise on to the next one of its row, which lacks it before."""
    rng = np.random.default_rng(2)
    noise = rng.normal(0, SIGMA_ADU, SHAPE)
    noise -= 0.05 * np.roll(noise, 1, axis=1)
    image = make_image(SKY_ADU + noise)
    found = measure(image, measure_sky(image))
    assert found.variance_adu2 == pytest.approx(SIGMA_ADU**2 * (1 + 0.05**2), rel=0.015)
    assert found.correlation_x == pytest.approx(-0.05, abs=0.015)
    assert found.correlation_y == pytest.approx(0, abs=0.015)


def test_masked_pixels_do_not_count() -> None:
    rng = np.random.default_rng(3)
    data = SKY_ADU + rng.normal(0, SIGMA_ADU, SHAPE)
    data[:, 200:400] += rng.normal(0, 10 * SIGMA_ADU, (SHAPE[0], 200))
    image = make_image(data)
    image.bad[:, 200:400] = True
    found = measure(image, measure_sky(image))
    assert found.variance_adu2 == pytest.approx(SIGMA_ADU**2, rel=0.02)


def test_no_blank_sky_and_no_noise_are_no_number() -> None:
    rng = np.random.default_rng(4)
    image = make_image(SKY_ADU + rng.normal(0, SIGMA_ADU, SHAPE))
    sky = measure_sky(image)
    rounded = sky._replace(subtracted=np.round(sky.subtracted, -2))
    assert np.isnan(measure(image, rounded)).all()
    image.bad[:, 8:] = True
    assert np.isnan(measure(image, sky)).all()
