"""Which stars overlap, and the groups they form."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

# Stars whose fluxes correlate by less are not linked: the residuals tell one of the other.
LEAST_CORRELATION = 0.01
MAX_GROUP = 16  # stars: matrices of 48 x 48, inverted many at once
# What is left of the longest link, round by round, until a large group has fallen apart.
SHRINK = 0.8


class Overlaps(NamedTuple):
    """How n stars meet."""

    group: np.ndarray  # (n,) number of each star's group
    pairs: np.ndarray  # (m, 2) all pairs of stars of the same group
    n_neighbours: np.ndarray  # (n,) stars within reach
    is_crowded: np.ndarray  # (n,) of a group that was too large and is cut in parts


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
    """Friends of friends of stars at (n, 2), linked within `reach_px`, at most MAX_GROUP together.

    Larger groups fall apart where their links are longest.
    """
    n = len(position_px)
    links = cKDTree(position_px).query_pairs(reach_px, output_type="ndarray")
    links = links.astype(int).reshape(-1, 2)
    distance = np.hypot(*(position_px[links[:, 0]] - position_px[links[:, 1]]).T)
    group = _connect(n, links)
    is_crowded = (np.bincount(group) > MAX_GROUP)[group]
    left, far = links, distance
    while (is_large := (np.bincount(group) > MAX_GROUP)[group[left[:, 0]]]).any():
        # Many entries at one position end here, at distance 0, each alone.
        is_kept = ~is_large | (far < SHRINK * far[is_large].max())
        left, far = left[is_kept], far[is_kept]
        group = _connect(n, left)
    n_neighbours = np.bincount(links.ravel(), minlength=n)
    return Overlaps(group, _pairs_within(group), n_neighbours, is_crowded)


def _connect(n: int, links: np.ndarray) -> np.ndarray:
    graph = coo_array((np.ones(len(links)), links.T), shape=(n, n))
    return connected_components(graph, directed=False)[1]


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
