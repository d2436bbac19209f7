"""Measurements of a known survey (ztfpsf.survey.truth), cell by cell.

No images: stars on the sky, the quadrants that they fall on, and magnitudes with noise.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng

from ztfpsf.star_flat import find_superpixel
from ztfpsf.survey.cells import find_cell, find_limits
from ztfpsf.survey.fields import HALF_PX, RADIUS_DEG, find_places, make_unit_vectors, project
from ztfpsf.survey.truth import Simulation, Truth

MEAN_COLOUR_MAG = 0.8
Columns = dict[str, np.ndarray]


class Cell(NamedTuple):
    """Measurements and stars of a cell, the stars with their true magnitudes."""

    cell: int
    measurements: pd.DataFrame
    stars: pd.DataFrame


def simulate_cells(settings: Simulation, truth: Truth) -> Iterator[Cell]:
    """Cells with stars, one after the other; each the same whatever came before."""
    exposures = {name: truth.exposures[name].to_numpy() for name in truth.exposures.columns[1:]}
    fields, first = np.unique(exposures["field"], return_index=True)
    visits = [np.flatnonzero(exposures["field"] == field) for field in fields]
    ra, dec = exposures["ra_deg"][first], exposures["dec_deg"][first]
    centres = make_unit_vectors(ra, dec)
    reach = np.cos(np.radians(RADIUS_DEG))
    for cell in find_cells(ra, dec):
        random = default_rng([settings.seed, 1, cell])
        stars = _draw_stars(settings, cell, random)
        direction = make_unit_vectors(stars["ra_deg"], stars["dec_deg"])
        near = np.flatnonzero((direction @ centres.T).max(axis=0, initial=-1.0) > reach)
        parts = [
            _observe(
                settings,
                truth,
                {k: v[visits[i]] for k, v in exposures.items()},
                visits[i],
                stars,
                random,
            )
            for i in near
        ]
        if sum(len(part["star_id"]) for part in parts):
            names = parts[0].keys()
            table = pd.DataFrame({name: np.concatenate([p[name] for p in parts]) for name in names})
            yield Cell(cell, table, pd.DataFrame(stars))


def take(columns: Columns, rows: np.ndarray) -> Columns:
    """Some rows of columns."""
    return {name: values[rows] for name, values in columns.items()}


def find_cells(ra_deg: np.ndarray, dec_deg: np.ndarray) -> list[int]:
    """Cells within reach of the focal plane around centres."""
    angle = np.radians(np.arange(0.0, 360.0, 1.0))
    radius = np.arange(0.0, RADIUS_DEG + 0.5, 0.5)[:, None]
    east, north = (radius * np.cos(angle)).ravel(), (radius * np.sin(angle)).ravel()
    dec = np.clip(dec_deg[:, None] + north, -90.0, 89.99)
    ra = ra_deg[:, None] + east / np.maximum(np.cos(np.radians(dec)), 0.02)
    return np.unique(find_cell(ra, dec)).tolist()


def _draw_stars(settings: Simulation, cell: int, random: Generator) -> Columns:
    west, east, south, north = find_limits(cell)
    sines = np.sin(np.radians([south, north]))
    area = np.degrees(np.degrees(1.0)) * np.radians(east - west) * (sines[1] - sines[0])
    n = random.poisson(settings.stars_deg2 * area)
    # Numbers of stars grow by 0.3 dex per magnitude.
    low, high = 10 ** (0.3 * np.array([settings.brightest_mag, settings.faintest_mag]))
    magnitude = np.log10(random.uniform(float(low), float(high), n)) / 0.3
    amplitude = np.where(random.random(n) < settings.variable_fraction, settings.variable_mag, 0.0)
    return {
        "star_id": cell * 2**32 + np.arange(n),
        "ra_deg": random.uniform(west, east, n),
        "dec_deg": np.degrees(np.arcsin(random.uniform(sines[0], sines[1], n))),
        "colour_mag": random.normal(MEAN_COLOUR_MAG, 0.4, n),
        "true_mag": magnitude,
        "variable_mag": amplitude,
    }


def _observe(
    settings: Simulation,
    truth: Truth,
    exposures: Columns,
    number: np.ndarray,
    stars: Columns,
    random: Generator,
) -> Columns:
    """All visits of one field, of these stars."""
    east, north = project(
        stars["ra_deg"], stars["dec_deg"], exposures["ra_deg"][0], exposures["dec_deg"][0]
    )
    margin = 5 * settings.dither_px
    seen = np.flatnonzero(
        (np.abs(east) < HALF_PX[0] + margin) & (np.abs(north) < HALF_PX[1] + margin)
    )
    dither = random.normal(0, settings.dither_px, (2, len(number)))
    places = find_places(east[seen, None] + dither[0], north[seen, None] + dither[1])
    on_chip = (places.rcid >= 0) & (random.random(places.rcid.shape) >= settings.lost_fraction)
    star, visit = np.nonzero(on_chip)
    rcid, x, y, off_east, off_north = (np.asarray(a)[on_chip] for a in places)
    one, own = take(exposures, visit), take(stars, seen[star])
    u, v = off_east / HALF_PX[0], off_north / HALF_PX[1]
    mag = own["true_mag"] + one["zero_point_mag"]
    mag += truth.star_flat.ravel()[find_superpixel(rcid, x, y, settings.superpixels)]
    mag += truth.colour[rcid] * (own["colour_mag"] - MEAN_COLOUR_MAG)
    mag += settings.airmass_mag * (one["airmass_to_east"] * u + one["airmass_to_north"] * v)
    mag += one["slope_east_mag"] * u + one["slope_north_mag"] * v
    error = settings.error_at_15_mag * 10 ** (0.2 * (mag + 26.0 - 15.0))
    extra = np.hypot(one["patchiness_mag"], own["variable_mag"])
    n = len(star)
    noise = random.normal(0, 1, n) * np.hypot(np.hypot(error, settings.scatter_mag), extra)
    noise += (random.random(n) < settings.outlier_fraction) * random.normal(
        0, settings.outlier_mag, n
    )
    return {
        "star_id": own["star_id"],
        "exposure": number[visit].astype(np.int32),
        "rcid": rcid.astype(np.uint8),
        "x_px": x.astype(np.float32),
        "y_px": y.astype(np.float32),
        "mag": (mag + noise).astype(np.float32),
        "mag_error": error.astype(np.float32),
    }
