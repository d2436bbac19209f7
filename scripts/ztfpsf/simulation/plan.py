"""Which frames a simulated night has, and which files: names and tree of ZTF.

Standard library only: the workflow reads this module for the names of the frames.
"""

from typing import NamedTuple

from ztfpsf.names import QuadrantName
from ztfpsf.simulation.settings import NightSettings

QUADRANTS = (1, 2, 3, 4)
# First frame of each kind and the step between frames, in 10^-6 day.
CLOCK = {"b": (80000, 600), "f": (120000, 800), "o": (300000, 500)}


class PlannedFrame(NamedTuple):
    """One shutter opening."""

    filefracday: str  # UT date and 6 digits of the day's fraction
    kind: str  # b bias, f flat, o object
    field: int  # 0 for a bias or flat
    filtercode: str  # zg, zr or zi; bi for a bias
    led: int | None

    def file_name(self, ccdid: int) -> str:
        return (
            f"ztf_{self.filefracday}_{self.field:06d}_{self.filtercode}"
            f"_c{ccdid:02d}_{self.kind}.fits.fz"
        )

    def path(self, ccdid: int) -> str:
        """Raw file of a CCD, below the root of ZTF's tree."""
        day, fraction = self.filefracday[:8], self.filefracday[8:]
        return f"raw/{day[:4]}/{day[4:]}/{fraction}/{self.file_name(ccdid)}"

    def quadrant(self, ccdid: int, qid: int) -> QuadrantName:
        return QuadrantName(self.filefracday, self.field, self.filtercode, ccdid, qid)


def plan_night(settings: NightSettings) -> list[PlannedFrame]:
    """Every frame of the night, in the order of time."""
    biases = [("bi", None)] * settings.n_biases
    flats = [
        (name, led)
        for name, leds in settings.filters.items()
        for led in leds
        for _ in range(settings.n_flats_per_led)
    ]
    objects = [(name, None) for name in settings.filters for _ in range(settings.n_exposures)]
    frames = []
    for kind, takes in (("b", biases), ("f", flats), ("o", objects)):
        start, step = CLOCK[kind]
        field = settings.field_id if kind == "o" else 0
        for index, (filtercode, led) in enumerate(takes):
            filefracday = f"{settings.night}{start + index * step:06d}"
            frames.append(PlannedFrame(filefracday, kind, field, filtercode, led))
    return frames


def header_path(name: QuadrantName) -> str:
    """Header of the survey's own science image, without pixels, below the root of the night."""
    return name.path("sciimg.fits")


def detector_path(night: str, ccdid: int, qid: int) -> str:
    """Truth about a quadrant's detector."""
    return f"truth/ztf_{night}_c{ccdid:02d}_q{qid}_detector.fits"


def ccd_path(night: str, ccdid: int, table: str) -> str:
    """Truth about a CCD; the tables are bad_pixels and cosmics."""
    return f"truth/ztf_{night}_c{ccdid:02d}_{table}.parquet"


def truth_path(name: QuadrantName, suffix: str) -> str:
    """Truth about a quadrant of an exposure; suffix truth.fits, stars.parquet or psf.fits."""
    return f"truth/{name}_{suffix}"


def list_files(settings: NightSettings) -> dict[str, list[str]]:
    """All files below the root of the night, by the folders raw, sci and truth."""
    night, frames = settings.night, plan_night(settings)
    objects = [
        frame.quadrant(ccdid, qid)
        for ccdid in settings.ccdids
        for frame in frames
        if frame.kind == "o"
        for qid in QUADRANTS
    ]
    detectors = [detector_path(night, ccdid, q) for ccdid in settings.ccdids for q in QUADRANTS]
    tables = [
        ccd_path(night, ccdid, table)
        for ccdid in settings.ccdids
        for table in ("bad_pixels", "cosmics")
    ]
    suffixes = ("truth.fits", "stars.parquet", "psf.fits")
    return {
        "raw": [frame.path(ccdid) for ccdid in settings.ccdids for frame in frames],
        "sci": [header_path(name) for name in objects],
        "truth": [truth_path(name, suffix) for name in objects for suffix in suffixes]
        + detectors
        + tables,
    }
