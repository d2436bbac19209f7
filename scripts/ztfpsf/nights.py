"""The night whose master frame serves another night."""

from collections.abc import Iterable
from datetime import date

from ztfpsf.errors import InputError


def to_date(night: str) -> date:
    """Date of a night YYYYMMDD. Raises InputError."""
    try:
        return date.fromisoformat(f"{night[:4]}-{night[4:6]}-{night[6:]}")
    except ValueError:
        raise InputError(
            f"'{night}' is not a night; expected a UT day of the form 20200401."
        ) from None


def nearest_night(night: str, available: Iterable[str], max_days: int, wanted: str) -> str:
    """Night of `available` closest to `night`, at most `max_days` away, the earlier one of two.

    Nights are YYYYMMDD; the turn of a year is a day like any other. `wanted` names the frames in
    the InputError raised when there is none.
    """
    day = to_date(night)
    candidates = sorted(set(available))
    distances = {other: abs((to_date(other) - day).days) for other in candidates}
    near = [other for other in candidates if distances[other] <= max_days]
    if near:
        return min(near, key=distances.__getitem__)
    there = f"the nearest is {min(candidates, key=distances.__getitem__)}" if candidates else "none"
    raise InputError(
        f"no {wanted} within {max_days} days of {night} ({there}); add raw frames of a nearer "
        "night to the sheet or raise master_max_days."
    )
