"""Airmass over the focal plane, from Palomar."""

from typing import NamedTuple

import numpy as np

from ztfpsf.survey.fields import HALF_PX, PIXEL_ARCSEC

LATITUDE_DEG, LONGITUDE_DEG = 33.3563, -116.8648
J2000_MJD = 51544.5


class Airmass(NamedTuple):
    """At the centre of exposures, and how it changes to the edge of the focal plane, (n,)."""

    centre: np.ndarray
    to_east: np.ndarray
    to_north: np.ndarray


def find_airmass(ra_deg: np.ndarray, dec_deg: np.ndarray, mjd: np.ndarray) -> np.ndarray:
    """Airmass of positions at UT days, good to 0.1 % above 20 deg of altitude.

    Pickering (2002); the sidereal time is that of Greenwich to 0.1 s (Meeus 1998), UT1 = UTC.
    """
    hour_angle = _find_hour_angle(ra_deg, mjd)
    dec, latitude = np.radians(dec_deg), np.radians(LATITUDE_DEG)
    sine = np.sin(latitude) * np.sin(dec) + np.cos(latitude) * np.cos(dec) * np.cos(hour_angle)
    altitude = np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))
    # ASSUME: nobody observes below 1 deg; the formula has no sense there.
    altitude = np.maximum(altitude, 1.0)
    return 1.0 / np.sin(np.radians(altitude + 244.0 / (165.0 + 47.0 * altitude**1.1)))


def _find_hour_angle(ra_deg: np.ndarray, mjd: np.ndarray) -> np.ndarray:
    """Hour angle, rad."""
    sidereal = 280.46061837 + 360.98564736629 * (np.asarray(mjd) - J2000_MJD) + LONGITUDE_DEG
    return np.radians(sidereal - ra_deg)


def find_parallactic_deg(ra_deg: np.ndarray, dec_deg: np.ndarray, mjd: np.ndarray) -> np.ndarray:
    """Position angle of the zenith at positions and UT days, from North through East, deg."""
    hour_angle = _find_hour_angle(ra_deg, mjd)
    dec, latitude = np.radians(dec_deg), np.radians(LATITUDE_DEG)
    north = np.tan(latitude) * np.cos(dec) - np.sin(dec) * np.cos(hour_angle)
    return np.degrees(np.arctan2(np.sin(hour_angle), north))


def find_gradient(ra_deg: np.ndarray, dec_deg: np.ndarray, mjd: np.ndarray) -> Airmass:
    """Airmass at the centres, and its linear change over half the focal plane."""
    step = 1.0
    centre = find_airmass(ra_deg, dec_deg, mjd)
    east = ra_deg + step / np.maximum(np.cos(np.radians(dec_deg)), 0.02)
    half_east, half_north = (half * PIXEL_ARCSEC / 3600 for half in HALF_PX)
    to_east = (find_airmass(east, dec_deg, mjd) - centre) / step * half_east
    to_north = (find_airmass(ra_deg, dec_deg + step, mjd) - centre) / step * half_north
    return Airmass(centre, to_east, to_north)
