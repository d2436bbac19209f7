"""How much light its neighbours add to a star, where it is fitted."""

import numpy as np
from scipy.spatial import cKDTree

from ztfpsf.stars.sky import to_unit_vectors

# ASSUME: wings as in the fits of ZTF stars by a Moffat profile, 1.6 to 5.7.
MOFFAT_BETA = 2.5
HALF_LIGHT_TO_GAMMA = (2 ** (1 / (MOFFAT_BETA - 1)) - 1) ** -0.5
# Neighbours are looked at from the brightest on, so many at first and then twice as many each time.
# Who has too much light already needs no fainter ones: all pairs at once would be 10^8 of a
# catalogue of 200,000 stars in 700 x 700 px.
FIRST_NEIGHBOURS = 5000


def find_neighbour_light(
    ra_deg: np.ndarray,
    dec_deg: np.ndarray,
    mag: np.ndarray,
    stars: np.ndarray,
    gamma_arcsec: float,
    radius_arcsec: float,
    enough: float,
) -> np.ndarray:
    """Light of the neighbours of some `stars` (indices (k,) of n sources), in parts of their own.

    It is what the neighbours add to a flux that is fitted with the star's own profile P, a Moffat
    profile of width gamma: sum_j f_j P(d_j) / (f sum P^2), over neighbours within `radius_arcsec`
    and the plane; good to a quarter, as their light is not quite flat there. Returns (k,); a value
    above `enough` may lack fainter neighbours. A source without a magnitude has no light; two
    entries at one position are neighbours.
    """
    light = np.zeros(len(stars))
    vectors = to_unit_vectors(ra_deg, dec_deg)
    by_brightness = np.argsort(mag, kind="stable")
    left = np.arange(len(stars))
    first, stop = 0, FIRST_NEIGHBOURS
    while len(left) and first < len(mag):
        bright = by_brightness[first:stop]
        pairs = cKDTree(vectors[stars[left]]).sparse_distance_matrix(
            cKDTree(vectors[bright]), _to_chord(radius_arcsec), output_type="ndarray"
        )
        star, neighbour = stars[left][pairs["i"]], bright[pairs["j"]]
        ratio = 10 ** (-0.4 * (mag[neighbour] - mag[star])) * (star != neighbour)
        profile = (1 + (pairs["v"] / _to_chord(gamma_arcsec)) ** 2) ** -MOFFAT_BETA
        np.add.at(light, left[pairs["i"]], np.nan_to_num(ratio * profile))
        left = left[_of_own(light[left]) <= enough]
        first, stop = stop, 2 * stop
    return _of_own(light)


def _of_own(light: np.ndarray) -> np.ndarray:
    """Light at the centre in units of the central brightness, as a part of the fitted flux.

    P(0) / sum P^2 of a Moffat profile.
    """
    return light * (2 * MOFFAT_BETA - 1) / (MOFFAT_BETA - 1)


def _to_chord(angle_arcsec: float) -> float:
    """Distance of unit vectors that are an angle apart."""
    return 2 * np.sin(np.radians(angle_arcsec / 3600) / 2)
