"""Which pixels are fitted, where the points of the host are, and which light each sends to which.

Points are a pixel apart, and half a pixel near the object: a nucleus has a place between pixels.
Four wide pictures of a PSF, moved by half a pixel in each axis, hold the light of all points that
are at half pixels of an exposure, and near it that of any others.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

NEAR_PX = 2.0


@dataclass(frozen=True)
class Geometry:
    """Pixels within a radius of the middle of stamps of S x S px, and points of a host.

    `host_radius_px` 0: no host, K = 0; `fine_radius_px`: within it points are half a pixel apart;
    `is_turned`: axes of exposures differ by more than a first order describes.
    """

    size_px: int
    pixel_radius_px: float
    host_radius_px: float
    fine_radius_px: float
    is_turned: bool = False

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
            return np.zeros((0, 2))
        whole = _disc(self.host_radius_px, int(self.host_radius_px)).astype(float)
        fine = _disc(2 * self.fine_radius_px, int(2 * self.fine_radius_px)) / 2
        return np.concatenate([whole, fine[(fine % 1).any(axis=1)]])

    @property
    def window_px(self) -> int:
        """Width of a picture of a PSF that holds the light of all points, however they are turned.

        Differences between pictures reach over a pixel, and turned points move to half pixels.
        """
        if not len(self.points_px):
            return 1
        reach = np.hypot(*self.points_px.T).max() + 2 if self.is_turned else self.points_px.max()
        return 2 * int(np.ceil(self.pixels_px.max() + reach)) + 1

    def find_index(self, halves: Any) -> Any:
        """(N, K) place of the light of points (K, 2), in half pixels, in the raveled pictures.

        Pictures (4, W, W) are of PSFs moved by (0, 0), (1/2, 0), (0, 1/2), (1/2, 1/2). Arrays of
        NumPy or JAX.
        """
        picture = 2 * (halves[:, 1] % 2) + halves[:, 0] % 2
        at = self.pixels_px[:, None] - halves // 2 + self.window_px // 2
        return (picture * self.window_px + at[..., 1]) * self.window_px + at[..., 0]

    @cached_property
    def sharing(self) -> np.ndarray:
        """(M^2, K) parts of the points' light in the pixels of a picture (M, M) of the host.

        A point between pixels is shared equally among its neighbours.
        """
        half = int(self.host_radius_px)
        step = np.arange(-half, half + 1)
        near = np.maximum(0.0, 1.0 - np.abs(step[:, None, None] - self.points_px))  # (M, K, 2)
        return (near[:, None, :, 1] * near[None, :, :, 0]).reshape(len(step) ** 2, -1)

    @cached_property
    def nearness(self) -> np.ndarray:
        """(K, K) of two points: a Gaussian of their distance, of width NEAR_PX."""
        step = self.points_px[:, None] - self.points_px
        return np.exp(-0.5 * (step**2).sum(axis=-1) / NEAR_PX**2)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Pixels (M^2,) as a picture (M, M), NaN where there is no point."""
        size = 2 * int(self.host_radius_px) + 1
        return np.where(self.sharing.any(axis=1), values, np.nan).reshape(size, size)

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
