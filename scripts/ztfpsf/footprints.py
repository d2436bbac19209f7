"""Which quadrants of ZTF's fields may hold a place on the sky, from the grid of the fields alone.

An image's name says its field, CCD and quadrant; the survey points at the centres of its fields
and never turns the camera. So a hundred thousand images are found without opening one. Centres of
quadrants of six real headers are 92 to 164 px from where the grid has them, so that images within
MARGIN_PX are taken too: whether they hold the place, their own world coordinates tell later.
The standard library only: used at every start of the workflow.
"""

import csv
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ztfpsf.focal_plane import (
    CCDS,
    GAP_PX,
    PIXEL_ARCSEC,
    QUADRANTS,
    SHAPE,
    quadrant_offset_px,
)

MARGIN_PX = 250
FIELDS = Path(__file__).parent / "survey" / "data" / "fields.csv"
_HALF_DIAGONAL_PX = math.hypot(4 * SHAPE[1] + 1.5 * GAP_PX[0], 4 * SHAPE[0] + 1.5 * GAP_PX[1])
_RADIUS_DEG = (_HALF_DIAGONAL_PX + 2 * MARGIN_PX) * PIXEL_ARCSEC / 3600
_COSINE = math.cos(math.radians(_RADIUS_DEG))


@cache
def read_centres() -> dict[int, tuple[float, float]]:
    """RA and Dec (deg) of the centre of each field of the survey."""
    with open(FIELDS, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {int(r["field"]): (float(r["ra_deg"]), float(r["dec_deg"])) for r in rows}


def is_on_grid(field: int) -> bool:
    """Whether a field is one of the survey's: of others only their images know where they are."""
    return field in read_centres()


def find_quadrants(ra_deg: float, dec_deg: float) -> Iterator[tuple[int, int, int]]:
    """Field, CCD and quadrant of all that may hold a position."""
    for field in read_centres():
        for ccdid, qid in find_in_field(field, ra_deg, dec_deg):
            yield field, ccdid, qid


def find_in_field(field: int, ra_deg: float, dec_deg: float) -> list[tuple[int, int]]:
    """CCD and quadrant of those of a field of the survey that may hold a position."""
    offset = _project(*read_centres()[field], ra_deg, dec_deg)
    if offset is None:
        return []
    ny, nx = SHAPE
    return [
        quadrant
        for quadrant, (east, north) in _list_centres().items()
        if abs(offset[0] - east) <= nx / 2 + MARGIN_PX
        and abs(offset[1] - north) <= ny / 2 + MARGIN_PX
    ]


@cache
def _list_centres() -> dict[tuple[int, int], tuple[float, float]]:
    """Centres of the quadrants from that of the focal plane, px to the East and North."""
    return {(ccdid, qid): quadrant_offset_px(ccdid, qid) for ccdid in CCDS for qid in QUADRANTS}


def _project(
    centre_ra_deg: float, centre_dec_deg: float, ra_deg: float, dec_deg: float
) -> tuple[float, float] | None:
    """Tangent plane, px to the East and North of its centre; None far from it."""
    if abs(centre_dec_deg - dec_deg) > _RADIUS_DEG:
        return None
    ra = math.radians(ra_deg - centre_ra_deg)
    dec, dec_0 = math.radians(dec_deg), math.radians(centre_dec_deg)
    cosine = math.sin(dec_0) * math.sin(dec) + math.cos(dec_0) * math.cos(dec) * math.cos(ra)
    if cosine < _COSINE:
        return None
    scale = math.degrees(1.0) * 3600 / PIXEL_ARCSEC / cosine
    north = math.cos(dec_0) * math.sin(dec) - math.sin(dec_0) * math.cos(dec) * math.cos(ra)
    return math.cos(dec) * math.sin(ra) * scale, north * scale
