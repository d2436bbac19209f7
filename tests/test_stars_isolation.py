"""Isolation: the brightest neighbour of each star."""

import numpy as np
import pytest
from quadrants import make_criteria
from ztfpsf.stars.isolation import find_neighbour_difference
from ztfpsf.stars.selection import find_crowded


def compare(offsets_arcsec, mag, radius=20.0, dec=0.0, of_interest=None):
    ra = 150 + np.array(offsets_arcsec) / 3600 / np.cos(np.radians(dec))
    mag = np.array(mag, dtype=float)
    wanted = np.ones(len(mag), bool) if of_interest is None else np.array(of_interest)
    return find_neighbour_difference(ra, np.full(len(mag), dec), mag, wanted, radius)


@pytest.mark.parametrize("dec", [0.0, 60.0, -89.0])
def test_any_neighbour_within_20_arcsec_counts_by_default_of_ztfimg(dec):
    difference = compare([0, 15, 40], [15, 15, 15], dec=dec)
    criteria = make_criteria(neighbour_magnitude_difference_mag=None)
    assert (~find_crowded(difference, criteria)).tolist() == [False, False, True]


def test_difference_is_that_of_the_brightest_neighbour():
    difference = compare([0, 10, 12, 100], [15.0, 19.0, 17.5, 12.0])
    np.testing.assert_allclose(difference, [2.5, -4, -2.5, np.nan])


def test_magnitude_difference_decides():
    difference = compare([0, 10], [15.0, 18.5])
    crowded = [
        find_crowded(difference, make_criteria(neighbour_magnitude_difference_mag=limit)).tolist()
        for limit in (3.0, 4.0, None)
    ]
    assert crowded == [[False, True], [True, True], [True, True]]


def test_stars_of_no_interest_are_neighbours_only():
    difference = compare([0, 10], [15, 20], of_interest=[True, False])
    np.testing.assert_allclose(difference, [5, np.nan])


def test_two_entries_at_one_position_are_neighbours():
    np.testing.assert_allclose(compare([0, 0], [15, 15]), [0, 0])


def test_no_star_of_interest():
    assert np.isnan(compare([0, 1], [15, 15], of_interest=[False, False])).all()


def test_agrees_with_brute_force():
    rng = np.random.default_rng(6)
    ra, dec = rng.uniform(10, 10.2, 300), rng.uniform(70, 70.1, 300)
    mag = rng.uniform(12, 20, 300)
    found = find_neighbour_difference(ra, dec, mag, np.ones(300, bool), 20.0)
    dx = (ra[:, None] - ra) * np.cos(np.radians(70.05)) * 3600
    distance = np.hypot(dx, (dec[:, None] - dec) * 3600)
    near = (distance < 20) & ~np.eye(300, dtype=bool)
    # The flat distance is good to 1e-3: pairs at the limit are left out.
    clear = (np.abs(distance - 20) > 0.1).all(axis=1)
    expected = np.where(near, mag, np.inf).min(axis=1) - mag
    expected[np.isinf(expected)] = np.nan
    np.testing.assert_allclose(found[clear], expected[clear])
