"""The three pixel orders of a ZTF quadrant, in one place.

Stored order: raw and science FITS files, +x to the west, +y to the south. Sky order: +x to the
east, +y to the north, both axes of the stored order reversed. Read order: the pixel next to the
amplifier at [0, 0]. On the sky the quadrants of a CCD lie as q2 | q1 over q3 | q4.
"""

import numpy as np

# Axes to reverse between stored and read order (an involution).
_READ_AXES = {1: (), 2: (1,), 3: (0, 1), 4: (0,)}

# Lower-left corner of a quadrant in its CCD, sky order, in units of (ny, nx).
_MOSAIC_CELL = {1: (1, 1), 2: (1, 0), 3: (0, 0), 4: (0, 1)}


def stored_to_read(array: np.ndarray, qid: int) -> np.ndarray:
    """View of a stored array (..., ny, nx) in read order; applied twice it does nothing."""
    return np.flip(array, axis=tuple(axis - 2 for axis in _READ_AXES[qid]))


read_to_stored = stored_to_read


def stored_to_sky(array: np.ndarray) -> np.ndarray:
    """View of a stored array (..., ny, nx) in sky order, the same for every quadrant."""
    return np.flip(array, axis=(-2, -1))


def read_direction(qid: int) -> int:
    """In which the stored columns of a row are read: 1, or -1 where the last one comes first."""
    return -1 if 1 in _READ_AXES[qid] else 1


def overscan_columns(qid: int, n_columns: int, first: int, stop: int) -> slice:
    """Stored columns of an overscan strip that are read as number `first` to `stop` - 1.

    The overscan is read after the pixels; its column 0 carries the most deferred charge.
    """
    if 1 in _READ_AXES[qid]:
        return slice(n_columns - stop, n_columns - first)
    return slice(first, stop)


def mosaic(quadrants: dict[int, np.ndarray]) -> np.ndarray:
    """CCD image (2 ny, 2 nx) in sky order from stored quadrants (ny, nx), without the gaps."""
    ny, nx = quadrants[1].shape
    ccd = np.empty((2 * ny, 2 * nx), dtype=quadrants[1].dtype)
    for qid, (row, column) in _MOSAIC_CELL.items():
        cell = np.s_[row * ny : (row + 1) * ny, column * nx : (column + 1) * nx]
        ccd[cell] = stored_to_sky(quadrants[qid])
    return ccd
