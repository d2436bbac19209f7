"""Where the stars of a group are at a date, in the tangent plane."""

import numpy as np
import pandas as pd

from ztfpsf.stars.sky import apply_proper_motion, get_julian_year
from ztfpsf.survey.fields import PIXEL_ARCSEC, project

YEARS_PER_DAY = get_julian_year(1.0) - get_julian_year(0.0)


def find_centre(stars: pd.DataFrame) -> tuple[float, float]:
    """RA and Dec (deg) of the middle of some stars, wherever RA 0 is; NaN of none."""
    if not len(stars):
        return np.nan, np.nan
    ra = stars["ra_deg"].to_numpy()
    turn = (ra - ra[0] + 180.0) % 360.0 - 180.0
    return float((ra[0] + np.median(turn)) % 360.0), float(stars["dec_deg"].median())


def to_plane(ra_deg: np.ndarray, dec_deg: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Tangent plane at a centre (RA, Dec in deg), arcsec to the East and North, (n, 2)."""
    return np.stack(project(ra_deg, dec_deg, *centre), axis=-1) * PIXEL_ARCSEC


def find_places(stars: pd.DataFrame, mjd: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Stars (rows of match_stars, n) at dates (n,) in the tangent plane, arcsec, (n, 2)."""
    years = (mjd - stars["epoch_mjd"].to_numpy()) * YEARS_PER_DAY
    columns = ("ra_deg", "dec_deg", "pmra_mas_yr", "pmdec_mas_yr")
    ra, dec, pmra, pmdec = (stars[name].to_numpy() for name in columns)
    return to_plane(*apply_proper_motion(ra, dec, pmra, pmdec, years), centre)
