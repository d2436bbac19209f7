"""Ratios of the exposures of a group: recovered in units of their errors, whatever is off."""

from typing import NamedTuple

import numpy as np
import pytest
from ztfpsf.errors import InputError
from ztfpsf.survey.ratios import Measurements, solve_ratios
from ztfpsf.survey.terms import make_basis

N_STARS, N_EXPOSURES = 500, 40
SHAPE = (300, 200)
SCATTER = 0.005


class Group(NamedTuple):
    measured: Measurements
    coefficients: np.ndarray
    star_mag: np.ndarray


def make_group(slope_mag: float) -> Group:
    """A group with clouds; exposure 3 has only noise, star 7 varies, 2 % are outliers."""
    random = np.random.default_rng(5)
    star_mag = random.uniform(-12, -8, N_STARS)
    coefficients = random.normal(0, slope_mag, (N_EXPOSURES, 6))
    coefficients[:, 3:] *= 0.3
    coefficients[:, 0] = random.normal(0, 0.3, N_EXPOSURES)
    coefficients -= coefficients.mean(axis=0)
    star, exposure = np.nonzero(random.random((N_STARS, N_EXPOSURES)) < 0.9)
    x, y = random.uniform(0, 199, N_STARS)[star], random.uniform(0, 299, N_STARS)[star]
    u, v = (2 * x + 1) / 200 - 1, (2 * y + 1) / 300 - 1
    basis = np.stack([np.ones(len(u)), *make_basis(u, v, 2)], axis=1)
    error = 0.003 * 10 ** (0.2 * (star_mag[star] + 12))
    mag = star_mag[star] + np.sum(basis * coefficients[exposure], axis=1)
    mag += random.normal(0, 1, len(mag)) * np.hypot(error, SCATTER)
    mag += (random.random(len(mag)) < 0.02) * random.normal(0, 0.5, len(mag))
    mag += (exposure == 3) * random.normal(0, 0.2, len(mag))
    mag += (star == 7) * random.normal(0, 0.2, len(mag))
    order = random.permutation(len(mag))
    columns = (column[order] for column in (star, exposure, mag, error, x, y))
    return Group(Measurements(*columns), coefficients, star_mag)


@pytest.fixture(scope="module")
def group() -> Group:
    return make_group(0.02)


def test_coefficients_are_recovered_within_their_errors(group: Group) -> None:
    ratios = solve_ratios(group.measured, N_EXPOSURES, SHAPE)
    good = np.arange(N_EXPOSURES) != 3
    difference = (ratios.coefficients - group.coefficients)[good]
    difference -= difference.mean(axis=0)
    error = np.sqrt(np.diagonal(ratios.covariance, axis1=1, axis2=2))[good]
    pulls = (difference / error).std(axis=0)
    assert (error[:, 0] < 0.001).all()
    # 39 values each: the width itself is good to 11 %.
    assert np.abs(pulls - 1).max() < 0.35
    assert abs(np.sqrt(np.mean(pulls**2)) - 1) < 0.15


def test_what_is_off_is_named_and_left_out(group: Group) -> None:
    ratios = solve_ratios(group.measured, N_EXPOSURES, SHAPE)
    assert [name != "ok" for name in ratios.status] == [e == 3 for e in range(N_EXPOSURES)]
    assert "clouds" in ratios.status[3]
    # Its ratio is known all the same, from the stars of the others: 0.2 mag / sqrt(450).
    assert ratios.coefficients[3, 0] == pytest.approx(group.coefficients[3, 0], abs=0.05)
    assert ratios.star_n[7] == 0
    # Two exposures of stars that vary have their outliers among what is left out.
    assert 0.015 < ratios.n_rejected[good_exposures()].sum() / len(group.measured.star) < 0.03
    bright = group.star_mag < -10
    assert ratios.scatter_mag[bright].mean() == pytest.approx(SCATTER, rel=0.05)
    used = (ratios.star_n > 0) & np.isfinite(ratios.star_chi2)
    assert ratios.star_chi2[used].mean() == pytest.approx(1.0, abs=0.03)


def good_exposures() -> np.ndarray:
    return np.arange(N_EXPOSURES) != 3


def test_slopes_that_nothing_asks_for_are_drawn_to_zero() -> None:
    group = make_group(0.0)
    ratios = solve_ratios(group.measured, N_EXPOSURES, SHAPE)
    constant = solve_ratios(group.measured, N_EXPOSURES, SHAPE, degree=0)
    good = good_exposures()
    assert np.abs(ratios.coefficients[good, 1:]).max() < 0.002
    errors = [np.sqrt(r.covariance[good, 0, 0]).mean() for r in (ratios, constant)]
    assert errors[0] == pytest.approx(errors[1], rel=0.05)


def test_ratio_at_a_place_has_the_error_of_its_coefficients(group: Group) -> None:
    ratios = solve_ratios(group.measured, N_EXPOSURES, SHAPE)
    centre, corner = (ratios.at(np.array([5]), np.array([u]), np.array([u])) for u in (0.0, 1.0))
    basis = np.array([1, 1, 1, 1, 1, 1.0])
    assert corner[0][0] == pytest.approx(basis @ ratios.coefficients[5])
    assert corner[1][0] == pytest.approx(np.sqrt(basis @ ratios.covariance[5] @ basis))
    assert corner[1][0] > centre[1][0]


def test_order_and_bad_measurements_change_nothing(group: Group) -> None:
    measured = group.measured
    bad = Measurements(
        np.append(measured.star, [1, 2, 3, 4]),
        np.append(measured.exposure, [0, 0, 0, 0]),
        np.append(measured.mag, [np.nan, -10, -10, np.inf]),
        np.append(measured.mag_error, [0.01, 0.0, np.nan, 0.01]),
        np.append(measured.x_px, [1.0] * 4),
        np.append(measured.y_px, [1.0] * 4),
    )
    one, other = (solve_ratios(m, N_EXPOSURES, SHAPE) for m in (measured, bad))
    np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=0, atol=1e-9)


def test_an_exposure_without_stars_says_so(group: Group) -> None:
    ratios = solve_ratios(group.measured, N_EXPOSURES + 1, SHAPE)
    assert ratios.status[-1] == "0 of 0 stars can be used, 5 are needed."
    assert np.isnan(ratios.coefficients[-1, 0])


def test_stars_seen_once_settle_nothing(group: Group) -> None:
    once = Measurements(*(column[:1] for column in group.measured))
    with pytest.raises(InputError, match="none of 1 stars is on two exposures"):
        solve_ratios(once, 2, SHAPE)
