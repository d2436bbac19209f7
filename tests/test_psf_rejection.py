"""The median by bisection against numpy's, and what it is used for."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import maximum_filter
from scipy.stats import median_abs_deviation
from ztfpsf.psf.weights import rejection
from ztfpsf.psf.weights.median import median, median_and_mad


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_median_is_that_of_numpy(axis: int, n: int) -> None:
    rng = np.random.default_rng(n)
    values = np.round(rng.normal(size=(n, n)), 1) * 10.0 ** rng.integers(-3, 6, (n, n))
    values[0, 0] = np.nan
    where = rng.random((n, n)) < 0.8
    masked = np.where(where & np.isfinite(values), values, np.nan)
    expected = [
        np.median(line[np.isfinite(line)]) if np.isfinite(line).any() else 0.0
        for line in (masked.T if axis == 0 else masked)
    ]
    found = median(jnp.asarray(values), jnp.asarray(where), axis)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_deviation_is_that_of_scipy() -> None:
    rng = np.random.default_rng(5)
    values, where = rng.normal(3.0, 2.0, (6, 21)), rng.random((6, 21)) < 0.8
    typical, deviation = median_and_mad(jnp.asarray(values), jnp.asarray(where), 1)
    lines = [line[mine] for line, mine in zip(values, where, strict=True)]
    np.testing.assert_allclose(typical, [np.median(line) for line in lines])
    np.testing.assert_allclose(deviation, [median_abs_deviation(line) for line in lines])


def test_largest_neighbour_is_that_of_scipy() -> None:
    values = np.random.default_rng(2).random((3, 6, 5))
    found = values
    for axis in (1, 2):
        found = rejection._largest_neighbour(jnp.asarray(found), axis)
    np.testing.assert_array_equal(found, maximum_filter(values, size=(1, 3, 3)))
