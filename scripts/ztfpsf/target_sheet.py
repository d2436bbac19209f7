"""The target sheet: of which places light curves are wanted.

A CSV file with the columns `target,ra_deg,dec_deg,mjd_min,mjd_max[,filters][,colour_mag]`. Between
the dates there may be light of the target, outside of them there is none. Like the image sheet it
is read at every start of the workflow: the standard library only. A row that is wrong costs its
target alone.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ztfpsf.csv_rows import SheetKind, read_rows
from ztfpsf.errors import InputError
from ztfpsf.sheet import suggest

COLUMNS = ("target", "ra_deg", "dec_deg", "mjd_min", "mjd_max", "filters", "colour_mag")
N_REQUIRED = 5
TARGET_PATTERN = r"[A-Za-z0-9][A-Za-z0-9.+-]*(?:_[A-Za-z0-9.+-]+)*"
FILTERS = ("zg", "zr", "zi")
# Light of two places nearer than this cannot be told apart: ZTF's FWHM, 2 px.
MIN_SEPARATION_ARCSEC = 2.0
# 1858 is day 0, 2400 day 200,000; Julian dates have seven digits.
MAX_MJD, MIN_JD = 2.0e5, 2.3e6
UNITS = {"ra_deg": " of degrees", "dec_deg": " of degrees", "colour_mag": " of magnitudes"}
# Of stars, in any two bands of the visible.
COLOURS_MAG = -3.0, 10.0


class Target(NamedTuple):
    """A place on the sky, and when it may shine."""

    name: str
    ra_deg: float  # ICRS
    dec_deg: float
    mjd_min: float  # before: no light of it
    mjd_max: float  # after: none
    filters: tuple[str, ...] = FILTERS
    colour_mag: float | None = None  # that of collect_survey.reference; None: not known


class TargetSheet(NamedTuple):
    """Targets by name; what is wrong with the others."""

    path: str
    targets: Mapping[str, Target]
    faults: Mapping[str, str]  # a sentence by name

    def find(self, name: str, filtercode: str) -> Target:
        """A target in a filter. Raises InputError for one that is not there, or is wrong."""
        if name in self.faults:
            raise InputError(self.faults[name])
        if name not in self.targets:
            raise InputError(
                f"{self.path}: there is no target '{name}'{suggest(name, list(self.targets))}; "
                "add a row for it, or correct the name."
            )
        target = self.targets[name]
        if filtercode not in target.filters:
            raise InputError(
                f"{self.path}: target '{name}' is wanted in {', '.join(target.filters)} alone; add "
                f"{filtercode} to its column 'filters'."
            )
        return target


NO_TARGETS = TargetSheet("config key 'targets'", {}, {})


def read_targets(path: str | Path) -> TargetSheet:
    """Read a target sheet. Raises InputError for a file that is none, or holds no target."""
    rows: dict[str, Target] = {}
    faults: dict[str, str] = {}
    for where, record in read_rows(path, TARGET_SHEET):
        name = record["target"]
        try:
            target = _parse(record, where)
            if name in rows:
                raise InputError(f"{where}: target '{name}' is listed twice; keep one row.")
            rows[name] = target
        except InputError as error:
            faults.setdefault(name, str(error))
    if not rows and not faults:
        raise InputError(f"{path}: the target sheet holds no target; add a row for each.")
    for one, other in _find_pairs(list(rows.values())):
        sentence = (
            f"{path}: targets '{one}' and '{other}' are less than {MIN_SEPARATION_ARCSEC:g} arcsec "
            "apart, their light cannot be told apart; keep one of them."
        )
        faults.setdefault(one, sentence)
        faults.setdefault(other, sentence)
    good = {name: rows[name] for name in sorted(rows) if name not in faults}
    return TargetSheet(str(path), good, faults)


def check_columns(columns: Sequence[str], where: str) -> None:
    expected = ", ".join(COLUMNS)
    for column in columns:
        if column not in COLUMNS:
            raise InputError(
                f"{where}: unknown column '{column}'{suggest(column, COLUMNS)}; the columns of a "
                f"target sheet are {expected}."
            )
    missing = [column for column in COLUMNS[:N_REQUIRED] if column not in columns]
    if missing:
        raise InputError(
            f"{where}: column '{missing[0]}' is missing; the columns of a target sheet are "
            f"{expected}, of which the last two may be left out."
        )


TARGET_SHEET = SheetKind("target sheet", "targets", check_columns)


def _parse(record: Mapping[str, str], where: str) -> Target:
    """A row as a target. Raises InputError that names what is wrong with it."""
    name = record["target"]
    if not re.fullmatch(TARGET_PATTERN, name):
        raise InputError(
            f"{where}: '{name}' cannot name a target, since files are named so; use letters, "
            "digits and . + - _ between them."
        )
    numbers = {column: _parse_number(record, column, where) for column in COLUMNS[1:N_REQUIRED]}
    for column in ("mjd_min", "mjd_max"):
        _check_date(numbers[column], column, where)
    _check_range(numbers["ra_deg"], "ra_deg", 0.0, 360.0, where)
    _check_range(numbers["dec_deg"], "dec_deg", -90.0, 90.0, where)
    if numbers["mjd_min"] > numbers["mjd_max"]:
        raise InputError(
            f"{where}: mjd_min is {numbers['mjd_min']:g}, after mjd_max, {numbers['mjd_max']:g}; "
            "write the first day with light of the target, then the last."
        )
    colour = None
    if record.get("colour_mag", "").strip():
        colour = _parse_number(record, "colour_mag", where)
        _check_colour(colour, where)
    filters = _parse_filters(record.get("filters", ""), where)
    return Target(name, **numbers, filters=filters, colour_mag=colour)


def _parse_number(record: Mapping[str, str], column: str, where: str) -> float:
    try:
        number = float(record[column])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            f"{where}: {column} of '{record['target']}' is '{record[column]}'; write a finite "
            f"number{UNITS.get(column, ', a modified Julian date')}."
        )
    return number


def _check_date(mjd: float, column: str, where: str) -> None:
    if mjd >= MIN_JD:
        raise InputError(
            f"{where}: {column} is {mjd:.5f}, a Julian date; write the modified one, "
            f"{mjd - 2400000.5:.5f}."
        )
    if not 0 <= mjd <= MAX_MJD:
        raise InputError(
            f"{where}: {column} is {mjd:g}; write a modified Julian date, from 0 to {MAX_MJD:g}."
        )


def _check_colour(colour_mag: float, where: str) -> None:
    low, high = COLOURS_MAG
    if not low <= colour_mag <= high:
        raise InputError(
            f"{where}: colour_mag is {colour_mag:g}; write magnitudes from {low:g} to {high:g}, or "
            "nothing where it is not known."
        )


def _check_range(value: float, column: str, low: float, high: float, where: str) -> None:
    if not low <= value <= high:
        raise InputError(
            f"{where}: {column} is {value:g}; write degrees from {low:g} to {high:g} (ICRS)."
        )


def _parse_filters(cell: str, where: str) -> tuple[str, ...]:
    """Filters of a cell like `zg zr`; all of them where it is empty."""
    wanted = cell.split()
    for name in wanted:
        if name not in FILTERS:
            raise InputError(
                f"{where}: '{name}' is no filter{suggest(name, FILTERS)}; write some of "
                f"{' '.join(FILTERS)}, with spaces between them."
            )
    return tuple(name for name in FILTERS if name in wanted) or FILTERS


def _find_pairs(targets: Sequence[Target]) -> Iterator[tuple[str, str]]:
    """Names of targets that are nearer to each other than MIN_SEPARATION_ARCSEC."""
    ordered = sorted(targets, key=lambda target: target.dec_deg)
    limit = MIN_SEPARATION_ARCSEC / 3600
    for number, one in enumerate(ordered):
        for other in ordered[number + 1 :]:
            if other.dec_deg - one.dec_deg > limit:
                break
            turn = abs((one.ra_deg - other.ra_deg + 180) % 360 - 180)
            east = turn * math.cos(math.radians(one.dec_deg))
            if math.hypot(east, other.dec_deg - one.dec_deg) <= limit:
                yield one.name, other.name
