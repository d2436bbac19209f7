"""Which stars overlap: pairs closer than the reach of the PSF, and the groups they form."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

# Stars whose fluxes correlate by less are no pair: the residuals tell one of the other.
LEAST_CORRELATION = 0.01
MAX_GROUP = 32  # stars
SHRINK = 0.8


def find_reach(psf_stamp: np.ndarray) -> float:
    """Distance in px beyond which the fluxes of two stars correlate by less than 1 %.

    `psf_stamp`: (S, S). The correlation is the autocorrelation of the PSF, 1 at distance 0, as it
    is for two stars in the noise of the sky. Never more than S - 1.
    """
    size = len(psf_stamp)
    power = np.abs(np.fft.rfft2(psf_stamp, (2 * size, 2 * size))) ** 2
    correlation = np.fft.irfft2(power, (2 * size, 2 * size))
    step = np.fft.fftfreq(2 * size, 1 / (2 * size))
    distance = np.hypot(step[:, None], step)
    is_near = correlation > LEAST_CORRELATION * correlation[0, 0]
    return float(min(distance[is_near].max() + 1.0, size - 1.0))


def find_pairs(position_px: np.ndarray, reach_px: float) -> np.ndarray:
    """Pairs of the stars at (n, 2) that are closer than `reach_px`, (m, 2)."""
    pairs = cKDTree(position_px).query_pairs(reach_px, output_type="ndarray")
    return pairs.astype(int).reshape(-1, 2)


def pair_distances(position_px: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Distance of the two stars of each pair, (m,)."""
    return np.hypot(*(position_px[pairs[:, 0]] - position_px[pairs[:, 1]]).T)


def find_groups(position_px: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Number of the group of each star, (n,): friends of friends, at most MAX_GROUP together.

    Larger groups fall apart where their pairs are widest: in a crowded field all stars hang
    together, and few of them matter to each other.
    """
    n, distance = len(position_px), pair_distances(position_px, pairs)
    is_link = np.ones(len(pairs), bool)
    while True:
        links = pairs[is_link]
        graph = coo_array((np.ones(len(links)), links.T), shape=(n, n))
        _, group = connected_components(graph, directed=False)
        is_wide = (np.bincount(group) > MAX_GROUP)[group[pairs[:, 0]]] & is_link
        if not is_wide.any():
            return group
        # More than MAX_GROUP catalogue entries of one position end here, at distance 0.
        is_link &= ~is_wide | (distance < SHRINK * distance[is_wide].max())
