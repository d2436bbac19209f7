"""How much fainter than a star its brightest neighbour is."""

import numpy as np
from scipy.spatial import cKDTree

from ztfpsf.stars.sky import to_unit_vectors


def find_neighbour_difference(
    ra_deg: np.ndarray,
    dec_deg: np.ndarray,
    mag: np.ndarray,
    of_interest: np.ndarray,
    radius_arcsec: float,
) -> np.ndarray:
    """Magnitude of the brightest neighbour within `radius_arcsec` minus the star's own, (n,).

    Only stars `of_interest` (bool) are looked at, all others can be neighbours. NaN: the star
    has no neighbour, or is not of interest. Two entries at one position are neighbours.
    """
    difference = np.full(len(mag), np.nan)
    stars = np.flatnonzero(of_interest)
    if len(stars) == 0:
        return difference
    vectors = to_unit_vectors(ra_deg, dec_deg)
    chord = 2 * np.sin(np.radians(radius_arcsec / 3600) / 2)
    pairs = cKDTree(vectors[stars]).sparse_distance_matrix(
        cKDTree(vectors), chord, output_type="ndarray"
    )
    star, neighbour = stars[pairs["i"]], pairs["j"]
    others = star != neighbour
    brightest = np.full(len(mag), np.inf)
    np.minimum.at(brightest, star[others], mag[neighbour[others]])
    has_neighbour = np.isfinite(brightest)
    difference[has_neighbour] = brightest[has_neighbour] - mag[has_neighbour]
    return difference
