"""What an object is expected to be in every exposure of the groups that see it: place and ratio.

Ratios of a group are to the mean of its own exposures. Groups are tied by the stars that they
share: the first is the common scale.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.group.maps import GroupMaps, locate
from ztfpsf.group.places import find_places
from ztfpsf.group.tables import find_ratios
from ztfpsf.lightcurve.scene import OK
from ztfpsf.robust import clipped_mean
from ztfpsf.survey.matching import find_nearest

MAG_PER_LN = 2.5 / np.log(10.0)
MIN_COMMON = 5


class Group(NamedTuple):
    """The products of a group: exposures, maps and ratios have a row for each of its images."""

    name: str
    exposures: pd.DataFrame  # of match_stars
    maps: GroupMaps
    ratios: pd.DataFrame  # of solve_ratios
    stars: pd.DataFrame  # of solve_ratios: places, motions, colours, magnitudes


class Tie(NamedTuple):
    """Magnitudes of a group's stars minus those of the same stars in the first one."""

    offset_mag: float  # NaN: they share too few
    error_mag: float
    n_stars: int


class Sights(NamedTuple):
    """An object in the E exposures of all groups, in their order."""

    position_px: np.ndarray  # (E, 2)
    position_error_px: np.ndarray  # (E,)
    jacobian: np.ndarray  # (E, 2, 2) px/arcsec
    ratio_mag: np.ndarray  # (E,) magnitudes by which it is fainter than on the common scale
    ratio_error_mag: np.ndarray  # (E,)


def order_groups(groups: Sequence[Group]) -> list[Group]:
    """The group with most exposures that have a ratio first: it is the common scale."""
    return sorted(groups, key=lambda group: (-(group.ratios["status"] == OK).sum(), group.name))


def tie_groups(groups: Sequence[Group], radius_arcsec: float) -> list[Tie]:
    """Ties of ordered groups to the first."""
    first = groups[0].stars
    return [Tie(0.0, 0.0, len(first)), *(_tie(g.stars, first, radius_arcsec) for g in groups[1:])]


def _tie(stars: pd.DataFrame, first: pd.DataFrame, radius_arcsec: float) -> Tie:
    row = find_nearest(
        stars["ra_deg"].to_numpy(), stars["dec_deg"].to_numpy(), first, radius_arcsec
    )
    mine, other = stars[row >= 0], first.iloc[row[row >= 0]]
    difference = mine["mag"].to_numpy() - other["mag"].to_numpy()
    error = np.hypot(*(find_mean_error(table) for table in (mine, other)))
    found = clipped_mean(difference, error)
    if not found.n >= MIN_COMMON:
        return Tie(np.nan, np.nan, int(found.n))
    return Tie(found.value, found.error, found.n)


def find_mean_error(stars: pd.DataFrame) -> np.ndarray:
    """Error of the mean magnitudes of stars, from their own scatter or that of their like."""
    scatter = np.fmax(stars["mag_rms"].to_numpy(), stars["scatter_mag"].to_numpy())
    return scatter / np.sqrt(np.maximum(stars["n_used"].to_numpy(), 1))


def find_sights(groups: Sequence[Group], ties: Sequence[Tie], thing: pd.Series) -> Sights:
    """Where an object is, and its ratio, in the exposures of all groups.

    `thing`: ra_deg, dec_deg at epoch_mjd, pmra_mas_yr, pmdec_mas_yr, colour_mag (NaN: the mean).
    """
    parts = [_find_in_group(g, tie, thing) for g, tie in zip(groups, ties, strict=True)]
    return Sights(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _find_in_group(group: Group, tie: Tie, thing: pd.Series) -> Sights:
    exposures, n = group.exposures, len(group.exposures)
    one = pd.DataFrame([thing] * n)
    plane = find_places(one, exposures["mjd"].to_numpy(), group.maps.centre)
    colour = np.full(n, float(thing["colour_mag"]))
    where = (exposures[name].to_numpy() for name in ("airmass", "parallactic_deg"))
    places = locate(group.maps, plane + group.maps.refraction.shift(colour, *where))
    value, error = find_ratios(group.ratios, places.position_px)
    return Sights(
        *places, ratio_mag=value + tie.offset_mag, ratio_error_mag=np.hypot(error, tie.error_mag)
    )


def find_status(groups: Sequence[Group], ties: Sequence[Tie], verdicts: Sequence[str]) -> list[str]:
    """Of all exposures: ok, or the first reason why it cannot be fitted.

    `verdicts`: of PSFs that may be used.
    """
    told = []
    for group, tie in zip(groups, ties, strict=True):
        untied = f"{tie.n_stars} stars in common with {groups[0].name}; a scale needs {MIN_COMMON}."
        for exposure, one, ratio in zip(
            group.exposures.itertuples(), group.maps.maps, group.ratios["status"], strict=True
        ):
            judged = f"its PSF is {exposure.verdict or 'not judged'}: {exposure.reason or '-'}."
            reasons = (
                exposure.status,
                OK if exposure.verdict in verdicts else judged,
                one.status,
                ratio,
                OK if np.isfinite(tie.offset_mag) else untied,
            )
            told.append(next((reason for reason in reasons if reason != OK), OK))
    return told
