"""Isolation: the light that neighbours add to a star."""

import numpy as np
import pytest
from ztfpsf.stars import isolation
from ztfpsf.stars.isolation import MOFFAT_BETA, find_neighbour_light

GAMMA_ARCSEC = 2.0


def measure(
    offsets_arcsec: list[float],
    mag: list[float],
    dec_deg: float = 0.0,
    radius_arcsec: float = 20.0,
    enough: float = np.inf,
) -> np.ndarray:
    """Of sources along a parallel."""
    ra = 150 + np.array(offsets_arcsec) / 3600 / np.cos(np.radians(dec_deg))
    dec, stars = np.full(len(mag), dec_deg), np.arange(len(mag))
    mags = np.array(mag, float)
    return find_neighbour_light(ra, dec, mags, stars, GAMMA_ARCSEC, radius_arcsec, enough)


def fit_flux(distance_px: float, gamma_px: float) -> float:
    """Flux that a fit of the star's profile takes from a neighbour of flux 1, in pixels."""
    y, x = np.mgrid[-160:161, -160:161] / 4.0
    profile, neighbour = (
        (1 + r2 / gamma_px**2) ** -MOFFAT_BETA
        for r2 in (x**2 + y**2, (x - distance_px) ** 2 + y**2)
    )
    # What lies nearer to the neighbour is masked in the stamps.
    own_side = x < distance_px / 2
    return (profile * neighbour)[own_side].sum() / (profile**2)[own_side].sum()


@pytest.mark.parametrize("dec_deg", [0.0, 60.0, -89.0])
def test_light_of_one_neighbour_is_what_a_fit_takes(dec_deg: float) -> None:
    light = measure([0, 12], [15.0, 16.0], dec_deg)
    expected = 10 ** (-0.4) * fit_flux(12.0, GAMMA_ARCSEC)
    np.testing.assert_allclose(light, [expected, expected * 10**0.8], rtol=0.25)


def test_neighbours_add_up_within_the_radius() -> None:
    one, _ = measure([0, 10], [15.0, 15.0])
    both, *_ = measure([0, 10, -10, 30], [15.0, 15.0, 15.0, 5.0])
    assert both == pytest.approx(2 * one, rel=1e-6)


def test_two_entries_at_one_position_are_neighbours() -> None:
    peak = (2 * MOFFAT_BETA - 1) / (MOFFAT_BETA - 1)
    np.testing.assert_allclose(measure([0, 0], [15, 15]), [peak, peak])


def test_source_without_a_magnitude_has_no_light() -> None:
    light = measure([0, 8, 40], [15.0, np.nan, 15.0])
    np.testing.assert_array_equal(light, 0)


def test_agrees_with_brute_force_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """In rounds of 50 neighbours, too, where nothing is enough and where little is."""
    rng = np.random.default_rng(6)
    ra, dec = rng.uniform(10, 10.2, 300), rng.uniform(70, 70.1, 300)
    mag, stars = rng.uniform(12, 20, 300), rng.permutation(300)[:120]
    dx = (ra[:, None] - ra) * np.cos(np.radians(70.05)) * 3600
    distance = np.hypot(dx, (dec[:, None] - dec) * 3600)
    light = 10 ** (-0.4 * (mag - mag[:, None])) * (1 + (distance / 2) ** 2) ** -MOFFAT_BETA
    light *= (distance < 20) & ~np.eye(300, dtype=bool)
    expected = 8 / 3 * light.sum(axis=1)[stars]
    # The flat distance is good to 1e-3: pairs at the limit are left out.
    clear = (np.abs(distance - 20) > 0.1).all(axis=1)[stars]
    monkeypatch.setattr(isolation, "FIRST_NEIGHBOURS", 50)
    found = find_neighbour_light(ra, dec, mag, stars, 2.0, 20.0, np.inf)
    np.testing.assert_allclose(found[clear], expected[clear], rtol=0.02)
    limited = find_neighbour_light(ra, dec, mag, stars, 2.0, 20.0, 0.01)
    np.testing.assert_array_equal(limited > 0.01, found > 0.01)
    np.testing.assert_allclose(limited[found <= 0.01], found[found <= 0.01])


def test_no_star() -> None:
    none = np.zeros(0, int)
    assert len(find_neighbour_light(np.ones(2), np.ones(2), np.ones(2), none, 2.0, 9.0, 1.0)) == 0
