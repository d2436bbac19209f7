"""Cells of the sky, some 4 deg wide: all measurements of a star are in the file of its cell."""

import numpy as np

HEIGHT_DEG = 4.0
N_ROWS = round(180 / HEIGHT_DEG)
ROW = 1000  # numbers of one row of cells


def find_cell(ra_deg: np.ndarray, dec_deg: np.ndarray) -> np.ndarray:
    """Number of the cell of each position: 1000 times its row from the South, plus its column."""
    row = np.clip(((dec_deg + 90.0) / HEIGHT_DEG).astype(int), 0, N_ROWS - 1)
    return row * ROW + (np.mod(ra_deg, 360.0) / 360.0 * count_columns(row)).astype(int)


def count_columns(row: np.ndarray) -> np.ndarray:
    """Cells of a row around the sky."""
    middle = np.radians((row + 0.5) * HEIGHT_DEG - 90.0)
    return np.maximum(np.rint(360.0 / HEIGHT_DEG * np.cos(middle)), 3).astype(int)


def find_limits(cell: int) -> tuple[float, float, float, float]:
    """RA from, to, Dec from, to of a cell, deg."""
    row, column = divmod(cell, ROW)
    width = 360.0 / float(count_columns(np.asarray(row)))
    south = row * HEIGHT_DEG - 90.0
    return column * width, (column + 1) * width, south, south + HEIGHT_DEG
