"""All pixels of an image as they are read out: sky, stars, and what the pocket changes in them."""

import numpy as np

from ztfpsf.photometry.light import Light
from ztfpsf.photometry.planes import ImagePlanes
from ztfpsf.pocket.law import LocalPocket, defer_plane

# Rows that are read out side by side, some megabytes. Those of a power of two meet in the cache.
PART_ROWS = 770


class Scene:
    """A plane with margin, ADU, which is drawn again and again in the same memory."""

    def __init__(self, planes: ImagePlanes) -> None:
        self._planes = planes
        self._drawn = np.empty_like(planes.sky)
        self._dark = planes.sky  # without stars, as they were last read out

    def draw(self, light: Light, flux_adu: np.ndarray) -> np.ndarray:
        """Stars of fluxes (n,), with what the pocket changed when they were last read out.

        The next call overwrites the plane.
        """
        return self._draw_on(self._dark, light, flux_adu)

    def read_out(self, light: Light, flux_adu: np.ndarray) -> np.ndarray:
        """As `draw`, with what the pocket changes when stars have these fluxes."""
        planes = self._planes
        drawn = self._draw_on(planes.sky, light, flux_adu)
        if np.any(planes.pocket.drops):
            if self._dark is planes.sky:
                self._dark = planes.sky.copy()
            light_adu, dark, sky = map(planes.inner, (drawn, self._dark, planes.sky))
            for first in range(0, len(light_adu), PART_ROWS):
                rows = slice(first, first + PART_ROWS)
                change = defer_plane(self._find_law(first), light_adu[rows])
                light_adu[rows] += change
                np.add(sky[rows], change, out=dark[rows])
        return drawn

    def _find_law(self, first_row: int) -> LocalPocket:
        """Of the columns of a part; along y the flat hardly changes within it."""
        ny, nx = self._planes.inner(self._planes.sky).shape
        y_px = min(first_row + PART_ROWS // 2, ny - 1)
        return self._planes.pocket.at(np.arange(nx), y_px, nx, ny)._replace(
            drops=self._planes.pocket.drops
        )

    def _draw_on(self, dark: np.ndarray, light: Light, flux_adu: np.ndarray) -> np.ndarray:
        np.copyto(self._drawn, dark)
        light.add_to(self._drawn, flux_adu)
        return self._drawn
