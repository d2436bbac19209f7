"""One list of stars for a group: its images' own, matched, with their motion."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.group.places import YEARS_PER_DAY
from ztfpsf.stars.sky import make_star_names
from ztfpsf.survey.matching import match

MEASURED = (
    "ra_deg", "dec_deg", "x_px", "y_px", "x_error_px", "y_error_px", "mag", "mag_error",
)  # fmt: skip
MAS = 1 / 3.6e6
# A motion counts from here on: of 500 stars that rest, none.
MOTION_SIGMA = 5.0
MIN_YEARS = 0.5


class MatchedStars(NamedTuple):
    """Stars of a group, and their measurements, sorted by star."""

    stars: pd.DataFrame  # star_id, name, ra_deg, dec_deg at epoch_yr, pmra_mas_yr, pmdec_mas_yr, n
    measurements: pd.DataFrame  # star_id, exposure, x_px, y_px and errors, mag, mag_error


def match_exposures(
    tables: Mapping[int, pd.DataFrame], mjd: np.ndarray, radius_arcsec: float
) -> MatchedStars:
    """Match the stars of exposures: tables of `ztfpsf.survey.cuts` by number, dates (E,) of all.

    Exposure by exposure against what is known: friends of friends over a thousand exposures would
    chain neighbours. Two sources of an exposure that are one star, neither is.
    """
    known = pd.DataFrame({"star_id": np.zeros(0, np.int64), "ra_deg": [], "dec_deg": []})
    parts = []
    for exposure, table in tables.items():
        ra, dec = (table[name].to_numpy(float) for name in ("ra_deg", "dec_deg"))
        matched = match(ra, dec, known, radius_arcsec)
        known = pd.concat([known, matched.new], ignore_index=True) if len(known) else matched.new
        part = table.assign(star_id=matched.star_id, exposure=exposure)
        parts.append(part.drop_duplicates("star_id", keep=False))
    if not parts:
        parts = [pd.DataFrame({name: np.zeros(0) for name in ("exposure", *MEASURED)})]
        parts[0]["star_id"] = np.zeros(0, np.int64)
    measurements = pd.concat(parts, ignore_index=True)
    measurements = measurements.astype({"exposure": np.int64})
    measurements = measurements.sort_values(["star_id", "exposure"], ignore_index=True)
    return MatchedStars(_describe_stars(measurements, mjd), measurements)


def _describe_stars(measurements: pd.DataFrame, mjd: np.ndarray) -> pd.DataFrame:
    """Mean places and motions of the stars."""
    star, index = np.unique(measurements["star_id"].to_numpy(), return_inverse=True)
    first = np.flatnonzero(np.diff(index, prepend=-1))
    ra, dec = (measurements[name].to_numpy(float) for name in ("ra_deg", "dec_deg"))
    n = np.bincount(index)
    # Offsets from the star's first place, so that RA 0 is no place like others.
    to_east = np.cos(np.radians(dec[first]))
    east = ((ra - ra[first][index] + 180.0) % 360.0 - 180.0) * to_east[index] / MAS
    north = (dec - dec[first][index]) / MAS
    time = mjd[measurements["exposure"].to_numpy()] * YEARS_PER_DAY
    epoch = float(time.mean()) if len(time) else np.nan
    lines = [_fit_line(index, n, time - epoch, offset) for offset in (east, north)]
    moves = np.any([np.abs(slope) > MOTION_SIGMA * error for _, slope, error in lines], axis=0)
    mean = [
        np.where(moves, at_epoch, np.bincount(index, offset) / n)
        for (at_epoch, _, _), offset in zip(lines, (east, north), strict=True)
    ]
    motion = [np.where(moves, slope, 0.0) for _, slope, _ in lines]
    ra_deg = (ra[first] + mean[0] * MAS / to_east) % 360.0
    dec_deg = dec[first] + mean[1] * MAS
    return pd.DataFrame(
        {
            "star_id": star,
            "name": make_star_names(ra_deg, dec_deg),
            "ra_deg": ra_deg,
            "dec_deg": dec_deg,
            "epoch_mjd": epoch / YEARS_PER_DAY,
            "pmra_mas_yr": motion[0],
            "pmdec_mas_yr": motion[1],
            "n": n,
        }
    )


def _fit_line(
    index: np.ndarray, n: np.ndarray, time: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each star, by least squares: offset at time 0, slope, and its error from the scatter.

    Stars on fewer than four exposures, or seen for less than MIN_YEARS, have no slope.
    """
    mean_time, mean = (np.bincount(index, values) / n for values in (time, offset))
    away = time - mean_time[index]
    spread = np.bincount(index, away**2)
    known = (n >= 4) & (spread > n * (MIN_YEARS / 4) ** 2)
    slope = np.where(known, np.bincount(index, away * offset) / np.where(known, spread, 1.0), 0.0)
    at_epoch = mean - slope * mean_time
    rest = offset - at_epoch[index] - slope[index] * time
    variance = np.bincount(index, rest**2) / np.maximum(n - 2, 1)
    error = np.where(known, np.sqrt(variance / np.where(known, spread, 1.0)), np.inf)
    return at_epoch, slope, error
