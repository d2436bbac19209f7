"""Pixel integration against a brute-force rule."""

import jax.numpy as jnp
import numpy as np
import pytest
from ztfpsf.psf.models import moffat
from ztfpsf.psf.profile import pixels

pytestmark = pytest.mark.usefixtures("strict_promotion")


def brute_force(profile, x: float, y: float, size_px: int, n: int = 40) -> np.ndarray:
    node, weight = np.polynomial.legendre.leggauss(n)
    fine = (pixels.offsets(size_px)[:, None] + node / 2).ravel()
    values = np.asarray(profile(jnp.asarray(fine - x), jnp.asarray(fine - y)[:, None]))
    blocks = values.reshape(size_px, n, size_px, n)
    return np.einsum("injm,n,m->ij", blocks, weight / 2, weight / 2)


@pytest.mark.parametrize(("fwhm_px", "limit"), [(0.8, 4e-5), (1.0, 1e-5), (1.6, 1e-5), (3.0, 1e-5)])
@pytest.mark.parametrize("alpha", [1.5, 3.0, 8.0])
@pytest.mark.parametrize("size_px", [17, 25])
def test_error_of_a_pixel_relative_to_the_flux(fwhm_px, limit, alpha, size_px) -> None:
    params = moffat.Params(
        *(jnp.asarray(v) for v in (np.log(fwhm_px), np.log(alpha - 1), 0.1, 0.05))
    )

    def profile(dx, dy):
        return moffat.profile(dx, dy, params)

    for x, y in [(0.0, 0.0), (0.5, 0.5), (0.3, -0.4), (0.5, 0.0)]:
        ours = pixels.integrate(profile, jnp.asarray(x), jnp.asarray(y), size_px)
        np.testing.assert_allclose(ours, brute_force(profile, x, y, size_px), atol=limit)


@pytest.mark.parametrize("size_px", [3, 5, 7])
def test_small_stamps_are_the_middle_of_large_ones(size_px) -> None:
    def profile(dx, dy):
        return moffat.profile(dx, dy, moffat.start(1.8))

    x, y = jnp.asarray(0.1), jnp.asarray(0.2)
    large = pixels.integrate(profile, x, y, 25)
    low = 12 - size_px // 2
    middle = large[low : low + size_px, low : low + size_px]
    np.testing.assert_allclose(pixels.integrate(profile, x, y, size_px), middle, atol=1e-3)
