"""Names of ZTF images and the tree they are stored in."""

import re
from datetime import date, datetime, timedelta
from typing import NamedTuple

from ztfpsf.errors import InputError

EXPOSURE_PATTERN = r"ztf_20\d{12}_\d{6}_z[gri]"
CCD_PATTERN = EXPOSURE_PATTERN + r"_c(?:0[1-9]|1[0-6])_o"
QUADRANT_PATTERN = CCD_PATTERN + r"_q[1-4]"

_QUADRANT = re.compile(
    r"ztf_(?P<filefracday>(?P<year>20\d{2})(?P<month>\d{2})(?P<day>\d{2})(?P<fracday>\d{6}))"
    r"_(?P<field>\d{6})_(?P<filtercode>z[gri])_c(?P<ccdid>0[1-9]|1[0-6])_o_q(?P<qid>[1-4])"
)

_RAW = re.compile(
    r"ztf_(?P<filefracday>20\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{6})"
    r"_(?P<field>\d{6})_(?P<filtercode>zg|zr|zi|bi|dk|OO)_c(?P<ccdid>0[1-9]|1[0-6])_(?P<kind>[obdf])"
)
# Kinds of frames without a filter, by their code; those in a filter are on sky or flats.
_KINDS = {"bi": "b", "OO": "b", "dk": "d"}
RAW_SUFFIXES = (".fits.fz", ".fits.gz", ".fits")


class QuadrantName(NamedTuple):
    """The fields of a quadrant's name, e.g. ztf_20200924431759_000655_zr_c13_o_q3."""

    filefracday: str  # UT date and time, YYYYMMDD + 6 digits of the day's fraction
    field: int
    filtercode: str  # zg, zr or zi
    ccdid: int  # 1..16
    qid: int  # 1..4

    @property
    def rcid(self) -> int:
        """Readout channel, 0..63 = 4 (ccdid - 1) + (qid - 1)."""
        return 4 * (self.ccdid - 1) + self.qid - 1

    @property
    def night(self) -> str:
        """UT day, YYYYMMDD."""
        return self.filefracday[:8]

    @property
    def start(self) -> datetime:
        """UT of the exposure, to 0.1 s."""
        days = int(self.filefracday[8:]) / 1e6
        return datetime.strptime(self.night, "%Y%m%d") + timedelta(days=days)

    @property
    def mjd(self) -> float:
        """Modified Julian date (UTC) of the start."""
        return (self.start - datetime(1858, 11, 17)) / timedelta(days=1)

    @property
    def exposure(self) -> str:
        return f"ztf_{self.filefracday}_{self.field:06d}_{self.filtercode}"

    @property
    def ccd(self) -> str:
        return f"{self.exposure}_c{self.ccdid:02d}_o"

    def __str__(self) -> str:
        return f"{self.ccd}_q{self.qid}"

    def path(self, suffix: str) -> str:
        """Path of a product below the root of ZTF's tree, e.g. suffix 'sciimg.fits'."""
        day, fracday = self.filefracday[:8], self.filefracday[8:]
        return f"sci/{day[:4]}/{day[4:]}/{fracday}/{self}_{suffix}"


def _require_day(name: str, filefracday: str) -> None:
    """Raise InputError for a name whose day is not in the calendar."""
    try:
        date.fromisoformat(filefracday[:8])
    except ValueError:
        raise InputError(
            f"'{name}': there is no day {filefracday[:8]}; correct the name."
        ) from None


def parse_quadrant(name: str) -> QuadrantName:
    """Fields of a quadrant name. Raises InputError if `name` is not one, in full."""
    match = _QUADRANT.fullmatch(name)
    if match is None:
        raise InputError(
            f"'{name}' is not the name of a ZTF quadrant; expected the form "
            "ztf_20200924431759_000655_zr_c13_o_q3."
        )
    _require_day(name, match["filefracday"])
    return QuadrantName(
        match["filefracday"],
        int(match["field"]),
        match["filtercode"],
        int(match["ccdid"]),
        int(match["qid"]),
    )


class RawName(NamedTuple):
    """The fields of a raw CCD file's name, e.g. ztf_20200401152477_000517_zg_c06_o."""

    filefracday: str  # UT date and time, YYYYMMDD + 6 digits of the day's fraction
    field: int  # 0 for calibration frames
    filtercode: str  # zg, zr, zi; bi for a bias
    ccdid: int  # 1..16
    kind: str  # o on sky, b bias, d dark, f dome flat

    @property
    def night(self) -> str:
        """UT day, YYYYMMDD."""
        return self.filefracday[:8]

    @property
    def exposure(self) -> str:
        return f"ztf_{self.filefracday}_{self.field:06d}_{self.filtercode}"

    def __str__(self) -> str:
        return f"{self.exposure}_c{self.ccdid:02d}_{self.kind}"

    def path(self, suffix: str = ".fits.fz") -> str:
        """Path below the root of ZTF's tree."""
        day, fracday = self.night, self.filefracday[8:]
        return f"raw/{day[:4]}/{day[4:]}/{fracday}/{self}{suffix}"

    def quadrant(self, qid: int) -> QuadrantName:
        return QuadrantName(self.filefracday, self.field, self.filtercode, self.ccdid, qid)


def parse_raw(file_name: str) -> RawName:
    """Fields of the name of a raw file, without its folder. Raises InputError if it is not one."""
    suffix = next((end for end in RAW_SUFFIXES if file_name.endswith(end)), "")
    match = _RAW.fullmatch(file_name.removesuffix(suffix)) if suffix else None
    if match is None:
        raise InputError(
            f"'{file_name}' is not the name of a raw ZTF file; expected the form "
            "ztf_20200401152477_000517_zg_c06_o.fits.fz."
        )
    _require_day(file_name, match["filefracday"])
    if match["kind"] not in _KINDS.get(match["filtercode"], "of"):
        raise InputError(
            f"'{file_name}' has the filter code {match['filtercode']} and is of the kind "
            f"{match['kind']}, which contradict each other; correct the name."
        )
    return RawName(
        match["filefracday"],
        int(match["field"]),
        match["filtercode"],
        int(match["ccdid"]),
        match["kind"],
    )
