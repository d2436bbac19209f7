"""Scenes from stamps: those of the target, and those of stars around it that measured the PSF."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.group.places import YEARS_PER_DAY
from ztfpsf.lightcurve.scene import OK, Scene
from ztfpsf.lightcurve.sights import MAG_PER_LN, Group, Sights
from ztfpsf.psf import Psf
from ztfpsf.stamps import StampsFile
from ztfpsf.stars.sky import get_separation_deg
from ztfpsf.survey.matching import find_nearest

TINY_ADU2 = 1e-6
NOT_HELD = "the target is not on this image."
NO_STAMP = "the star was not selected in this exposure."


class Exposures(NamedTuple):
    """All exposures of a light curve, of all its groups; E rows."""

    table: pd.DataFrame  # of match_stars, with the group; index 0 .. E - 1
    psfs: Sequence[Psf | None]
    status: Sequence[str]  # ok, or why it cannot be fitted


class Cubes(NamedTuple):
    """Stamps of some objects in E exposures; objects that have none hold NaN there."""

    data: np.ndarray  # (n, E, S, S) float32 ADU
    is_masked: np.ndarray  # (n, E, S, S) bool
    corner_px: np.ndarray  # (n, E, 2)
    sky_adu: np.ndarray  # (n, E)


def read_cubes(
    files: Sequence[StampsFile], exposures: pd.DataFrame, stars: pd.DataFrame, radius_arcsec: float
) -> Cubes:
    """Stamps around the places of `stars` (ra_deg, dec_deg), found by place within a radius."""
    n, n_exposures, size_px = len(stars), len(exposures), files[0].size_px
    cubes = Cubes(
        np.full((n, n_exposures, size_px, size_px), np.nan, np.float32),
        np.ones((n, n_exposures, size_px, size_px), bool),
        np.zeros((n, n_exposures, 2)),
        np.full((n, n_exposures), np.nan),
    )
    number = pd.Series(exposures.index, index=exposures["image"])
    for file in files:
        ra, dec = (file.stars[name].to_numpy() for name in ("ra_deg", "dec_deg"))
        star = find_nearest(ra, dec, stars, radius_arcsec)
        exposure = file.stars["image"].map(number).to_numpy(float)
        rows = np.flatnonzero((star >= 0) & np.isfinite(exposure))
        stamps, at = file.take(rows), (star[rows], exposure[rows].astype(int))
        cubes.data[at] = stamps.data
        cubes.is_masked[at] = stamps.mask > 0
        cubes.corner_px[at] = stamps.stars[["x0_px", "y0_px"]].to_numpy()
        cubes.sky_adu[at] = stamps.stars["sky_adu"].to_numpy()
    return cubes


def make_scene(
    name: str,
    cubes: Cubes,
    number: int,
    exposures: Exposures,
    sights: Sights,
    in_baseline: np.ndarray,
    missing: str,
) -> Scene:
    """The scene of object `number` of the cubes; `missing` says why it has no stamp."""
    table, has_stamp = exposures.table, np.isfinite(cubes.sky_adu[number])
    status = [
        reason if reason != OK or has else missing
        for reason, has in zip(exposures.status, has_stamp, strict=True)
    ]
    noise = np.array([(np.nan, np.nan) if p is None else p.noise[:2] for p in exposures.psfs])
    # Measured noise may be that of photons alone.
    noise[:, 1] = np.maximum(noise[:, 1], TINY_ADU2)
    time = table["mjd"].to_numpy() * YEARS_PER_DAY
    return Scene(
        name=name,
        data=cubes.data[number],
        is_masked=cubes.is_masked[number],
        constant_adu2=noise[:, 1, None, None],
        sky_adu=cubes.sky_adu[number],
        gain=noise[:, 0],
        corner_px=cubes.corner_px[number],
        position_px=sights.position_px,
        position_error_px=sights.position_error_px,
        jacobian=sights.jacobian,
        ratio=10.0 ** (-0.4 * sights.ratio_mag),
        ratio_error=sights.ratio_error_mag / MAG_PER_LN,
        in_baseline=in_baseline,
        time_yr=time - time.mean(),
        psfs=exposures.psfs,
        status=status,
    )


def choose_stars(
    groups: Sequence[Group], ra_deg: float, dec_deg: float, n_stars: int, radius_arcsec: float
) -> pd.DataFrame:
    """The constant stars nearest to a place that are on half of the exposures of a group or more.

    Of a star that several groups have, the row of the first one.
    """
    chosen = groups[0].stars.iloc[:0]
    for group in groups:
        stars = group.stars
        usable = (group.ratios["n_stars"] > 0).sum()
        is_good = (stars["n_used"] >= 0.5 * usable) & (stars["n_used"] > 1)
        new = stars[is_good]
        row = find_nearest(
            new["ra_deg"].to_numpy(), new["dec_deg"].to_numpy(), chosen, radius_arcsec
        )
        chosen = pd.concat([chosen, new[row < 0]]) if len(chosen) else new
    distance = get_separation_deg(chosen["ra_deg"], chosen["dec_deg"], ra_deg, dec_deg)
    nearest = np.argsort(distance, kind="stable")[:n_stars]
    return (
        chosen.iloc[nearest].assign(distance_arcsec=3600 * distance[nearest]).reset_index(drop=True)
    )
