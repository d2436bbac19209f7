"""Master frames that could not be made.

A file that says why, instead of none: the other CCDs of the focal plane go on without it, and the
science frames that need it fail with its reason.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ztfpsf.calibration.products import Cards, failed_quadrant, master_writer
from ztfpsf.calibration.raw import QUADRANTS


def write_failed_master(
    path: str | Path,
    cards: Cards,
    shape: tuple[int, int],
    reason: str,
    provenance: Mapping[str, Any],
) -> None:
    """Write a master whose quadrants (`shape`) are NaN with `reason`; `cards` tell what it is."""
    quadrant = failed_quadrant(shape, reason)
    with master_writer(path, cards, provenance) as write:
        for qid in QUADRANTS:
            write(qid, quadrant)
