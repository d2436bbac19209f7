"""The frame sheet: which raw frames there are, and which of them serve which.

A CSV file with a column `path`; the name of a frame says all the rest. Like the image sheet it is
read at every start of the workflow: the standard library only, and no file is looked at.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ztfpsf.csv_rows import SheetKind, read_rows
from ztfpsf.errors import InputError
from ztfpsf.names import QuadrantName, RawName, parse_raw
from ztfpsf.nights import nearest_night

_KINDS = {"b": "bias frames", "f": "flats"}


class FrameSheet(NamedTuple):
    """Raw frames by what they are."""

    path: str
    calibration: Mapping[tuple[str, str, str, int], Sequence[str]]  # kind, night, filter, CCD
    science: Mapping[str, str]  # path by CCD name, e.g. ztf_20200401152477_000517_zg_c06_o

    def frames(self, kind: str, night: str, filtercode: str, ccdid: int) -> Sequence[str]:
        """Paths of the bias frames ('b', filtercode 'bi') or flats ('f') of a night and CCD."""
        return self.calibration.get((kind, night, filtercode, ccdid), ())

    def nearest(self, kind: str, name: tuple[str, str, int], min_frames: int, max_days: int) -> str:
        """Night with at least `min_frames` frames of a kind that is closest to another night.

        `name` = (night, filtercode, ccdid). Raises InputError that says what was looked for.
        """
        night, filtercode, ccdid = name
        nights = [
            other
            for (of_kind, other, of_filter, of_ccd), paths in self.calibration.items()
            if (of_kind, of_filter, of_ccd) == (kind, filtercode, ccdid)
            and len(paths) >= min_frames
        ]
        light = f"{filtercode} " if kind == "f" else ""
        wanted = f"night with {min_frames} {light}{_KINDS[kind]} of CCD {ccdid}"
        try:
            return nearest_night(night, nights, max_days, wanted)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None

    def ccds(self, nights: str, filtercode: str) -> list[int]:
        """CCDs with flats in a night or period and filter, in increasing order."""
        first, last = nights[:8], nights[-8:]
        return sorted(
            {
                ccdid
                for kind, night, of_filter, ccdid in self.calibration
                if (kind, of_filter) == ("f", filtercode) and first <= night <= last
            }
        )

    def nights(
        self, kind: str, filtercode: str, ccdid: int, min_frames: int, period: str
    ) -> list[str]:
        """Nights of a period (YYYYMMDD-YYYYMMDD) with enough frames of a kind, in order."""
        first, last = period.split("-")
        return sorted(
            night
            for (of_kind, night, of_filter, of_ccd), paths in self.calibration.items()
            if (of_kind, of_filter, of_ccd) == (kind, filtercode, ccdid)
            and len(paths) >= min_frames
            and first <= night <= last
        )

    def images(self) -> list[QuadrantName]:
        """The four quadrants of every science frame."""
        names = (parse_raw(Path(path).name) for path in self.science.values())
        return [name.quadrant(qid) for name in names for qid in (1, 2, 3, 4)]


NO_FRAMES = FrameSheet("config key 'frames'", {}, {})


def _check_columns(columns: Sequence[str], where: str) -> None:
    if "path" not in columns:
        raise InputError(f"{where}: the frame sheet has no column 'path'; add it.")


_FRAME_SHEET = SheetKind("frame sheet", "frames", _check_columns)


def read_frames(path: str | Path, root: str | Path) -> FrameSheet:
    """Read a frame sheet; relative paths in it start at `root`. Raises InputError."""
    paths = [str(Path(root) / row["path"]) for _, row in read_rows(path, _FRAME_SHEET)]
    if not paths:
        raise InputError(f"{path}: the frame sheet holds no frame; add a row for each raw frame.")
    return sort_frames(str(path), paths)


def sort_frames(sheet: str, paths: Iterable[str]) -> FrameSheet:
    """Frame sheet of some paths.

    Raises InputError for a name that is not ZTF's, and for a frame given twice: it would count
    twice in a master, and the mean would seem better than it is.
    """
    calibration: dict[tuple[str, str, str, int], list[str]] = {}
    science: dict[str, str] = {}
    seen: set[RawName] = set()
    for path in paths:
        try:
            name = parse_raw(Path(path).name)
        except InputError as error:
            raise InputError(f"{sheet}: {error}") from None
        if name in seen:
            raise InputError(f"{sheet}: frame '{name}' is listed twice; keep one row.")
        seen.add(name)
        if name.kind == "o":
            science[str(name)] = path
        elif name.kind in _KINDS:
            # Bias frames are named bi, or OO in old descriptions.
            filtercode = "bi" if name.kind == "b" else name.filtercode
            key = name.kind, name.night, filtercode, name.ccdid
            calibration.setdefault(key, []).append(path)
    return FrameSheet(sheet, calibration, science)
