"""Hierarchical triangular mesh: the cells (trixels) the LSST reference catalogues are cut into.

Szalay et al. 2007, arXiv:cs/0701164. The eight faces of the octahedron (ids 8..15) are divided
into four `depth` times; the children of trixel i are 4 i .. 4 i + 3, so that the ids of depth d
run from 8 * 4^d to 16 * 4^d - 1 (131072..262143 at depth 7, sides of 0.6 to 1 degree).
"""

import numpy as np

from ztfpsf.stars.sky import to_unit_vectors

_X, _Y, _Z = np.eye(3)
# Faces S0..S3, N0..N3, corners counter-clockwise seen from outside.
FACES = np.array(
    [
        [_X, -_Z, _Y],
        [_Y, -_Z, -_X],
        [-_X, -_Z, -_Y],
        [-_Y, -_Z, _X],
        [_X, _Z, -_Y],
        [-_Y, _Z, -_X],
        [-_X, _Z, _Y],
        [_Y, _Z, _X],
    ]
)


def cover_cone(ra_deg: float, dec_deg: float, radius_deg: float, depth: int) -> np.ndarray:
    """Sorted ids of all trixels that share a point with a cone (a circle on the sky), int64."""
    axis = to_unit_vectors(np.array([ra_deg]), np.array([dec_deg]))[0]
    ids, corners = np.arange(8, 16), FACES
    keep = _touches(corners, axis, radius_deg)
    ids, corners = ids[keep], corners[keep]
    for _ in range(depth):
        ids = (4 * ids[:, None] + np.arange(4)).ravel()
        corners = divide(corners).reshape(-1, 3, 3)
        keep = _touches(corners, axis, radius_deg)
        ids, corners = ids[keep], corners[keep]
    return np.sort(ids)


def divide(corners: np.ndarray) -> np.ndarray:
    """Children (n, 4, 3, 3) of trixels with corners (n, 3, 3)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, bc, ca = _middle(a, b), _middle(b, c), _middle(c, a)
    children = [[a, ab, ca], [b, bc, ab], [c, ca, bc], [bc, ca, ab]]
    return np.stack([np.stack(child, axis=1) for child in children], axis=1)


def _middle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    middle = a + b
    return middle / np.linalg.norm(middle, axis=-1, keepdims=True)


def edge_normals(corners: np.ndarray) -> np.ndarray:
    """Unit normals (..., 3, 3) of the planes through the edges, pointing inwards."""
    normals = np.cross(corners, np.roll(corners, -1, axis=-2))
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def _touches(corners: np.ndarray, axis: np.ndarray, radius_deg: float) -> np.ndarray:
    """Which trixels (n, 3, 3) have a point within `radius_deg` of the unit vector `axis`."""
    normals = edge_normals(corners)
    heights = normals @ axis  # sine of the distance to the great circle of each edge
    inside = (heights >= 0).all(axis=-1)
    # The nearest point of an edge is the foot of the perpendicular where that lies between the
    # corners, and one of the corners elsewhere.
    following = np.roll(corners, -1, axis=-2)
    along = np.cross(normals, corners) @ axis >= 0
    before_end = np.cross(following, normals) @ axis >= 0
    radius = np.radians(radius_deg)
    to_foot = np.where(along & before_end, np.abs(np.arcsin(np.clip(heights, -1, 1))), np.inf)
    to_corner = np.arccos(np.clip(corners @ axis, -1, 1))
    return inside | (np.minimum(to_foot, to_corner).min(axis=-1) <= radius)
