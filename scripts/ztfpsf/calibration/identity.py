"""Whether a raw frame is what its name says.

The name decides which frames serve which; the header may leave out who it is, but must not
contradict the name.
"""

import re
from bisect import bisect_right
from datetime import date
from typing import NamedTuple

import numpy as np
from astropy.io import fits

from ztfpsf.cards import get_number, get_text
from ztfpsf.errors import InputError
from ztfpsf.names import RawName

# IMGTYPE in words, by kind of frame.
_KINDS = {"object": "o", "science": "o", "bias": "b", "dark": "d", "flat": "f", "domeflat": "f"}
_FILTER = re.compile(r"ZTF[_ ]([gri])", re.I)  # FILTER
_MJD_0 = date(1858, 11, 17).toordinal()
# Header and name differ by the seconds that it takes to start an exposure.
_MAX_DELAY_DAYS = 0.01


class _Grid(NamedTuple):
    """One of ZTF's two grids of fields (Bellm et al. 2019, PASP 131, 068003), South to North."""

    first_deg: float  # declination of the first row; the polar rows are up to 3 deg off
    first_fields: tuple[int, ...]  # of each row
    last_field: int


# fmt: off
_GRIDS = (
    _Grid(-89.05, (
        1, 5, 16, 33, 56, 85, 119, 157, 199, 245, 294, 345, 396, 447, 499, 550, 600, 648, 694,
        736, 773, 806, 833, 854, 869, 878,
    ), 879),
    _Grid(-85.45, (
        1001, 1015, 1042, 1062, 1088, 1119, 1155, 1196, 1240, 1287, 1337, 1389, 1441, 1493, 1545,
        1596, 1645, 1692, 1735, 1774, 1809, 1839, 1863, 1881, 1894,
    ), 1895),
)
# fmt: on
_ROW_STEP_DEG = 7.2
_MAX_OFFSET_DEG = _ROW_STEP_DEG / 2


def check_identity(name: RawName, header: fits.Header, path: str) -> None:
    """Compare a primary header with the name. Raises InputError for the first contradiction."""
    checks = (_check_kind, _check_filter, _check_time, _check_pointing)
    for complaint in filter(None, (check(name, header) for check in checks)):
        raise InputError(f"{path}: {complaint}; rename the file or correct its header.")


def _check_kind(name: RawName, header: fits.Header) -> str:
    found = get_text(header, "IMGTYPE")
    is_other = _KINDS.get(found.strip().lower(), name.kind) != name.kind
    return f"IMGTYPE = {found} contradicts the name, which ends in _{name.kind}" if is_other else ""


def _check_filter(name: RawName, header: fits.Header) -> str:
    found = get_text(header, "FILTER")
    match = _FILTER.fullmatch(found.strip())
    if name.kind not in "of" or match is None or f"z{match[1].lower()}" == name.filtercode:
        return ""
    return f"FILTER = {found} contradicts the filter code {name.filtercode} of the name"


def _check_time(name: RawName, header: fits.Header) -> str:
    day = date.fromisoformat(name.night).toordinal() - _MJD_0
    start = day + int(name.filefracday[8:]) / 1e6
    for key, offset in (("OBSMJD", 0.0), ("OBSJD", 2_400_000.5)):
        found = get_number(header, key)
        if abs(found - offset - start) > _MAX_DELAY_DAYS:
            return f"{key} = {found:.6f} contradicts the time of the name, MJD {start:.6f}"
    return ""


def _check_pointing(name: RawName, header: fits.Header) -> str:
    if name.kind != "o":
        return ""
    ra, dec = get_number(header, "RAD"), get_number(header, "DECD")
    if not (-90 <= dec <= 90 or np.isnan(dec)) or not (0 <= ra <= 360 or np.isnan(ra)):
        return f"RAD = {ra:g} and DECD = {dec:g} are no position on the sky"
    expected = field_declination(name.field)
    if abs(dec - expected) > _MAX_OFFSET_DEG:
        return f"DECD = {dec:g} contradicts field {name.field} of the name, at {expected:.2f} deg"
    return ""


def field_declination(field: int) -> float:
    """Declination (deg) of the row of a field, to 3 deg; NaN outside ZTF's grids."""
    for grid in _GRIDS:
        if grid.first_fields[0] <= field <= grid.last_field:
            row = bisect_right(grid.first_fields, field) - 1
            return grid.first_deg + _ROW_STEP_DEG * row
    return float("nan")
