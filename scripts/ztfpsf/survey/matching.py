"""The same star in many images: positions that agree within a radius."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from ztfpsf.survey.cells import find_cell
from ztfpsf.survey.fields import make_unit_vectors


class Matched(NamedTuple):
    """A star for each position, and the stars that were not known before."""

    star_id: np.ndarray  # (n,) int64
    new: pd.DataFrame  # star_id, ra_deg, dec_deg


def to_chord(radius_arcsec: float) -> float:
    """Distance of two points on the unit sphere."""
    return 2.0 * np.sin(np.radians(radius_arcsec / 3600) / 2.0)


def find_nearest(
    ra_deg: np.ndarray, dec_deg: np.ndarray, known: pd.DataFrame, radius_arcsec: float
) -> np.ndarray:
    """Row of `known` (ra_deg, dec_deg) that is nearest within the radius, -1 without one, (n,)."""
    if not len(known) or not len(ra_deg):
        return np.full(len(ra_deg), -1)
    tree = KDTree(make_unit_vectors(known["ra_deg"].to_numpy(), known["dec_deg"].to_numpy()))
    _, row = tree.query(
        make_unit_vectors(ra_deg, dec_deg), distance_upper_bound=to_chord(radius_arcsec)
    )
    return np.where(row < len(known), row, -1)


def match(
    ra_deg: np.ndarray, dec_deg: np.ndarray, known: pd.DataFrame, radius_arcsec: float
) -> Matched:
    """Match positions to known stars; those of none become stars of their own, friends as one.

    A new star has the mean of its positions, and a number of its cell above all known ones there.
    """
    row = find_nearest(ra_deg, dec_deg, known, radius_arcsec)
    star_id = np.full(len(ra_deg), -1)
    star_id[row >= 0] = known["star_id"].to_numpy()[row[row >= 0]]
    alone = np.flatnonzero(row < 0)
    vectors = make_unit_vectors(ra_deg[alone], dec_deg[alone])
    friend = _group(vectors, to_chord(radius_arcsec))
    n = int(friend.max(initial=-1)) + 1
    mean = np.stack([np.bincount(friend, axis, n) for axis in vectors.T], axis=1)
    ra = np.mod(np.degrees(np.arctan2(mean[:, 1], mean[:, 0])), 360.0)
    dec = np.degrees(np.arctan2(mean[:, 2], np.hypot(mean[:, 0], mean[:, 1])))
    new = _number(find_cell(ra, dec), known["star_id"].to_numpy())
    star_id[alone] = new[friend]
    return Matched(star_id, pd.DataFrame({"star_id": new, "ra_deg": ra, "dec_deg": dec}))


def _group(vectors: np.ndarray, chord: float) -> np.ndarray:
    """Friends of friends: a number for each position, (n,)."""
    if not len(vectors):
        return np.zeros(0, int)
    pairs = KDTree(vectors).query_pairs(chord, output_type="ndarray")
    ones = np.ones(len(pairs), np.uint8)
    graph = sparse.coo_array((ones, (pairs[:, 0], pairs[:, 1])), (len(vectors),) * 2)
    return connected_components(graph, directed=False)[1]


def _number(cell: np.ndarray, known_ids: np.ndarray) -> np.ndarray:
    """Ids of new stars: 2^32 times the cell plus numbers that are free, (n,) int64."""
    free = pd.Series(known_ids % 2**32 + 1).groupby(known_ids // 2**32).max()
    first = pd.Series(cell).map(free).fillna(0).to_numpy(np.int64)
    return cell.astype(np.int64) * 2**32 + first + pd.Series(cell).groupby(cell).cumcount()
