"""The stars of one image that are fit to measure its PSF, and why the others are not."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.errors import InputError
from ztfpsf.quality import PIXEL_ARCSEC
from ztfpsf.stars.images import ScienceImage, Sky
from ztfpsf.stars.isolation import HALF_LIGHT_TO_GAMMA, find_neighbour_light
from ztfpsf.stars.locus import find_size_outliers
from ztfpsf.stars.measurement import (
    find_centroids,
    find_typical_radius,
    measure,
    measure_snr,
)

# The tests in their order; a rejected star carries the first it fails.
REASONS = (
    "faint",
    "magnitude",
    "edge",
    "mask",
    "saturated",
    "bright",
    "neighbour",
    "position",
    "size",
    "surplus",
)
COLUMNS = (
    "image",
    "star_id",
    "ra_deg",
    "dec_deg",
    "mag",
    "x_px",
    "y_px",
    "half_light_radius_px",  # NaN of stars rejected as faint or magnitude, and without light
    "snr",  # in an aperture of 4 typical half-light radii
    "neighbour_light",  # in parts of the star's own; NaN where not looked for
    "reason",
    "is_reserved",
)
# Within 3 px of its centre lies 93 % of a star's light at a FWHM of 1.5 px and half of it at ZTF's
# worst, 5.5 px: a bad pixel there spoils flux and position. Farther out it is only masked.
CLEAN_RADIUS_PX = 3
# With fewer stars a PSF needs them all, and a fifth of them would judge nothing.
MIN_STARS_FOR_RESERVE = 10


@dataclass(frozen=True)
class Criteria:
    """What a star must fulfil: the configuration's select_stars, and the size of its stamp."""

    size_px: int
    magnitude_min_mag: float | None
    magnitude_max_mag: float | None
    min_snr: float
    isolation_arcsec: float  # farther neighbours do not count
    max_neighbour_light: float  # in parts of the star's own
    edge_px: int
    saturation_fraction: float
    subtracted_sky: float | str | None  # ADU, or the keyword that says it
    max_peak_fraction: float  # of the saturation level
    bad_mask_bits: list[int]
    reserved_fraction: float
    min_stars: int
    max_stars: int
    detection_threshold: float  # in units of the sky noise

    @property
    def margin_px(self) -> int:
        """Distance to the edge that leaves room for the stamp."""
        return max(self.edge_px, self.size_px // 2 + 1)


class StarSelection(NamedTuple):
    """The stars of one image and their numbers."""

    stars: pd.DataFrame  # COLUMNS without image: all sources of the field of view
    kept: int
    reserved: int
    rejected: dict[str, int]  # number by reason


def select(
    image: ScienceImage, sky: Sky, sources: pd.DataFrame, criteria: Criteria
) -> StarSelection:
    """Test the sources (star_id, ra_deg, dec_deg, mag, x_px, y_px) of an image and around it.

    Isolation looks at all of them; the result holds those in the field of view. Of more than
    `max_stars` those are kept to which neighbours add least. Raises InputError when fewer than
    `min_stars` are kept.
    """
    ny, nx = image.data.shape
    in_view = sources["x_px"].between(-0.5, nx - 0.5) & sources["y_px"].between(-0.5, ny - 0.5)
    stars = sources[in_view].reset_index(drop=True)
    x, y = stars["x_px"].to_numpy(copy=True), stars["y_px"].to_numpy(copy=True)
    reason = np.full(len(stars), "", dtype=object)
    found = np.zeros(len(stars), dtype=bool)
    snr, sizes, light = np.full((3, len(stars)), np.nan)

    def reject(name: str, failed: np.ndarray) -> np.ndarray:
        """The stars that are left."""
        reason[(reason == "") & failed] = name
        return np.flatnonzero(reason == "")

    radius = find_typical_radius(image, sky, x, y)
    snr[:] = measure_snr(image, sky, x, y, radius)
    reject("faint", ~(snr >= criteria.min_snr))
    left = reject("magnitude", ~_is_in_range(stars["mag"].to_numpy(), criteria))
    # Centroids first: the edge is counted from where the star is, not from the catalogue.
    x[left], y[left], found[left] = find_centroids(image, sky, x[left], y[left], radius)
    _, snr[left], sizes[left] = measure(image, sky, x[left], y[left], radius)
    reject("faint", ~(snr >= criteria.min_snr))
    reject("edge", find_edge(x, y, (ny, nx), criteria.margin_px))
    reject("mask", _find_in_core(image.bad, x, y, reason == ""))
    reject("saturated", _find_in_core(image.saturated, x, y, reason == ""))
    is_bright = image.data > criteria.max_peak_fraction * image.saturation_adu
    left = reject("bright", _find_in_core(is_bright, x, y, reason == ""))
    light[left] = _measure_neighbours(sources, np.flatnonzero(in_view)[left], radius, criteria)
    reject("neighbour", light > criteria.max_neighbour_light)
    left = reject("position", ~found)
    is_outlier = find_size_outliers(x[left], y[left], sizes[left], snr[left])
    reason[left[is_outlier]] = "size"
    reject("surplus", _find_surplus(reason == "", light, snr, criteria.max_stars))

    kept = reason == ""
    fraction = criteria.reserved_fraction if kept.sum() >= MIN_STARS_FOR_RESERVE else 0.0
    is_reserved = kept & np.array(
        [is_in_reserve(name, fraction) for name in stars["star_id"]], dtype=bool
    )
    stars = stars.assign(
        x_px=x,
        y_px=y,
        half_light_radius_px=sizes,
        snr=snr,
        neighbour_light=light,
        reason=reason,
        is_reserved=is_reserved,
    )[list(COLUMNS[1:])]
    rejected = {name: int((reason == name).sum()) for name in REASONS}
    selection = StarSelection(stars, int(kept.sum()), int(is_reserved.sum()), rejected)
    _check_number(selection, image.path, criteria.min_stars)
    return selection


def make_empty_table() -> pd.DataFrame:
    """The table of select_stars without a row."""
    kinds = {"image": str, "star_id": str, "reason": str, "is_reserved": bool}
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, float)) for name in COLUMNS})


def find_edge(x: np.ndarray, y: np.ndarray, shape: tuple[int, int], margin_px: int) -> np.ndarray:
    """Stars less than `margin_px` from the first or last row or column."""
    ny, nx = shape
    inside = (x >= margin_px) & (x <= nx - 1 - margin_px)
    inside &= (y >= margin_px) & (y <= ny - 1 - margin_px)
    return ~inside


def is_in_reserve(name: str, fraction: float) -> bool:
    """Whether a star is reserved: decided by its name alone, the same for ever."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


def _is_in_range(mag: np.ndarray, criteria: Criteria) -> np.ndarray:
    low, high = criteria.magnitude_min_mag, criteria.magnitude_max_mag
    return (mag > (-np.inf if low is None else low)) & (mag < (np.inf if high is None else high))


def _measure_neighbours(
    sources: pd.DataFrame, stars: np.ndarray, radius_px: float, criteria: Criteria
) -> np.ndarray:
    """Light of the neighbours of `stars` (k,), rows of `sources`, in parts of their own, (k,)."""
    return find_neighbour_light(
        sources["ra_deg"].to_numpy(),
        sources["dec_deg"].to_numpy(),
        sources["mag"].to_numpy(),
        stars,
        HALF_LIGHT_TO_GAMMA * radius_px * PIXEL_ARCSEC,
        criteria.isolation_arcsec,
        criteria.max_neighbour_light,
    )


def _find_surplus(
    kept: np.ndarray, light: np.ndarray, snr: np.ndarray, max_stars: int
) -> np.ndarray:
    """Kept stars beyond the `max_stars` with least neighbour light, of equal ones the brightest."""
    ranked = np.lexsort((-snr, light, ~kept))
    surplus = np.zeros(len(kept), bool)
    surplus[ranked[max_stars:]] = True
    return surplus


def _find_in_core(
    plane: np.ndarray, x: np.ndarray, y: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Stars, of the wanted, with a true pixel of `plane` within CLEAN_RADIUS_PX."""
    found = np.zeros(len(x), dtype=bool)
    dy, dx = np.mgrid[
        -CLEAN_RADIUS_PX : CLEAN_RADIUS_PX + 1, -CLEAN_RADIUS_PX : CLEAN_RADIUS_PX + 1
    ]
    near = dx**2 + dy**2 <= CLEAN_RADIUS_PX**2
    column = np.floor(x[wanted] + 0.5).astype(int)[:, None] + dx[near]
    row = np.floor(y[wanted] + 0.5).astype(int)[:, None] + dy[near]
    ny, nx = plane.shape
    found[wanted] = plane[row.clip(0, ny - 1), column.clip(0, nx - 1)].any(axis=1)
    return found


def _check_number(selection: StarSelection, path: str, min_stars: int) -> None:
    if selection.kept >= max(min_stars, 1):
        return
    counts = ", ".join(f"{name} {n}" for name, n in selection.rejected.items() if n)
    stars = {0: "no star", 1: "only 1 star"}.get(selection.kept, f"only {selection.kept} stars")
    raise InputError(
        f"{path}: {stars} kept of {len(selection.stars)} "
        f"({counts or 'none in the field of view'}); needs {min_stars}: loosen select_stars "
        "in the configuration, or take the image out of the sheet."
    )
