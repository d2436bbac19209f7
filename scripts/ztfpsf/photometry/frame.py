"""The pixels of one image, padded so that every window lies inside."""

from typing import NamedTuple

import numpy as np

from ztfpsf.noise import read_variance, split_constant
from ztfpsf.stars.images import ScienceImage, Sky


class Frame(NamedTuple):
    """Planes (ny + 2 margin, nx + 2 margin), float32 or bool."""

    data: np.ndarray  # ADU, 0 where not usable
    is_usable: np.ndarray
    is_saturated: np.ndarray
    sky: np.ndarray  # ADU
    constant: np.ndarray  # ADU^2, variance without photon noise
    gain: float  # electron/ADU
    margin: int  # px

    def inner(self, plane: np.ndarray) -> np.ndarray:
        """A plane without its margin, (ny, nx)."""
        return plane[self.margin : -self.margin, self.margin : -self.margin]


def make_frame(quadrant: ScienceImage, sky: Sky, variance: np.ndarray | None, margin: int) -> Frame:
    """`variance`: (ny, nx) ADU^2, the plane of the calibration if there is one."""
    is_usable = ~(quadrant.bad | quadrant.saturated)
    data = np.where(is_usable, quadrant.data, np.float32(0))
    is_finite = np.isfinite(quadrant.data)
    level = np.where(is_finite, quadrant.data - sky.subtracted, np.float32(sky.level_adu))
    # Without read noise, and where there is no light, weights stay finite.
    default = max(
        read_variance(quadrant.read_noise_electron, quadrant.gain), np.finfo(np.float32).tiny
    )
    constant = np.full_like(data, default)
    if variance is not None:
        known = split_constant(variance, data, level, quadrant.gain, default)
        constant = np.where(is_usable, known, constant)
    return Frame(
        np.pad(data, margin),
        np.pad(is_usable, margin),
        np.pad(quadrant.saturated, margin),
        np.pad(level, margin, mode="edge"),
        np.pad(constant, margin, mode="edge"),
        quadrant.gain,
        margin,
    )


def find_pixels(frame: Frame, centre_px: np.ndarray, size_px: int) -> np.ndarray:
    """Where the windows around central pixels (n, 2) are in a raveled plane, (n, S, S)."""
    width = frame.data.shape[1]
    step = np.arange(size_px) - size_px // 2
    column, row = (centre_px + frame.margin).T
    return (row * width + column)[:, None, None] + (step[:, None] * width + step)
