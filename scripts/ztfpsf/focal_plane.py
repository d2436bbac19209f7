"""The layout of ZTF's focal plane: 16 CCDs of four quadrants, on the sky.

CCD 1 is the South-East corner, numbers grow to the West, rows of four to the North; on a CCD
quadrant 1 is North-East, 2 North-West, 3 South-West, 4 South-East. Stored pixels have +x to the
West and +y to the South.
"""

CCDS, QUADRANTS = range(1, 17), range(1, 5)
SHAPE = (3080, 3072)  # ny, nx of a quadrant
PIXEL_ARCSEC = 1.0125
GAP_PX = (488, 672)  # between CCDs: to the East, to the North


def quadrant_offset_px(ccdid: int, qid: int, shape: tuple[int, int] = SHAPE) -> tuple[float, float]:
    """Centre of a quadrant from the centre of the focal plane, in px to the East and North."""
    ny, nx = shape
    row, column = divmod(ccdid - 1, 4)
    east = (1.5 - column) * (2 * nx + GAP_PX[0]) + (nx / 2 if qid in (1, 4) else -nx / 2)
    north = (row - 1.5) * (2 * ny + GAP_PX[1]) + (ny / 2 if qid in (1, 2) else -ny / 2)
    return east, north
