"""Which pixels are fitted, where the points of the host are, and which light each sends to which.

Points are a pixel apart. In an exposure whose axes are those of the grid, the PSF of every point is
the same picture moved by whole pixels, so that one wide picture holds the light of all of them.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """Pixels within a radius of the middle of stamps of S x S px, and points of a host.

    `host_radius_px` 0: no host, K = 0.
    """

    size_px: int
    pixel_radius_px: float
    host_radius_px: float

    @cached_property
    def pixels_px(self) -> np.ndarray:
        """Offsets (x, y) of the N pixels from the central one."""
        return _disc(min(self.pixel_radius_px, 2.0 * self.size_px), self.size_px // 2)

    @cached_property
    def pixel_index(self) -> np.ndarray:
        """(N,) of the pixels in a raveled stamp."""
        x, y = (self.pixels_px + self.size_px // 2).T
        return y * self.size_px + x

    @cached_property
    def points_px(self) -> np.ndarray:
        """Offsets (x, y) of the K points from the expected place of the object."""
        if self.host_radius_px == 0:
            return np.zeros((0, 2), int)
        return _disc(self.host_radius_px, int(self.host_radius_px))

    @property
    def window_px(self) -> int:
        """Width of the picture of a PSF that holds the light of all points."""
        if not len(self.points_px):
            return 1
        return 2 * int(self.pixels_px.max() + self.points_px.max()) + 1

    @cached_property
    def window_index(self) -> np.ndarray:
        """(N, K) place in the raveled picture of the light of point k in pixel p."""
        x, y = np.moveaxis(self.pixels_px[:, None] - self.points_px[None], -1, 0)
        half = self.window_px // 2
        return (y + half) * self.window_px + x + half

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values of the points (K,) as a picture (M, M), NaN beyond the radius."""
        half = int(self.host_radius_px)
        picture = np.full((2 * half + 1, 2 * half + 1), np.nan)
        x, y = (self.points_px + half).T
        picture[y, x] = values
        return picture

    def unravel(self, values: np.ndarray) -> np.ndarray:
        """Values of the pixels (E, N) as stamps (E, S, S) float32, NaN beyond the radius."""
        stamps = np.full((len(values), self.size_px**2), np.nan, np.float32)
        stamps[:, self.pixel_index] = values
        return stamps.reshape(-1, self.size_px, self.size_px)


def _disc(radius: float, half: int) -> np.ndarray:
    step = np.arange(-half, half + 1)
    y, x = (axis.ravel() for axis in np.meshgrid(step, step, indexing="ij"))
    inside = x**2 + y**2 <= radius**2
    return np.stack([x[inside], y[inside]], axis=-1)
