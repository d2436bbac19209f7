"""Names of ZTF images and the tree they are stored in."""

import re
from typing import NamedTuple

from ztfpsf.errors import InputError

EXPOSURE_PATTERN = r"ztf_20\d{12}_\d{6}_z[gri]"
CCD_PATTERN = EXPOSURE_PATTERN + r"_c(?:0[1-9]|1[0-6])_o"
QUADRANT_PATTERN = CCD_PATTERN + r"_q[1-4]"
UNIT_PATTERN = EXPOSURE_PATTERN + r"(?:_c(?:0[1-9]|1[0-6])_o(?:_q[1-4])?)?"

_QUADRANT = re.compile(
    r"ztf_(?P<filefracday>(?P<year>20\d{2})(?P<month>\d{2})(?P<day>\d{2})(?P<fracday>\d{6}))"
    r"_(?P<field>\d{6})_(?P<filtercode>z[gri])_c(?P<ccdid>0[1-9]|1[0-6])_o_q(?P<qid>[1-4])"
)


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


def parse_quadrant(name: str) -> QuadrantName:
    """Fields of a quadrant name. Raises InputError if `name` is not one, in full."""
    match = _QUADRANT.fullmatch(name)
    if match is None:
        raise InputError(
            f"'{name}' is not the name of a ZTF quadrant; expected the form "
            "ztf_20200924431759_000655_zr_c13_o_q3."
        )
    return QuadrantName(
        match["filefracday"],
        int(match["field"]),
        match["filtercode"],
        int(match["ccdid"]),
        int(match["qid"]),
    )
