"""Which stars overlap, and the groups they form."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

# Stars whose fluxes correlate by less are not linked: the residuals tell one of the other.
LEAST_CORRELATION = 0.01
MAX_GROUP = 16  # stars
SHRINK = 0.8


class Overlaps(NamedTuple):
    """Stars that meet in the normal matrix, of n stars."""

    pairs: np.ndarray  # (m, 2) stars within reach of each other, or of one group
    group: np.ndarray  # (n,) number of each star's group
    n_neighbours: np.ndarray  # (n,) stars within reach


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


def find_overlaps(position_px: np.ndarray, reach_px: float) -> Overlaps:
    """`position_px`: (n, 2). A group is complete: a part of its pairs would not be a covariance."""
    n = len(position_px)
    links = cKDTree(position_px).query_pairs(reach_px, output_type="ndarray")
    links = links.astype(int).reshape(-1, 2)
    distance = np.hypot(*(position_px[links[:, 0]] - position_px[links[:, 1]]).T)
    group = _find_groups(n, links, distance)
    apart = links[group[links[:, 0]] != group[links[:, 1]]]
    pairs = np.concatenate([_pairs_within(group), apart])
    return Overlaps(pairs, group, np.bincount(links.ravel(), minlength=n))


def _find_groups(n: int, links: np.ndarray, distance_px: np.ndarray) -> np.ndarray:
    """Friends of friends, at most MAX_GROUP together, (n,).

    Larger groups fall apart where their links are longest: in a crowded field all stars hang
    together, and few of them matter to each other.
    """
    is_link = np.ones(len(links), bool)
    while True:
        kept = links[is_link]
        graph = coo_array((np.ones(len(kept)), kept.T), shape=(n, n))
        _, group = connected_components(graph, directed=False)
        is_large = (np.bincount(group) > MAX_GROUP)[group[links[:, 0]]] & is_link
        if not is_large.any():
            return group
        # More than MAX_GROUP catalogue entries at one position end here, at distance 0.
        is_link &= ~is_large | (distance_px < SHRINK * distance_px[is_large].max())


def _pairs_within(group: np.ndarray) -> np.ndarray:
    """All pairs of stars of the same group, (m, 2)."""
    parts = [np.zeros((0, 2), int)]
    for stars in iterate_groups(group):
        first, second = np.triu_indices(stars.shape[1], 1)
        parts.append(np.stack([stars[:, first], stars[:, second]], axis=-1).reshape(-1, 2))
    return np.concatenate(parts)


def iterate_groups(group: np.ndarray) -> list[np.ndarray]:
    """The stars of all groups of one size, (groups, size), for each size there is."""
    size = np.bincount(group)[group]
    order = np.lexsort((group, size))  # stars of a group follow each other
    return [order[size[order] == m].reshape(-1, m) for m in np.unique(size)]
