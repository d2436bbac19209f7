"""Units: the images that one job works on, and their names.

| unit | name | images |
| --- | --- | --- |
| quadrant | ztf_20200924431759_000655_zr_c13_o_q3 | that one |
| ccd | ztf_20200924431759_000655_zr_c13_o | its quadrants |
| exposure | ztf_20200924431759_000655_zr | its CCDs |
| group | ztf_000655_zr_c13_o_q3 | that field, filter and quadrant in all exposures |
| batch | ztf_20200919218750-20200926197265 | all images that begin within these two times (UT) |

A batch's name says what it holds, whatever else is in the sheet: new images change the batches
that they fall into and no other. The standard library only: used at every start of the workflow.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from ztfpsf.names import EXPOSURE_PATTERN

GROUP_PATTERN = r"ztf_\d{6}_z[gri]_c(?:0[1-9]|1[0-6])_o_q[1-4]"
BATCH_PATTERN = r"ztf_20\d{12}-20\d{12}"
UNIT_PATTERN = (
    rf"{EXPOSURE_PATTERN}(?:_c(?:0[1-9]|1[0-6])_o(?:_q[1-4])?)?|{GROUP_PATTERN}|{BATCH_PATTERN}"
)

# Characters of a quadrant's name that name its exposure and its CCD.
_LENGTHS = {"quadrant": 37, "ccd": 34, "exposure": 28}
_TIME = slice(4, 18)
# Times of names, 2000 to 2099, as microdays.
_DAY = 1_000_000
_FIRST, _STOP = (date(year, 1, 1).toordinal() * _DAY for year in (2000, 2100))


def is_group(unit: str) -> bool:
    """Whether a unit is a group: its images are no neighbours in a sheet."""
    return re.fullmatch(GROUP_PATTERN, unit) is not None


def group_of(image: str) -> str:
    """Name of the group of a quadrant."""
    return f"ztf{image[_TIME.stop :]}"


def list_units(names: Sequence[str], level: str, batch_size: int) -> list[str]:
    """Sorted names of the units of some level that sorted quadrants belong to.

    Batches have at most `batch_size` images, but a whole exposure at least.
    """
    if level == "batch":
        return list(_list_batches(names, batch_size))
    if level == "group":
        return sorted(set(map(group_of, names)))
    return _list_prefixes(names, level)


def bounds(names: Sequence[str], unit: str) -> tuple[int, int]:
    """First of the images of a unit that is no group among sorted quadrants, and the end."""
    first, _, last = unit.partition("-")
    # Names of a unit lie between its own and the one with the character after "_" behind it.
    behind = chr(ord("_") + 1)
    return (
        bisect_left(names, first),
        bisect_left(names, (f"ztf_{last}" if last else first) + behind),
    )


def _list_prefixes(names: Iterable[str], level: str) -> list[str]:
    return sorted({name[: _LENGTHS[level]] for name in names})


def _list_batches(
    names: Sequence[str], batch_size: int, first: int = _FIRST, stop: int = _STOP
) -> Iterator[str]:
    """The span from `first` until `stop` (microdays), or halves of it where it holds too many.

    Halves of a century, not of what is there: so new images leave the other spans alone.
    """
    if not names:
        return
    if stop - first == 1 and len(names) > batch_size:
        yield from _list_prefixes(names, "exposure")
    elif len(names) <= batch_size:
        yield f"ztf_{_to_text(first)}-{_to_text(stop - 1)}"
    else:
        middle = (first + stop) // 2
        half = bisect_left(names, f"ztf_{_to_text(middle)}")
        yield from _list_batches(names[:half], batch_size, first, middle)
        yield from _list_batches(names[half:], batch_size, middle, stop)


def _to_text(microdays: int) -> str:
    """YYYYMMDD and six digits of the day's fraction, as in names."""
    day, fraction = divmod(microdays, _DAY)
    return f"{date.fromordinal(day):%Y%m%d}{fraction:06d}"
