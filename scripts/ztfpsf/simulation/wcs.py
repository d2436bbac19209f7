"""World coordinates: the TPV solution of a real ZTF image, moved to any quadrant of the camera."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import ArrayLike

ROWS, COLUMNS = 3080, 3072  # of a real quadrant
GAP_X_PX, GAP_Y_PX = 488, 672  # between CCDs
SCALE_DEG = 1.0126 / 3600


def template_header() -> fits.Header:
    """World coordinates of ztf_20190709485764_000600_zg_c04_o_q4, as published."""
    path = Path(__file__).with_name("tpv_header.txt")
    return fits.Header.fromstring(path.read_text("utf-8"), sep="\n")


def ccd_offset_px(ccdid: int) -> tuple[float, float]:
    """Centre of a CCD from the camera's, px to the East and to the North.

    Rows of CCDs from South to North: 1-4, 5-8, 9-12, 13-16; in each from East to West.
    """
    row, column = divmod(ccdid - 1, 4)
    return (1.5 - column) * (2 * COLUMNS + GAP_X_PX), (row - 1.5) * (2 * ROWS + GAP_Y_PX)


def quadrant_offset_px(ccdid: int, qid: int, nx: int, ny: int) -> tuple[float, float]:
    """Centre of a quadrant from the camera's, px to the East and to the North.

    q1 is North-East, q2 North-West, q3 South-West, q4 South-East. A quadrant smaller than the
    real one sits at the middle of its CCD.
    """
    east, north = ccd_offset_px(ccdid)
    return (
        east + (nx / 2 if qid in (1, 4) else -nx / 2),
        north + (ny / 2 if qid in (1, 2) else -ny / 2),
    )


def from_tangent_plane(
    east_deg: ArrayLike, north_deg: ArrayLike, ra_deg: float, dec_deg: float
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse gnomonic projection (Calabretta & Greisen 2002, eqs. 14, 15 and 55)."""
    xi, eta = np.radians(east_deg), np.radians(north_deg)
    dec = np.radians(dec_deg)
    across = np.cos(dec) - eta * np.sin(dec)
    ra = ra_deg + np.degrees(np.arctan2(xi, across))
    north = np.arctan2(np.sin(dec) + eta * np.cos(dec), np.hypot(xi, across))
    return ra % 360, np.degrees(north)


def quadrant_wcs_header(
    ccdid: int, qid: int, nx: int, ny: int, ra_deg: float, dec_deg: float
) -> fits.Header:
    """TPV header of a quadrant when the camera's centre points to (ra, dec).

    ASSUME: all quadrants have the distortion of the template.
    """
    header = template_header()
    east, north = quadrant_offset_px(ccdid, qid, nx, ny)
    ra, dec = from_tangent_plane(east * SCALE_DEG, north * SCALE_DEG, ra_deg, dec_deg)
    above = from_tangent_plane(east * SCALE_DEG, (north + 1) * SCALE_DEG, ra_deg, dec_deg)
    header["CRVAL1"], header["CRVAL2"] = float(ra), float(dec)
    # Meridians converge: the camera's North is not that of the quadrant.
    eastward = (above[0] - ra + 180) % 360 - 180
    turn = np.arctan2(eastward * np.cos(np.radians(dec)), above[1] - dec)
    # Stored images have x to the West, y to the South.
    for key, value in (("1_1", -np.cos(turn)), ("1_2", -np.sin(turn)), ("2_1", np.sin(turn))):
        header[f"CD{key}"] = SCALE_DEG * float(value)
    header["CD2_2"] = header["CD1_1"]
    header["CRPIX1"], header["CRPIX2"] = (nx + 1) / 2, (ny + 1) / 2
    del header["COMMENT"]
    return header


def sky_to_pixel(
    header: fits.Header, ra_deg: np.ndarray, dec_deg: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """0-based pixel positions; NaN for what is more than 1.5 degrees away."""
    # The distortion polynomial is only trusted near the quadrant, where its inverse exists.
    separation = _separation(header, ra_deg, dec_deg)
    near = separation < 1.5
    x, y = np.full(near.shape, np.nan), np.full(near.shape, np.nan)
    if near.any():
        x[near], y[near] = WCS(header).all_world2pix(ra_deg[near], dec_deg[near], 0)
    return x, y


def _separation(header: fits.Header, ra_deg: np.ndarray, dec_deg: np.ndarray) -> np.ndarray:
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    ra0, dec0 = np.radians(header["CRVAL1"]), np.radians(header["CRVAL2"])
    chord = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * (
        np.sin((ra - ra0) / 2) ** 2
    )
    return np.degrees(2 * np.arcsin(np.sqrt(chord)))
