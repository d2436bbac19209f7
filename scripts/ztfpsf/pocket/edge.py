"""The columns that are read first: the pocket is empty when they come, and takes from the sky."""

from typing import NamedTuple

import numpy as np

from ztfpsf.pocket.law import N_DROPS, basis, keep, slope
from ztfpsf.robust import mad_sigma
from ztfpsf.stars.images import ScienceImage

N_COLUMNS = 6  # of which the last has lost nothing any more
REFERENCE_PX = (8, 40)  # columns whose sky is that of the first ones
CLIP_SIGMA = 3.0
# Of the sky: how flat a flat is, from column to column.
FLATNESS = 0.0005
# Of what is left in the first column: a flat of 15000 ADU lacks the pocket's capacity there.
FIRST_FLATNESS = 0.02
MIN_ROWS = 100
MIN_USABLE = 0.5  # of the reference columns of a row


class Edge(NamedTuple):
    """Sky in the columns read first, in read order."""

    observed_adu: np.ndarray  # (N_COLUMNS,)
    error_adu: np.ndarray  # (N_COLUMNS,)
    sky_adu: float  # beside them

    def scaled(self, factor: float) -> "Edge":
        """The same in other units of charge."""
        return Edge(factor * self.observed_adu, factor * self.error_adu, factor * self.sky_adu)


def measure_edge(image: ScienceImage, direction: int) -> Edge | None:
    """The columns of a whole quadrant; None where too few of their pixels are usable.

    `direction`: of reading, see ztfpsf.pocket.law.Pocket.
    """
    width = REFERENCE_PX[1]
    part = (slice(None), slice(-1, -width - 1, -1) if direction < 0 else slice(width))
    usable = ~(image.bad | image.saturated)[part]
    level = image.data[part]
    reference = slice(*REFERENCE_PX)
    rows = usable[:, reference].mean(axis=1) > MIN_USABLE
    if rows.sum() < MIN_ROWS:
        return None
    usable, level = usable[rows], level[rows]
    beside = np.nanmedian(np.where(usable, level, np.nan)[:, reference], axis=1)
    sky_adu = float(np.median(beside))
    found = []
    for column in range(N_COLUMNS):
        kept = usable[:, column]
        lost = level[kept, column] - beside[kept]
        if len(lost) < MIN_ROWS:
            return None
        lost = lost[np.abs(lost - np.median(lost)) < CLIP_SIGMA * mad_sigma(lost)]
        found.append((lost.mean(), lost.std() / np.sqrt(len(lost))))
    lost, error = np.array(found).T
    error = np.hypot(error, FLATNESS * sky_adu)
    error[0] = np.hypot(error[0], FIRST_FLATNESS * (sky_adu + lost[0]))
    return Edge(sky_adu + lost, error, sky_adu)


def predict_edge(drops: np.ndarray, sky_adu: float) -> tuple[np.ndarray, np.ndarray]:
    """What the law makes of the first columns, (N_COLUMNS,), and its derivatives by the drops."""
    held, by_drops = 0.0, np.zeros(N_DROPS)
    observed, slopes = [], []
    for _ in range(N_COLUMNS):
        total = np.array(sky_adu + held)
        held = float(keep(drops, total))
        kept = slope(drops, total) * by_drops + basis(total)
        observed.append(total - held)
        slopes.append(by_drops - kept)
        by_drops = kept
    return np.array(observed), np.array(slopes)
