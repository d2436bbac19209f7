"""Hierarchical triangular mesh: ids and cones."""

import numpy as np
import pytest
from trixels import find_trixels
from ztfpsf.stars.htm import cover_cone
from ztfpsf.stars.sky import get_separation_deg, to_angles, to_unit_vectors


def draw_in_cone(ra, dec, radius, n, seed):
    """Uniform points of a cone, by rejection from a cap drawn around the pole."""
    rng = np.random.default_rng(seed)
    height = 1 - rng.uniform(0, 1, n) * (1 - np.cos(np.radians(radius)))
    phi, rho = rng.uniform(0, 2 * np.pi, n), np.sqrt(1 - height**2)
    axis = to_unit_vectors(np.array(ra), np.array(dec))
    east = np.array([-np.sin(np.radians(ra)), np.cos(np.radians(ra)), 0])
    north = np.cross(axis, east)
    ring = np.cos(phi)[:, None] * east + np.sin(phi)[:, None] * north
    return to_angles(height[:, None] * axis + rho[:, None] * ring)


@pytest.mark.parametrize(
    ("ra", "dec", "depth", "expected"),
    [
        # Examples of libtinyhtm's documentation.
        (np.degrees(np.arctan2(0.2, 0.1)), np.degrees(np.arctan2(0.3, np.hypot(0.1, 0.2))), 3, 986),
        (-20.1234, 10.1234, 14, 3278525534),
        # Faces: S0 to S3 are 8 to 11, N0 to N3 are 12 to 15.
        (45, -30, 0, 8),
        (135, -30, 0, 9),
        (225, -30, 0, 10),
        (315, -30, 0, 11),
        (315, 30, 0, 12),
        (225, 30, 0, 13),
        (135, 30, 0, 14),
        (45, 30, 0, 15),
    ],
)
def test_reference_ids(ra, dec, depth, expected):
    assert find_trixels(ra, dec, depth) == [expected]


def test_ids_of_depth_7_span_their_range():
    ra, dec = draw_in_cone(0, 90, 180, 20_000, seed=1)
    ids = find_trixels(ra, dec, 7)
    assert ids.min() >= 131072
    assert ids.max() <= 262143
    # The parent of a trixel holds its points, too.
    np.testing.assert_array_equal(ids // 4, find_trixels(ra, dec, 6))


def test_points_on_edges_have_a_trixel():
    ra, dec = np.array([0, 90, 180, 270, 0, 0, 45]), np.array([0, 0, 0, 0, 90, -90, 0])
    ids = find_trixels(ra, dec, 7)
    assert ((ids >= 131072) & (ids <= 262143)).all()


@pytest.mark.parametrize(
    ("ra", "dec", "radius"),
    [(58.0, 35.7, 0.62), (0, 90, 0.7), (0, 0, 0.7), (45, -89.9, 2), (123, -45, 0.02), (10, 10, 8)],
)
def test_cone_covers_what_its_points_touch(ra, dec, radius):
    points = draw_in_cone(ra, dec, radius, 20_000, seed=2)
    touched = set(find_trixels(*points, 7))
    cover = cover_cone(ra, dec, radius, 7)
    assert touched <= set(cover)
    assert (np.diff(cover) > 0).all()
    # A trixel that the points miss is only grazed: no point well inside of a smaller cone is in it.
    inner = draw_in_cone(ra, dec, 0.9 * radius, 20_000, seed=3)
    assert set(cover_cone(ra, dec, 0.9 * radius, 7)) <= set(cover)
    assert set(find_trixels(*inner, 7)) <= touched


def test_every_trixel_of_the_cover_has_a_point_in_the_cone():
    ra, dec, radius = 58.0, 35.7, 1.2
    touched = set(find_trixels(*draw_in_cone(ra, dec, radius, 200_000, seed=4), 7))
    assert touched == set(cover_cone(ra, dec, radius, 7))


def test_whole_sky():
    np.testing.assert_array_equal(cover_cone(10, 20, 180, 3), np.arange(8 * 4**3, 16 * 4**3))


def test_separation_of_near_and_opposite_points():
    found = get_separation_deg(np.array([10, 190.0]), np.array([1e-7, 0.0]), 10.0, 0.0)
    np.testing.assert_allclose(found, [1e-7, 180], rtol=1e-6)
