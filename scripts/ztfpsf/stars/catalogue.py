"""Star catalogues: a user's table, LSST reference-catalogue shards, Gaia DR3 healpix tables.

Every reader gives a DataFrame with ra_deg, dec_deg (at the date of the image where the catalogue
has proper motions), mag and star_id (from the position in the catalogue, so that a star keeps
its name from image to image), of the stars within a cone. Rows without a position on the sky or a
magnitude are left out; -99, -999 and their like stand for none.
"""

import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from astropy.io import fits

from ztfpsf.errors import InputError, first_sentence
from ztfpsf.fits_files import check_file, damage_named, open_fits, read_packed
from ztfpsf.stars.htm import cover_cone
from ztfpsf.stars.sky import (
    apply_proper_motion,
    get_julian_year,
    get_separation_deg,
    make_star_names,
)

HTM_DEPTH = 7  # of the LSST reference catalogues
HEALPIX_NSIDE = 64  # of the Gaia DR3 tables at CC-IN2P3, nested order
GAIA_DR3_EPOCH = 2016.0  # Julian year
AB_ZERO_POINT_JY = 3631.0
MISSING = "correct catalogue: path, or fetch this file"
# Beyond any star's and any instrument's: -99, 99 and 999 stand for no magnitude.
MAX_ABSOLUTE_MAG = 90.0


class Cone(NamedTuple):
    """A circle on the sky, at a date."""

    ra_deg: float
    dec_deg: float
    radius_deg: float
    mjd: float  # NaN where the image has no date: then no catalogue with motions can be used


def read_user_table(path: str, cone: Cone) -> pd.DataFrame:
    """Parquet, CSV or FITS table with columns ra, dec (deg, ICRS), mag.

    Optional: pmra (with cos dec), pmdec in mas/year, with epoch in Julian years (2016.0). A star
    that lacks motion or epoch stays where the catalogue has it.
    Raises InputError for a file that cannot be read or lacks a column, or no star in the cone.
    """
    table = _read_table(path)
    motions = [name for name in ("pmra", "pmdec") if name in table]
    required = ["ra", "dec", "mag", *(["pmra", "pmdec", "epoch"] if motions else [])]
    table = _take_numbers(table, required, path)
    table["epoch"] = table.get("epoch", np.nan)
    return _finish(table, cone, path)


def read_gaia_dr2_htm(path: str, cone: Cone) -> pd.DataFrame:
    """Gaia DR2 as LSST reference catalogue: a directory of depth-7 trixels `<htmid>.fits`.

    coord_ra, coord_dec in radians; mag = AB magnitude of phot_g_mean_flux in nJy. Raises
    InputError for a missing shard or column, or no star in the cone.
    """
    ids = cover_cone(cone.ra_deg, cone.dec_deg, cone.radius_deg, HTM_DEPTH)
    columns = ["coord_ra", "coord_dec", "phot_g_mean_flux"]
    shards = []
    for shard in (f"{path}/{trixel}.fits" for trixel in ids):
        numbers = _take_numbers(_read_fits_table(shard), columns, shard)
        numbers = numbers[numbers["phot_g_mean_flux"] > 0]
        shards.append(
            pd.DataFrame(
                {
                    "ra": np.degrees(numbers["coord_ra"]),
                    "dec": np.degrees(numbers["coord_dec"]),
                    "mag": -2.5 * np.log10(1e-9 * numbers["phot_g_mean_flux"] / AB_ZERO_POINT_JY),
                }
            )
        )
    return _finish(pd.concat(shards, ignore_index=True), cone, path)


def read_gaia_dr3_healpix(path: str, cone: Cone) -> pd.DataFrame:
    """Gaia DR3 as a directory of nested healpix tables `gaiadr3_pix64_<pixel>.parquet`.

    ra, dec in degrees at J2016.0, pmra, pmdec in mas/year (missing: zero), mag =
    phot_g_mean_mag. Raises InputError for a missing shard or column, or no star in the cone.
    """
    from astropy import units
    from astropy_healpix import HEALPix

    pixels = HEALPix(nside=HEALPIX_NSIDE, order="nested").cone_search_lonlat(
        cone.ra_deg * units.deg, cone.dec_deg * units.deg, cone.radius_deg * units.deg
    )
    columns = ["ra", "dec", "phot_g_mean_mag", "pmra", "pmdec"]
    shards = [
        _take_numbers(_read_table(shard), columns, shard)
        for shard in (f"{path}/gaiadr3_pix64_{pixel}.parquet" for pixel in np.sort(pixels))
    ]
    table = pd.concat(shards, ignore_index=True).rename(columns={"phot_g_mean_mag": "mag"})
    return _finish(table.assign(epoch=GAIA_DR3_EPOCH), cone, path)


READERS = {
    "table": read_user_table,
    "gaia_dr2_htm": read_gaia_dr2_htm,
    "gaia_dr3_healpix": read_gaia_dr3_healpix,
}


def _read_table(path: str) -> pd.DataFrame:
    """A table of any name: parquet, FITS or CSV, as its first bytes say; compressed or not."""
    check_file(path, MISSING)
    with damage_named(path, "give a parquet, CSV or FITS table"):
        content = read_packed(path) or Path(path).read_bytes()
        if content.startswith(b"PAR1"):
            return pd.read_parquet(io.BytesIO(content))
        if content.startswith(b"SIMPLE  ="):
            return _read_fits_table(path)
        return _read_csv(content)


def _read_csv(content: bytes) -> pd.DataFrame:
    """Comma-separated values; a comma at the end of every row but the first does not count."""
    # pandas would take the first column for an index, and drop cells with a warning.
    with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):
        return pd.read_csv(io.BytesIO(content), index_col=False, skipinitialspace=True)


def _read_fits_table(path: str) -> pd.DataFrame:
    """One-dimensional columns of the first binary table of a FITS file; TNULL becomes NaN."""
    check_file(path, MISSING)
    with open_fits(path) as hdus, damage_named(path):
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
        if not tables:
            raise InputError(f"{path}: holds no table; give a FITS binary table.")
        columns = {column.name: column for column in tables[0].columns}
        values = {name: tables[0].data[name] for name in columns}
        return pd.DataFrame(
            {
                name: _fill_nulls(values[name], column)
                for name, column in columns.items()
                if values[name].ndim == 1
            }
        )


def _fill_nulls(values: np.ndarray, column: fits.Column) -> np.ndarray:
    """A column in native byte order, NaN where it holds its TNULL (which is a stored value)."""
    native = values.astype(values.dtype.newbyteorder("="))
    if column.null in (None, "") or native.dtype.kind not in "iuf":
        return native
    null = column.null * (column.bscale or 1) + (column.bzero or 0)
    return np.where(native == null, np.nan, native)


def _take_numbers(table: pd.DataFrame, columns: list[str], path: str) -> pd.DataFrame:
    """These columns as float64. Raises InputError where one is missing or holds text."""
    missing = [name for name in columns if name not in table]
    if missing:
        raise InputError(
            f"{path}: the catalogue has no column {', '.join(missing)} "
            f"(it has {', '.join(map(str, table.columns[:20]))}); rename or add it."
        )
    try:
        return table[columns].astype(np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path}: {', '.join(columns)} must hold numbers ({first_sentence(error)})."
        ) from None


def _finish(table: pd.DataFrame, cone: Cone, path: str) -> pd.DataFrame:
    """Stars of the cone, named, at the date of the image."""
    on_sky = table["ra"].between(-360, 360) & table["dec"].between(-90, 90)
    table = table[on_sky & (table["mag"].abs() < MAX_ABSOLUTE_MAG)]
    table = table.assign(ra=table["ra"] % 360)
    distance = get_separation_deg(table["ra"], table["dec"], cone.ra_deg, cone.dec_deg)
    table = table[distance <= cone.radius_deg]
    if table.empty:
        raise InputError(
            f"{path}: the catalogue has no star within {cone.radius_deg:.2f} deg of RA "
            f"{cone.ra_deg:.4f}, Dec {cone.dec_deg:.4f} deg; give one that covers the image."
        )
    ra, dec = table["ra"].to_numpy(), table["dec"].to_numpy()
    names = make_star_names(ra, dec)
    if "pmra" in table:
        if not np.isfinite(cone.mjd):
            raise InputError(
                f"{path}: the catalogue has proper motions but the image no OBSMJD; add this "
                "keyword to the header of the image."
            )
        years = (get_julian_year(cone.mjd) - table["epoch"]).to_numpy()
        known = np.isfinite(years)
        pmra, pmdec = (np.where(known, table[name], 0.0) for name in ("pmra", "pmdec"))
        ra, dec = apply_proper_motion(ra, dec, pmra, pmdec, np.where(known, years, 0.0))
    return pd.DataFrame(
        {"star_id": names, "ra_deg": ra, "dec_deg": dec, "mag": table["mag"].to_numpy()}
    )


def check_catalogue_path(kind: str, path: str) -> None:
    """Raises InputError where a shard catalogue is no directory."""
    if kind != "table" and not Path(path).is_dir():
        raise InputError(
            f"{path or 'catalogue: path'}: not a directory; {kind} needs the directory of the "
            "shards in catalogue: path."
        )
