"""Measurements of a survey that is known: ZTF's fields, uneven visits, clouds, variable stars.

No images: stars on the sky, the quadrants that they fall on, and magnitudes with noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng

from ztfpsf.survey.airmass import Airmass, find_airmass, find_gradient
from ztfpsf.survey.cells import find_cell, find_limits
from ztfpsf.survey.design import find_superpixel
from ztfpsf.survey.fields import (
    FIRST_SECONDARY,
    HALF_PX,
    RADIUS_DEG,
    find_places,
    make_unit_vectors,
    project,
    read_fields,
)
from ztfpsf.survey.terms import N_QUADRANTS

START_MJD = 58800.0


@dataclass(frozen=True)
class Simulation:
    """What is simulated."""

    seed: int = 1
    filtercode: str = "zr"
    ra_deg: tuple[float, float] = (0.0, 360.0)  # centres of the fields
    dec_deg: tuple[float, float] = (-31.5, 90.0)
    stars_deg2: float = 20.0
    visits: float = 20.0  # of a field of the main grid, median
    visits_spread: float = 0.5  # of their logarithm
    secondary_fraction: float = 0.3  # visits of the secondary grid beside the main one
    nights: int = 300
    brightest_mag: float = 14.0
    faintest_mag: float = 17.5
    error_at_15_mag: float = 0.002  # photon noise, grows with the square root of the flux
    scatter_mag: float = 0.004  # what the errors do not know
    dither_px: float = 30.0
    cloudy_fraction: float = 0.2  # of the exposures; extinction 0.15 mag on average, patchy
    thick_fraction: float = 0.01  # of the exposures; stars scatter by 0.15 mag
    slope_mag: float = 0.0  # rms slope of exposures, from the centre to the edge
    star_flat_mag: float = 0.01
    colour_mag: float = 0.01  # rms colour term of the quadrants
    airmass_mag: float = 0.12  # extinction per airmass
    variable_fraction: float = 0.03
    variable_mag: float = 0.1
    outlier_fraction: float = 0.02
    outlier_mag: float = 0.5
    lost_fraction: float = 0.05
    superpixels: int = 15
    gradient_mag_deg: float = 0.0  # injected into the zero points, to the North


class Truth(NamedTuple):
    """What went in."""

    exposures: pd.DataFrame  # as in a dataset, with zero_point_mag and slopes
    star_flat: np.ndarray  # (64, n, n) mag
    colour: np.ndarray  # (64,)


def simulate_truth(settings: Simulation) -> Truth:
    """Exposures and instrument."""
    random = default_rng([settings.seed, 0])
    fields = read_fields()
    inside = fields["ra_deg"].between(*settings.ra_deg) & fields["dec_deg"].between(
        *settings.dec_deg
    )
    fields = fields[inside]
    median = np.where(
        fields["field"] < FIRST_SECONDARY,
        settings.visits,
        settings.visits * settings.secondary_fraction,
    )
    visits = random.poisson(median * np.exp(random.normal(0, settings.visits_spread, len(fields))))
    exposures = fields.loc[fields.index.repeat(visits)].reset_index(drop=True)
    mjd = _draw_times(exposures, settings, random)
    order = np.argsort(mjd, kind="stable")
    exposures, mjd = exposures.iloc[order].reset_index(drop=True), mjd[order]
    airmass = find_gradient(exposures["ra_deg"], exposures["dec_deg"], mjd)
    exposures = make_exposures(exposures, mjd, airmass, settings.filtercode)
    return Truth(
        _draw_zero_points(exposures, settings, random),
        _draw_star_flat(settings, random),
        random.normal(0, settings.colour_mag, N_QUADRANTS),
    )


def make_exposures(
    fields: pd.DataFrame, mjd: np.ndarray, airmass: Airmass, filtercode: str
) -> pd.DataFrame:
    """Table of exposures of a dataset."""
    day = pd.to_datetime(mjd + 2400000.5, unit="D", origin="julian")
    fraction = np.floor((mjd % 1.0) * 1e6).astype(int)
    names = [
        f"ztf_{d:%Y%m%d}{f:06d}_{field:06d}_{filtercode}"
        for d, f, field in zip(day, fraction, fields["field"], strict=True)
    ]
    return pd.DataFrame(
        {
            "name": names,
            "field": fields["field"].to_numpy(),
            "mjd": mjd,
            "ra_deg": fields["ra_deg"].to_numpy(),
            "dec_deg": fields["dec_deg"].to_numpy(),
            "airmass": np.asarray(airmass.centre),
            "airmass_to_east": np.asarray(airmass.to_east),
            "airmass_to_north": np.asarray(airmass.to_north),
        }
    )


def _draw_times(exposures: pd.DataFrame, settings: Simulation, random: Generator) -> np.ndarray:
    """Of many times of the year the one when the field is highest, with some freedom."""
    n, n_tries = len(exposures), 12
    night = random.integers(0, settings.nights, (n_tries, n))
    mjd = START_MJD + night + 0.1 + 0.35 * random.random((n_tries, n))
    airmass = find_airmass(exposures["ra_deg"].to_numpy(), exposures["dec_deg"].to_numpy(), mjd)
    return np.take_along_axis(mjd, np.argsort(airmass, axis=0)[1:2], axis=0)[0]


def _draw_zero_points(
    exposures: pd.DataFrame, settings: Simulation, random: Generator
) -> pd.DataFrame:
    n = len(exposures)
    night = np.floor(exposures["mjd"]).astype(int) - int(START_MJD)
    drift = np.cumsum(random.normal(0, 0.003, night.max() + 1))
    cloudy = random.random(n) < settings.cloudy_fraction
    extinction = np.where(cloudy, random.exponential(0.15, n), 0.0)
    thick = random.random(n) < settings.thick_fraction
    # m = M + z: a larger z is a fainter star.
    zero_point = (
        -26.0
        + settings.airmass_mag * (exposures["airmass"] - 1.0)
        + drift[night]
        + random.normal(0, 0.01, n)
        + extinction
        + thick * 0.5
        + settings.gradient_mag_deg * exposures["dec_deg"]
    )
    slope = settings.slope_mag + 0.05 * extinction * (settings.slope_mag > 0)
    return exposures.assign(
        zero_point_mag=zero_point,
        slope_east_mag=random.normal(0, 1, n) * slope,
        slope_north_mag=random.normal(0, 1, n) * slope,
        patchiness_mag=np.where(thick, 0.15, 0.02 * extinction),
        is_thick=thick,
    )


def _draw_star_flat(settings: Simulation, random: Generator) -> np.ndarray:
    """Smooth over the focal plane, a step at each quadrant, and noise in the superpixels."""
    n = settings.superpixels
    smooth = random.normal(0, 1, (N_QUADRANTS, 1, 1))
    rough = random.normal(0, 0.5, (N_QUADRANTS, n, n))
    x = np.linspace(-1, 1, n)
    bow = random.normal(0, 0.5, (N_QUADRANTS, 1, 1)) * (x[None, :, None] + x[None, None, :])
    flat = smooth + rough + bow
    return settings.star_flat_mag * (flat - flat.mean()) / max(flat.std(), 1e-9)


class Cell(NamedTuple):
    """Measurements and stars of a cell, the stars with their true magnitudes."""

    cell: int
    measurements: pd.DataFrame
    stars: pd.DataFrame


def simulate_cells(settings: Simulation, truth: Truth) -> Iterator[Cell]:
    """Cells with stars, one after the other, the same whatever came before."""
    exposures = truth.exposures
    fields = exposures.drop_duplicates("field")
    centres = make_unit_vectors(fields["ra_deg"].to_numpy(), fields["dec_deg"].to_numpy())
    visits = {
        field: np.asarray(index) for field, index in exposures.groupby("field").groups.items()
    }
    ring = np.arange(0, 361, 1.0)
    edge = np.concatenate(
        [
            find_cell(
                np.mod(
                    row["ra_deg"]
                    + r * np.cos(np.radians(ring)) / max(np.cos(np.radians(row["dec_deg"])), 0.03),
                    360,
                ),
                np.clip(row["dec_deg"] + r * np.sin(np.radians(ring)), -90, 89.99),
            )
            for _, row in fields.iterrows()
            for r in np.arange(0.0, RADIUS_DEG + 0.5, 0.5)
        ]
    )
    for cell in np.unique(edge):
        random = default_rng([settings.seed, 1, int(cell)])
        stars = _draw_stars(settings, int(cell), random)
        direction = make_unit_vectors(stars["ra_deg"].to_numpy(), stars["dec_deg"].to_numpy())
        near = np.flatnonzero(
            (direction @ centres.T).max(axis=0, initial=-1.0) > np.cos(np.radians(RADIUS_DEG))
        )
        parts = [
            _observe(settings, truth, stars, visits[fields["field"].iloc[i]], random) for i in near
        ]
        if parts:
            table = pd.concat(parts, ignore_index=True)
            if len(table):
                yield Cell(int(cell), table, stars)


def _draw_stars(settings: Simulation, cell: int, random: Generator) -> pd.DataFrame:
    west, east, south, north = find_limits(cell)
    sines = np.sin(np.radians([south, north]))
    area = np.degrees(np.degrees(1.0)) * np.radians(east - west) * (sines[1] - sines[0])
    n = random.poisson(settings.stars_deg2 * area)
    # Numbers of stars grow by 0.3 dex per magnitude.
    low, high = 10 ** (0.3 * np.array([settings.brightest_mag, settings.faintest_mag]))
    magnitude = np.log10(random.uniform(float(low), float(high), n)) / 0.3
    amplitude = np.where(random.random(n) < settings.variable_fraction, settings.variable_mag, 0.0)
    return pd.DataFrame(
        {
            "star_id": cell * 2**32 + np.arange(n),
            "ra_deg": random.uniform(west, east, n),
            "dec_deg": np.degrees(np.arcsin(random.uniform(sines[0], sines[1], n))),
            "colour_mag": random.normal(0.8, 0.4, n),
            "reference_mag": np.nan,
            "reference_error_mag": np.nan,
            "true_mag": magnitude,
            "variable_mag": amplitude,
        }
    )


def _observe(
    settings: Simulation, truth: Truth, stars: pd.DataFrame, visits: np.ndarray, random: Generator
) -> pd.DataFrame:
    """All visits of one field, of these stars."""
    exposures = truth.exposures.iloc[visits]
    first = exposures.iloc[0]
    ra, dec = stars["ra_deg"].to_numpy(), stars["dec_deg"].to_numpy()
    east, north = project(ra, dec, first["ra_deg"], first["dec_deg"])
    margin = 5 * settings.dither_px
    seen = np.flatnonzero(
        (np.abs(east) < HALF_PX[0] + margin) & (np.abs(north) < HALF_PX[1] + margin)
    )
    dither = random.normal(0, settings.dither_px, (2, len(visits)))
    places = find_places(east[seen, None] + dither[0], north[seen, None] + dither[1])
    on_chip = (places.rcid >= 0) & (random.random(places.rcid.shape) >= settings.lost_fraction)
    star, visit = np.nonzero(on_chip)
    rcid, x, y, off_east, off_north = (np.asarray(a)[on_chip] for a in places)
    table = stars.iloc[seen[star]]
    one = {name: exposures[name].to_numpy()[visit] for name in exposures.columns[2:]}
    n = len(star)
    true, colour = table["true_mag"].to_numpy(), table["colour_mag"].to_numpy()
    flat = truth.star_flat.ravel()[find_superpixel(rcid, x, y, settings.superpixels)]
    airmass = one["airmass_to_east"] * off_east / HALF_PX[0]
    airmass += one["airmass_to_north"] * off_north / HALF_PX[1]
    instrumental = true + one["zero_point_mag"] + flat + truth.colour[rcid] * (colour - 0.8)
    instrumental += settings.airmass_mag * airmass
    instrumental += one["slope_east_mag"] * off_east / HALF_PX[0]
    instrumental += one["slope_north_mag"] * off_north / HALF_PX[1]
    error = settings.error_at_15_mag * 10 ** (0.2 * (instrumental + 26.0 - 15.0))
    spread = np.hypot(error, settings.scatter_mag)
    spread = np.hypot(spread, np.hypot(one["patchiness_mag"], table["variable_mag"].to_numpy()))
    noise = random.normal(0, 1, n) * spread
    noise += (random.random(n) < settings.outlier_fraction) * random.normal(
        0, settings.outlier_mag, n
    )
    return pd.DataFrame(
        {
            "star_id": table["star_id"].to_numpy(),
            "exposure": visits[visit].astype(np.int32),
            "rcid": rcid.astype(np.uint8),
            "x_px": x.astype(np.float32),
            "y_px": y.astype(np.float32),
            "mag": (instrumental + noise).astype(np.float32),
            "mag_error": error.astype(np.float32),
        }
    )
