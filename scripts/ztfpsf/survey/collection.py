"""Adding images to a dataset: once each, and rewriting only the cells that they touch.

The record of the images is written last: an interrupted collection starts that batch again, and
finds nothing twice.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.io import write_table
from ztfpsf.names import QuadrantName, parse_quadrant
from ztfpsf.survey.airmass import find_gradient
from ztfpsf.survey.cells import find_cell
from ztfpsf.survey.dataset import MEASUREMENTS, STARS, read_cell, read_parts, write_cell
from ztfpsf.survey.fields import read_fields
from ztfpsf.survey.matching import find_nearest, match


class Image(NamedTuple):
    """What is kept of one image: ra_deg, dec_deg, x_px, y_px, mag, mag_error; and counts."""

    name: str
    table: pd.DataFrame
    counts: Mapping[str, int]


class Reference(NamedTuple):
    """Magnitudes of other catalogues; NaN: unknown."""

    stars: pd.DataFrame  # ra_deg, dec_deg, colour_mag, reference_mag, reference_error_mag
    radius_arcsec: float


def add_images(
    root: str | Path,
    images: Iterable[Image],
    reference: Reference,
    radius_arcsec: float,
    provenance: Mapping[str, Any],
) -> pd.DataFrame:
    """Add images to the dataset in `root`, replacing what was there of them.

    An image whose measurements are there already, as they are, is left alone. Returns the rows of
    the images that were written.
    """
    known = read_images(root)
    digests = dict(zip(known["image"], known["digest"], strict=True))
    fresh = {image.name: image for image in images if digests.get(image.name) != digest(image)}
    if not fresh:
        return known.iloc[:0]
    names = {name: parse_quadrant(name) for name in fresh}
    exposures = extend_exposures(read_exposures(root), names.values(), provenance, root)
    number = dict(zip(exposures["name"], exposures.index, strict=True))
    table = _stack(fresh, names, number)
    cells = _write_cells(root, table, names, number, reference, radius_arcsec, provenance)
    rows = pd.DataFrame(
        [
            {"image": name, "digest": digest(image), **image.counts, "cells": cells.get(name, [])}
            for name, image in fresh.items()
        ]
    )
    kept = known[~known["image"].isin(list(fresh))]
    both = pd.concat([kept, rows], ignore_index=True) if len(kept) else rows
    write_table(both, Path(root, "images.parquet"), provenance)
    return rows


def read_images(root: str | Path) -> pd.DataFrame:
    """Images that are in the dataset."""
    path = Path(root, "images.parquet")
    return read_parts([path]) if path.exists() else pd.DataFrame({"image": [], "digest": []})


def read_exposures(root: str | Path) -> pd.DataFrame:
    """Exposures of the dataset; their row is the number that measurements carry."""
    path = Path(root, "exposures.parquet")
    return read_parts([path]) if path.exists() else pd.DataFrame({"name": []})


def digest(image: Image) -> str:
    """Fingerprint of an image's measurements and counts."""
    content = image.table.to_numpy(float).tobytes() + repr(sorted(image.counts.items())).encode()
    return sha256(content).hexdigest()[:16]


def extend_exposures(
    exposures: pd.DataFrame,
    names: Iterable[QuadrantName],
    provenance: Mapping[str, Any],
    root: str | Path,
) -> pd.DataFrame:
    """Exposures with those of these images appended, written."""
    known = set(exposures["name"])
    new = sorted({name.exposure: name for name in names if name.exposure not in known}.items())
    if new:
        rows = make_exposures([name for _, name in new])
        exposures = pd.concat([exposures, rows], ignore_index=True) if len(exposures) else rows
        write_table(exposures, Path(root, "exposures.parquet"), provenance)
    return exposures


def make_exposures(names: list[QuadrantName]) -> pd.DataFrame:
    """Rows of exposures; ones that are on no field of ZTF have no position and airmass 1."""
    fields = read_fields().set_index("field")
    field = np.array([name.field for name in names])
    centre = fields.reindex(field)
    mjd = np.array([name.mjd for name in names])
    ra, dec = centre["ra_deg"].to_numpy(), centre["dec_deg"].to_numpy()
    airmass = find_gradient(ra, dec, mjd)
    return pd.DataFrame(
        {
            "name": [name.exposure for name in names],
            "field": field,
            "mjd": mjd,
            "ra_deg": ra,
            "dec_deg": dec,
            "airmass": np.nan_to_num(airmass.centre, nan=1.0),
            "airmass_to_east": np.nan_to_num(airmass.to_east),
            "airmass_to_north": np.nan_to_num(airmass.to_north),
        }
    )


def _stack(
    images: Mapping[str, Image], names: Mapping[str, QuadrantName], number: Mapping[str, int]
) -> pd.DataFrame:
    parts = [
        image.table.assign(image=name, exposure=number[names[name].exposure], rcid=names[name].rcid)
        for name, image in images.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _write_cells(
    root: str | Path,
    table: pd.DataFrame,
    names: Mapping[str, QuadrantName],
    number: Mapping[str, int],
    reference: Reference,
    radius_arcsec: float,
    provenance: Mapping[str, Any],
) -> dict[str, list[int]]:
    """Match the measurements, rewrite the cells; the cells of each image."""
    ra, dec = table["ra_deg"].to_numpy(), table["dec_deg"].to_numpy()
    near = _find_near_cells(ra, dec, radius_arcsec)
    none = read_cell(root, -1, "stars")
    stars = pd.concat([none, *(read_cell(root, cell, "stars") for cell in near)], ignore_index=True)
    matched = match(ra, dec, stars, radius_arcsec)
    # Two sources of an image that are one star: neither is it.
    table = table.assign(star_id=matched.star_id).drop_duplicates(["image", "star_id"], keep=False)
    new = add_reference(matched.new, reference)
    stars = pd.concat([stars, new], ignore_index=True) if len(stars) else new
    # What an earlier collection wrote of these images goes.
    written = read_images(root)
    earlier = written[written["image"].isin(list(names))] if len(written) else written
    old_cells = {cell for cells in earlier.get("cells", []) for cell in cells}
    replaced = {(number[name.exposure], name.rcid) for name in names.values()}
    cells = set(np.unique(table["star_id"] // 2**32)) | old_cells
    for cell in sorted(cells):
        _write_cell(root, int(cell), table, stars, replaced, provenance)
    of_image = table.assign(cell=table["star_id"] // 2**32).groupby("image")["cell"].unique()
    return {str(name): sorted(map(int, cells)) for name, cells in of_image.items()}


def _find_near_cells(ra_deg: np.ndarray, dec_deg: np.ndarray, radius_arcsec: float) -> list[int]:
    """Cells of the positions and of what is within the radius."""
    margin = 2.0 * radius_arcsec / 3600
    cells: set[int] = set()
    for east in (-margin, 0.0, margin):
        for north in (-margin, 0.0, margin):
            dec = np.clip(dec_deg + north, -90.0, 90.0)
            ra = ra_deg + east / np.maximum(np.cos(np.radians(dec)), 1e-6)
            cells |= set(np.unique(find_cell(ra, dec)).tolist())
    return sorted(cells)


def add_reference(stars: pd.DataFrame, reference: Reference) -> pd.DataFrame:
    """Stars with what the reference catalogue knows of them."""
    row = find_nearest(
        stars["ra_deg"].to_numpy(),
        stars["dec_deg"].to_numpy(),
        reference.stars,
        reference.radius_arcsec,
    )
    columns = {}
    for name in ("colour_mag", "reference_mag", "reference_error_mag"):
        values = np.append(reference.stars[name].to_numpy(np.float32), np.float32(np.nan))
        columns[name] = values[row]
    return stars.assign(**columns)[list(STARS)].astype(STARS)


def _write_cell(
    root: str | Path,
    cell: int,
    table: pd.DataFrame,
    stars: pd.DataFrame,
    replaced: set[tuple[int, int]],
    provenance: Mapping[str, Any],
) -> None:
    old = read_cell(root, cell, "measurements")
    key = old["exposure"].to_numpy(np.int64) * 64 + old["rcid"].to_numpy()
    gone = np.isin(key, [exposure * 64 + rcid for exposure, rcid in replaced])
    new = table[table["star_id"] // 2**32 == cell][list(MEASUREMENTS)].astype(MEASUREMENTS)
    here = pd.concat([old[~gone], new], ignore_index=True) if len(old) else new
    own = stars[stars["star_id"] // 2**32 == cell]
    own = own[own["star_id"].isin(here["star_id"].unique())]
    write_cell(root, cell, here, own, provenance)
