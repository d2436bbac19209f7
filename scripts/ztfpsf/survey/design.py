"""From tables of measurements, stars and exposures to blocks."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.focal_plane import SHAPE
from ztfpsf.star_flat import N_QUADRANTS, find_superpixel
from ztfpsf.survey.block import Block
from ztfpsf.survey.fields import HALF_PX, find_offsets
from ztfpsf.survey.terms import Layout, Terms

EXPOSURE, QUADRANT = "exposure", "quadrant"


class Units(NamedTuple):
    """Exposures, or quadrants of them, and what the terms need to know about each exposure.

    The last unit is the reference catalogue, whose zero point is 0.
    """

    kind: str  # EXPOSURE or QUADRANT
    terms: Terms
    period: np.ndarray  # (E,) int, period of the star flat
    n_periods: int
    field: np.ndarray  # (E,) int
    airmass_to_east: np.ndarray  # (E,)
    airmass_to_north: np.ndarray
    mean_colour_mag: float

    @property
    def n(self) -> int:
        per_exposure = N_QUADRANTS if self.kind == QUADRANT else 1
        return len(self.field) * per_exposure + 1

    @property
    def layout(self) -> Layout:
        return Layout(self.terms, self.n, self.n_periods)

    @property
    def superpixel_type(self) -> np.dtype:
        """The smallest integer that counts the superpixels of all periods."""
        return np.min_scalar_type(self.n_periods * N_QUADRANTS * self.terms.superpixels**2)

    @property
    def fields(self) -> np.ndarray:
        """Field of each unit, a number for each quadrant of it where these are the units."""
        if self.kind == QUADRANT:
            fields = self.field[:, None] * N_QUADRANTS + np.arange(N_QUADRANTS)
            return np.append(fields.ravel(), -1)
        return np.append(self.field, -1)

    @property
    def periods(self) -> np.ndarray:
        """Period of each unit."""
        return np.append(np.repeat(self.period, (self.n - 1) // max(len(self.period), 1)), 0)

    @property
    def is_held(self) -> np.ndarray:
        held = np.zeros(self.n, bool)
        held[-1] = True
        return held


def make_block(measurements: pd.DataFrame, stars: pd.DataFrame, units: Units) -> Block:
    """Block of measurements (sorted by star) of these stars, the reference catalogue's included.

    Infinite, negative or zero errors, and magnitudes that are no number, are left out.
    """
    terms = units.terms
    error = measurements["mag_error"].to_numpy()
    good = np.isfinite(measurements["mag"].to_numpy()) & np.isfinite(error) & (error > 0)
    table = measurements[good] if not good.all() else measurements
    stars = stars.set_index("star_id")
    star_id = table["star_id"].to_numpy()
    known = stars.loc[np.unique(star_id)]
    exposure, rcid = table["exposure"].to_numpy(), table["rcid"].to_numpy()
    x, y = table["x_px"].to_numpy(), table["y_px"].to_numpy()
    east, north = np.zeros(0), np.zeros(0)
    if terms.degree or terms.airmass_mag:
        east, north = (a / b for a, b in zip(find_offsets(rcid, x, y), HALF_PX, strict=True))
    u, v = np.zeros(0, np.float32), np.zeros(0, np.float32)
    if terms.degree:
        u, v = (a.astype(np.float32) for a in _place(units.kind, x, y, east, north))
    airmass = np.zeros(0, np.float32)
    if terms.airmass_mag:
        airmass = units.airmass_to_east[exposure] * east + units.airmass_to_north[exposure] * north
    superpixel = units.period[exposure] * (N_QUADRANTS * terms.superpixels**2)
    superpixel += find_superpixel(rcid, x, y, terms.superpixels)
    unit = exposure if units.kind == EXPOSURE else exposure.astype(np.int64) * N_QUADRANTS + rcid
    columns = [
        unit, table["mag"].to_numpy(np.float32), error[good].astype(np.float32) ** 2,
        u, v, superpixel.astype(units.superpixel_type), rcid, airmass.astype(np.float32),
    ]  # fmt: skip
    columns, star_id = _add_reference(columns, star_id, known, units.n - 1)
    unit, mag, variance, u, v, superpixel, rcid, airmass = columns
    names, start = np.unique(star_id, return_index=True)
    colour = known["colour_mag"].reindex(names).to_numpy(np.float32) - np.float32(
        units.mean_colour_mag
    )
    touched, local = np.unique(unit, return_inverse=True)
    # Bytes of each measurement are what limits a survey that stays in memory.
    index = np.uint16 if len(touched) <= np.iinfo(np.uint16).max else np.int32
    return Block(
        names, np.append(start, len(star_id)), touched.astype(np.int64), local.astype(index),
        mag, variance, u, v, superpixel, rcid.astype(np.uint8), np.nan_to_num(colour), airmass,
    )  # fmt: skip


def _place(
    kind: str, x_px: np.ndarray, y_px: np.ndarray, east: np.ndarray, north: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if kind == EXPOSURE:
        return east, north
    ny, nx = SHAPE
    return (2 * x_px + 1) / nx - 1, (2 * y_px + 1) / ny - 1


def _add_reference(
    columns: list[np.ndarray], star_id: np.ndarray, stars: pd.DataFrame, unit: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """A measurement more of each star that the reference catalogue knows."""
    error = stars["reference_error_mag"].to_numpy()
    known = np.isfinite(stars["reference_mag"].to_numpy()) & np.isfinite(error) & (error > 0)
    if not known.any():
        return columns, star_id
    n = int(known.sum())
    values = (
        unit, stars["reference_mag"].to_numpy()[known], error[known] ** 2,
        0.0, 0.0, 0, N_QUADRANTS, 0.0,
    )  # fmt: skip
    longer = [
        np.concatenate([column, np.broadcast_to(value, n).astype(column.dtype)])
        if len(column) == len(star_id)
        else column
        for column, value in zip(columns, values, strict=True)
    ]
    star_id = np.concatenate([star_id, stars.index.to_numpy()[known]])
    order = np.argsort(star_id, kind="stable")
    longer = [column[order] if len(column) == len(order) else column for column in longer]
    return longer, star_id[order]
