"""Statistics that outliers do not change."""

import numpy as np
import pytest
from ztfpsf.robust import clipped_mean, fit_clipped, mad_sigma

N = 400


def make_values(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """0.3, errors of two sizes, 0.02 of scatter; one value in forty is far off."""
    errors = np.repeat([0.001, 0.05], N // 2)
    values = 0.3 + rng.standard_normal(N) * np.hypot(errors, 0.02)
    values[::40] += 3.0
    return values, errors


def test_mean_knows_scatter_and_outliers() -> None:
    values, errors = make_values(np.random.default_rng(5))
    found = clipped_mean(values, errors)
    assert found.value == pytest.approx(0.3, abs=3 * found.error)
    assert found.error == pytest.approx(0.02 / np.sqrt(N / 2), rel=0.3)
    assert found.n == 390
    fit = fit_clipped(np.ones((N, 1)), values, errors, min_values=1)
    assert fit.scatter == pytest.approx(0.02, rel=0.2)
    assert not fit.kept[::40].any()


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_values_have_no_mean(n: int) -> None:
    found = clipped_mean(np.ones(n), np.ones(n))
    assert np.isnan(found.value)
    assert found.n == 0


def test_errors_of_a_line_are_right() -> None:
    """Pulls of both coefficients over many data sets; without scatter none is found."""
    rng = np.random.default_rng(6)
    x = np.linspace(-1, 1, 60)
    design = np.stack([np.ones(60), x], axis=1)
    errors = rng.uniform(0.5, 2.0, 60)
    pulls = []
    for _ in range(400):
        fit = fit_clipped(design, 2.0 - 3.0 * x + errors * rng.standard_normal(60), errors, 3)
        pulls.append((fit.coefficients - [2.0, -3.0]) / fit.errors)
    np.testing.assert_allclose(np.std(pulls, axis=0), 1.0, atol=0.12)
    np.testing.assert_allclose(np.mean(pulls, axis=0), 0.0, atol=0.2)


def test_values_that_are_no_numbers_are_not_used() -> None:
    values, errors = np.array([1.0, np.nan, 1.0, 9.0, 1.0]), np.array([1.0, 1.0, np.inf, -1.0, 2.0])
    fit = fit_clipped(np.ones((5, 1)), values, errors, min_values=2)
    assert fit.kept.tolist() == [True, False, False, False, True]
    assert fit.coefficients[0] == pytest.approx(1.0)
    few = fit_clipped(np.ones((5, 1)), values, errors, min_values=3)
    assert np.isnan(few.coefficients).all()
    assert np.isnan(few.errors).all()
    assert not few.kept.any()


def test_scatter_of_gaussian_values_with_outliers() -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(5.0, 2.0, (3, 20_000)).astype(np.float32)
    values[:, ::50], values[:, 1::50] = 1e6, np.nan
    found = mad_sigma(values, axis=1)
    assert found.shape == (3,)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 2.0, rtol=0.05)
    assert mad_sigma(values) == pytest.approx(2.0, rel=0.05)
