"""What may be wrong with a measurement."""

from enum import IntFlag


class Flag(IntFlag):
    """Bits of the column `flags`; 0: nothing is known against the star."""

    SATURATED = 1  # a saturated pixel in the stamp
    MASKED = 2  # another pixel of the stamp is masked
    CORE = 4  # a pixel within CORE_RADIUS_PX of the star is not used
    EDGE = 8  # the stamp reaches over the edge of the image
    POSITION_HELD = 16  # at the catalogue's position: too faint, or too blended
    POSITION_LIMIT = 32  # as well, because the fit left it by more than MAX_SHIFT_PX
    BLENDED = 64  # neighbours make the error of the flux BLEND_ERROR times larger or more
    NOT_CONVERGED = 128  # still moving after the last pass
    NOT_MEASURED = 256  # no pixel to measure


CORE_RADIUS_PX = 3.0
BLEND_ERROR = 1.5
