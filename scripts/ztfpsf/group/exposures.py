"""The exposures of a group: when and how they were taken, and whether they can be used."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ztfpsf.names import parse_quadrant
from ztfpsf.quality import NOT_CONVERGED, OK
from ztfpsf.survey.airmass import find_airmass, find_parallactic_deg

SECONDS_PER_DAY = 86400.0
# Two exposures cannot begin within this time: ZTF's last 30 s.
SAME_S = 1.0
# Taken over from the tables of cut_stamps and validate_psf.
STAMP_COLUMNS = ("exptime_s", "magzp_mag", "sky_adu", "gain", "nx", "ny", "infobits")
VERDICT_COLUMNS = ("verdict", "reason", "fwhm_px")


def make_exposures(
    images: Sequence[str], stamps: pd.DataFrame, fits: pd.DataFrame, verdicts: pd.DataFrame
) -> pd.DataFrame:
    """One row for each image of a group, in the order of time.

    `stamps`, `fits`, `verdicts`: tables of images of cut_stamps, fit_psf and validate_psf. `mjd` is
    the middle of the exposure (UTC), or the start that the name tells where the header has no time.
    `status` is ok where there is a PSF, else the sentence of the rule that failed; of an exposure
    that is there under two names the second has none.
    """
    table = pd.DataFrame({"image": sorted(images)})
    for other, columns in (
        (stamps, ("status", "obsmjd", *STAMP_COLUMNS)),
        (fits, ("status",)),
        (verdicts, VERDICT_COLUMNS),
    ):
        there = [name for name in columns if name in other]
        rows = other.drop_duplicates("image").set_index("image")[there]
        rows = rows.rename(columns={"status": f"status_{len(table.columns)}"})
        table = table.join(rows, on="image")
    for name in (*STAMP_COLUMNS, "obsmjd", "fwhm_px"):
        table[name] = table.get(name, pd.Series(np.nan, table.index)).astype(float)
    names = [parse_quadrant(image) for image in table["image"]]
    start = table["obsmjd"].fillna(pd.Series([name.mjd for name in names]))
    mjd = start + np.nan_to_num(table["exptime_s"]) / 2 / SECONDS_PER_DAY
    told = table[[name for name in table if name.startswith("status_")]]
    exposures = pd.DataFrame(
        {
            "image": table["image"],
            "field": [name.field for name in names],
            "filtercode": [name.filtercode for name in names],
            "ccdid": [name.ccdid for name in names],
            "qid": [name.qid for name in names],
            "mjd": mjd,
            **{name: table[name] for name in (*STAMP_COLUMNS, "fwhm_px")},
            "verdict": table.get("verdict", pd.Series("", table.index)).fillna(""),
            "reason": table.get("reason", pd.Series("", table.index)).fillna(""),
            "status": [_find_status(row) for row in told.itertuples(index=False)],
        }
    )
    return _name_doubles(exposures.sort_values(["mjd", "image"], ignore_index=True))


def _name_doubles(exposures: pd.DataFrame) -> pd.DataFrame:
    """Exposures, sorted; those within SAME_S of the one before have a status that says so."""
    is_double = exposures["mjd"].diff() * SECONDS_PER_DAY < SAME_S
    said = "the same exposure as " + exposures["image"].shift().fillna("") + "."
    return exposures.assign(status=exposures["status"].mask(is_double, said))


def _find_status(told: Sequence[object]) -> str:
    """The first rule that failed; images that a rule left out have no row there."""
    for status in told:
        if not isinstance(status, str):
            return "the image was left out before its PSF was fitted."
        if status not in (OK, NOT_CONVERGED):
            return status
    return OK


def place_in_sky(exposures: pd.DataFrame, ra_deg: float, dec_deg: float) -> pd.DataFrame:
    """The exposures with `airmass` and `parallactic_deg` of a place."""
    mjd = exposures["mjd"].to_numpy()
    ra, dec = np.full(len(mjd), ra_deg), np.full(len(mjd), dec_deg)
    return exposures.assign(
        airmass=find_airmass(ra, dec, mjd), parallactic_deg=find_parallactic_deg(ra, dec, mjd)
    )
