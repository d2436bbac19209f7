"""A survey that is known: ZTF's fields, uneven visits, clouds, an uneven instrument."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng

from ztfpsf.star_flat import N_QUADRANTS
from ztfpsf.survey.airmass import Airmass, find_airmass, find_gradient
from ztfpsf.survey.fields import FIRST_SECONDARY, read_fields

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
    n, n_tries = len(exposures), 30
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
