"""Full wells: charge beyond the well spills along the column, half to either side."""

import numpy as np


def bleed(electrons: np.ndarray, full_well: float) -> np.ndarray:
    """Spill in place; returns the full pixels, bool of the image's shape.

    Charge that reaches the end of a column is lost.
    """
    full = electrons > full_well
    for column in np.flatnonzero(full.any(axis=0)):
        spilt = _spill(electrons[:, column].astype(float), full_well)
        electrons[:, column] = spilt
        full[:, column] = spilt >= full_well * (1 - 1e-6)
    return full


def _spill(column: np.ndarray, full_well: float) -> np.ndarray:
    """Each pixel's excess goes half up, half down, and fills the next pixels with room."""
    excess = np.maximum(column - full_well, 0) / 2
    column = np.minimum(column, full_well)
    column = _pour(column, excess, full_well)
    return _pour(column[::-1], excess[::-1], full_well)[::-1]


def _pour(column: np.ndarray, excess: np.ndarray, full_well: float) -> np.ndarray:
    """Carry the excess towards higher indices until there is room."""
    column = column.copy()
    last = -1
    for start in np.flatnonzero(excess):
        if start <= last:
            continue
        carried, position = 0.0, int(start)
        while position < column.size and (carried > 0 or excess[position] > 0):
            carried += excess[position]
            taken = min(full_well - column[position], carried)
            column[position] += taken
            carried -= taken
            position += 1
        last = position - 1
    return column
