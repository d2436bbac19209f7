"""ZTF's fields on the sky, and the sky on the focal plane (ztfpsf.focal_plane)."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.focal_plane import (
    CCDS,
    GAP_PX,
    PIXEL_ARCSEC,
    QUADRANTS,
    SHAPE,
    quadrant_offset_px,
)

FIRST_SECONDARY = 1001
# Half the focal plane, in px to the East and North.
HALF_PX = (4 * SHAPE[1] + 1.5 * GAP_PX[0], 4 * SHAPE[0] + 1.5 * GAP_PX[1])
RADIUS_DEG = float(np.hypot(*HALF_PX)) * PIXEL_ARCSEC / 3600


class Places(NamedTuple):
    """Where positions fall on the focal plane; rcid is -1 in the gaps and outside."""

    rcid: np.ndarray  # 4 (ccdid - 1) + qid - 1
    x_px: np.ndarray  # of the quadrant, 0-based pixel centres
    y_px: np.ndarray
    east_px: np.ndarray  # from the centre of the focal plane
    north_px: np.ndarray


@cache
def read_fields() -> pd.DataFrame:
    """All fields: field, ra_deg, dec_deg of the centre."""
    return pd.read_csv(Path(__file__).parent / "data" / "fields.csv", comment="#")


def make_unit_vectors(ra_deg: np.ndarray, dec_deg: np.ndarray) -> np.ndarray:
    """Positions on the unit sphere, (n, 3)."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def project(
    ra_deg: np.ndarray, dec_deg: np.ndarray, centre_ra_deg: float, centre_dec_deg: float
) -> tuple[np.ndarray, np.ndarray]:
    """Tangent plane at a centre, px to the East and North; NaN on the other half of the sky."""
    ra, dec = np.radians(ra_deg - centre_ra_deg), np.radians(dec_deg)
    dec_0 = np.radians(centre_dec_deg)
    cosine = np.sin(dec_0) * np.sin(dec) + np.cos(dec_0) * np.cos(dec) * np.cos(ra)
    scale = np.degrees(1.0) * 3600 / PIXEL_ARCSEC / np.where(cosine > 0, cosine, np.nan)
    north = np.cos(dec_0) * np.sin(dec) - np.sin(dec_0) * np.cos(dec) * np.cos(ra)
    return np.cos(dec) * np.sin(ra) * scale, north * scale


def find_places(east_px: np.ndarray, north_px: np.ndarray) -> Places:
    """Quadrant and pixel of offsets from the centre of the focal plane."""
    ny, nx = SHAPE
    corners = _corners()
    column = np.searchsorted(corners.east, east_px, side="right") - 1
    row = np.searchsorted(corners.north, north_px, side="right") - 1
    inside = (column >= 0) & (row >= 0)
    column, row = np.maximum(column, 0), np.maximum(row, 0)
    # Stored pixels run to the West and South.
    x = nx - 0.5 - (east_px - corners.east[column])
    y = ny - 0.5 - (north_px - corners.north[row])
    inside &= (x >= -0.5) & (y >= -0.5)
    return Places(np.where(inside, corners.rcid[row, column], -1), x, y, east_px, north_px)


def find_offsets(rcid: np.ndarray, x_px: np.ndarray, y_px: np.ndarray) -> tuple[np.ndarray, ...]:
    """Offsets from the centre of the focal plane, px to the East and North, of pixels."""
    ny, nx = SHAPE
    centres = np.array([quadrant_offset_px(ccdid, qid) for ccdid in CCDS for qid in QUADRANTS])
    return (
        centres[rcid, 0] - (x_px - (nx - 1) / 2),
        centres[rcid, 1] - (y_px - (ny - 1) / 2),
    )


class _Corners(NamedTuple):
    east: np.ndarray  # (8,) lower edge of each column of quadrants, px
    north: np.ndarray  # (8,)
    rcid: np.ndarray  # (8, 8) of [row, column]


@cache
def _corners() -> _Corners:
    ny, nx = SHAPE
    centres = np.array([quadrant_offset_px(ccdid, qid) for ccdid in CCDS for qid in QUADRANTS])
    east, column = np.unique(centres[:, 0], return_inverse=True)
    north, row = np.unique(centres[:, 1], return_inverse=True)
    rcid = np.empty((8, 8), int)
    rcid[row, column] = np.arange(len(centres))
    return _Corners(east - nx / 2, north - ny / 2, rcid)
