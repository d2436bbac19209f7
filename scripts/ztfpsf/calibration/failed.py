"""Master frames that could not be made.

A file that says why, instead of none: the other CCDs of the focal plane go on without it, and the
science frames that need it fail with its reason.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ztfpsf.calibration.products import Cards, failed_quadrant, master_writer
from ztfpsf.calibration.raw import QUADRANTS
from ztfpsf.errors import InputError

logger = logging.getLogger("ztfpsf")


@contextmanager
def failure_written(
    path: str | Path, cards: Cards, shape: tuple[int, int], provenance: Mapping[str, Any]
) -> Iterator[None]:
    """An InputError in the block becomes a master at `path` that says so; see below."""
    try:
        yield
    except InputError as error:
        logger.error("%s", error)
        write_failed_master(path, cards, shape, str(error), provenance)


def write_failed_master(
    path: str | Path,
    cards: Cards,
    shape: tuple[int, int],
    reason: str,
    provenance: Mapping[str, Any],
) -> None:
    """Write a master whose quadrants (`shape`) are NaN with `reason`; `cards` tell what it is."""
    with master_writer(path, cards, provenance) as write:
        for qid in QUADRANTS:
            write(qid, failed_quadrant(shape, reason))
