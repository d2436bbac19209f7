"""Values of header cards, whatever stands there: `GAIN = nan` is a card that FITS cannot parse."""

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from ztfpsf.errors import InputError

UNREADABLE = "not printable"


def repair_cards(header: fits.Header) -> None:
    """Make text of every value that cannot be parsed, so that any of them can be asked for."""
    for card in header.cards:
        _repair(card)


def _repair(card: fits.Card) -> None:
    try:
        _ = card.value, card.comment
    except VerifyError:
        try:
            card.verify("silentfix")
        except ValueError:  # astropy makes no text of bytes that are no letters
            card.value = UNREADABLE


def get_value(header: fits.Header, key: str) -> Any:
    """A header's value: None without one, text where it cannot be parsed."""
    if key not in header:
        return None
    _repair(header.cards[key])
    value = header[key]
    return None if isinstance(value, fits.card.Undefined) else value


def get_text(header: fits.Header, key: str) -> str:
    """A header's value as text, "" without one."""
    value = get_value(header, key)
    return "" if value is None else str(value)


def get_number(header: fits.Header, key: str) -> float:
    """A header's value that no step needs: NaN where it is missing or not a number."""
    value = get_value(header, key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else np.nan


def require_keyword(header: fits.Header, key: str, path: str | Path) -> float:
    """A finite number from a header. Raises InputError naming file and keyword."""
    number, value = get_number(header, key), get_value(header, key)
    if not np.isfinite(number):
        raise InputError(
            f"{path}: header keyword {key} is {'missing' if value is None else repr(value)}; "
            "a finite number is needed: add it to the header."
        )
    return number
