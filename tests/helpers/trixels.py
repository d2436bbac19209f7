"""The trixel that a point lies in, to judge the trixels that a cone touches."""

import numpy as np
from ztfpsf.stars.htm import FACES, divide, edge_normals
from ztfpsf.stars.sky import to_unit_vectors


def find_trixels(ra_deg: np.ndarray, dec_deg: np.ndarray, depth: int) -> np.ndarray:
    """Ids of the trixels that hold the given points, shape (n,) int64."""
    points = to_unit_vectors(np.atleast_1d(ra_deg), np.atleast_1d(dec_deg))
    faces = np.broadcast_to(FACES, (len(points), 8, 3, 3))
    chosen = _first_holding(faces, points)
    ids = 8 + chosen
    corners = FACES[chosen]
    for _ in range(depth):
        children = divide(corners)
        chosen = _first_holding(children, points)
        ids = 4 * ids + chosen
        corners = children[np.arange(len(points)), chosen]
    return ids


def _first_holding(candidates: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Index of the candidate (n, k, 3, 3) that each point (n, 3) lies in.

    The largest of the smallest distances to the edges decides, so that a point on an edge, which
    rounding may put outside of both neighbours, still has a trixel.
    """
    depths = np.einsum("nkej,nj->nke", edge_normals(candidates), points).min(axis=-1)
    return depths.argmax(axis=-1)
