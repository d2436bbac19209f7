"""Magnitudes and colours of another catalogue: Gaia, PS1, or stars that are known otherwise."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ztfpsf.errors import InputError, first_sentence
from ztfpsf.fits_files import check_file, damage_named
from ztfpsf.survey.collection import Reference

COLUMNS = ("ra", "dec")


def read_reference(
    path: str | None, names: Mapping[str, str | None], radius_arcsec: float
) -> Reference:
    """Reference stars of a parquet or CSV table with ra, dec (deg, ICRS); none without a path.

    `names`: columns of `mag`, `mag_error` and `colour`; None: there is none. Raises InputError for
    a file that cannot be read or lacks a column.
    """
    if path is None:
        empty = {name: np.zeros(0) for name in ("ra_deg", "dec_deg", *TARGETS.values())}
        return Reference(pd.DataFrame(empty), radius_arcsec)
    check_file(path)
    if Path(path).suffix not in (".parquet", ".csv"):
        raise InputError(f"{path}: unknown kind of table; expected .parquet or .csv.")
    with damage_named(path):
        table = pd.read_csv(path) if path.endswith(".csv") else pd.read_parquet(path)
    wanted = list(dict.fromkeys([*COLUMNS, *(name for name in names.values() if name)]))
    missing = [name for name in wanted if name not in table]
    if missing:
        raise InputError(
            f"{path}: has no column {', '.join(missing)}; name its columns in "
            "collect_survey.reference."
        )
    try:
        table = table[wanted].astype(float)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: {', '.join(wanted)} must hold numbers ({first_sentence(error)}); correct the "
            "table."
        ) from None
    stars = {"ra_deg": table["ra"].to_numpy(), "dec_deg": table["dec"].to_numpy()}
    for key, target in TARGETS.items():
        name = names[key]
        stars[target] = table[name].to_numpy() if name else np.full(len(table), np.nan)
    found = pd.DataFrame(stars)
    return Reference(found[np.isfinite(found[["ra_deg", "dec_deg"]]).all(axis=1)], radius_arcsec)


TARGETS = {"mag": "reference_mag", "mag_error": "reference_error_mag", "colour": "colour_mag"}
