"""Quadrants that may hold a position: those of the focal plane, and of real headers."""

import numpy as np
import pytest
from ztfpsf.footprints import MARGIN_PX, find_in_field, find_quadrants, is_on_grid
from ztfpsf.survey.fields import find_places, project, read_fields

# Field, CCD, quadrant, CRVAL1, CRVAL2 of images whose CRPIX is the centre of the quadrant.
REAL = [
    (655, 13, 3, 57.9974, 35.7463),
    (600, 4, 4, 358.4370, 22.8029),
    (667, 3, 2, 147.4837, 30.8648),
]


@pytest.mark.parametrize("real", REAL, ids=lambda real: str(real[0]))
def test_real_images_hold_their_centre(real: tuple[int, int, int, float, float]) -> None:
    field, ccdid, qid, ra, dec = real
    held = {found[1:] for found in find_quadrants(ra, dec) if found[0] == field}
    assert held == {(ccdid, qid)}


def test_quadrants_are_those_of_the_focal_plane() -> None:
    """Of random places near the equator, across RA 0, near the pole."""
    random = np.random.default_rng(1)
    fields = read_fields().set_index("field")
    n_held = 0
    for ra, dec in zip(random.uniform(-5, 5, 30), [0.0, 60.0, 88.0] * 10, strict=True):
        ra = ra % 360
        found = set(find_quadrants(ra, dec))
        near = fields[np.abs(fields["dec_deg"] - dec) < 10]
        for field, (centre_ra, centre_dec) in near[["ra_deg", "dec_deg"]].iterrows():
            place = find_places(*project(np.array([ra]), np.array([dec]), centre_ra, centre_dec))
            if place.rcid[0] >= 0:
                ccdid, qid = divmod(int(place.rcid[0]), 4)
                assert (field, ccdid + 1, qid + 1) in found
                n_held += 1
    assert n_held > 20


def test_margin_and_no_more() -> None:
    east_deg = (488 / 2 + 2 * 3072 + MARGIN_PX + np.array([-30, 30])) * 1.0125 / 3600
    ra = 55.0608 + east_deg / np.cos(np.radians(33.35 - 1.0))
    # 1 deg to the South CCD 6 ends to the East, and CCD 5 begins 488 px farther on; quadrants of
    # each meet there, within the margin.
    held = [find_in_field(655, one, 33.35 - 1.0) for one in ra]
    assert held == [[(6, 1), (6, 4)], [(5, 2), (5, 3)]]


def test_field_of_no_grid() -> None:
    assert is_on_grid(655)
    assert not is_on_grid(990)
