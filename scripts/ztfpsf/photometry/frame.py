"""The pixels of one image, padded so that every window lies inside."""

from typing import NamedTuple

import numpy as np

from ztfpsf.stars.images import Quadrant, Sky


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


def make_frame(quadrant: Quadrant, sky: Sky, variance: np.ndarray | None, margin: int) -> Frame:
    """`variance`: (ny, nx) ADU^2, the plane of the calibration if there is one."""
    is_usable = ~(quadrant.bad | quadrant.saturated)
    data = np.where(is_usable, quadrant.data, np.float32(0))
    is_finite = np.isfinite(quadrant.data)
    level = np.where(is_finite, quadrant.data - sky.subtracted, np.float32(sky.level_adu))
    constant = np.full_like(data, (quadrant.read_noise_electron / quadrant.gain) ** 2)
    if variance is not None:
        # What is left without the photon noise of the pixels themselves: read noise, flat, bias.
        gain = np.float32(quadrant.gain)
        rest = variance - np.maximum(data, 0) / gain
        constant = np.where(is_usable & (rest + np.maximum(level, 0) / gain > 0), rest, constant)
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


def variance_of(
    model: np.ndarray, sky: np.ndarray, constant: np.ndarray, gain: float
) -> np.ndarray:
    """Variance in ADU^2: photons of the model, never fewer than those of the sky, and the rest.

    An observed pixel is no measure of its own noise: weights taken from it bias faint stars low.
    """
    variance = np.maximum(np.maximum(model, sky), 0) / np.float32(gain) + constant
    return np.maximum(variance, np.finfo(np.float32).tiny)
