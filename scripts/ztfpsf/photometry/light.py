"""The light of the stars as it is drawn: on their stamps, and that of bright ones around them."""

from typing import NamedTuple

import numpy as np

from ztfpsf.photometry.drawing import draw_psfs, draw_psfs_with_slopes
from ztfpsf.photometry.extent import Extent, choose_windows
from ztfpsf.photometry.frame import Frame, find_pixels
from ztfpsf.psf.product import Psf


class Outskirts(NamedTuple):
    """Light of b bright stars outside of their stamps, on windows of W px."""

    star: np.ndarray  # (b,)
    pixel: np.ndarray  # (b, W, W) index into the raveled planes
    psf: np.ndarray  # (b, W, W), 0 within the stamp


class Light(NamedTuple):
    """Of n stars of flux 1."""

    centre_px: np.ndarray  # (n, 2) column and row of the central pixels
    pixel: np.ndarray  # (n, S, S) index of the stamps into the raveled planes
    psf: np.ndarray  # (n, 3, S, S) float32, and its derivatives by x and y
    outskirts: tuple[Outskirts, ...]

    def add_to(self, plane: np.ndarray, flux_adu: np.ndarray) -> None:
        """Add the stars to a plane with margin, float32."""
        flux = flux_adu.astype(np.float32)[:, None, None]
        np.add.at(plane.ravel(), self.pixel.ravel(), (flux * self.psf[:, 0]).ravel())
        for ring in self.outskirts:
            np.add.at(plane.ravel(), ring.pixel.ravel(), (flux[ring.star] * ring.psf).ravel())


def draw_light(psf: Psf, frame: Frame, position_px: np.ndarray, size_px: int) -> Light:
    """The stamps of the stars at (n, 2), as those of typical flux, without derivatives."""
    centre = np.floor(position_px + 0.5).astype(int)
    drawn = np.zeros((len(centre), 3, size_px, size_px), np.float32)
    drawn[:, 0] = draw_psfs(psf, position_px, None, centre, size_px)
    return Light(centre, find_pixels(frame, centre, size_px), drawn, ())


def redraw(
    light: Light, psf: Psf, position_px: np.ndarray, flux_adu: np.ndarray, stars: np.ndarray
) -> None:
    """Draw some stars, (n,) bool, at positions (n, 2) with fluxes (n,), in the same stamps."""
    light.psf[stars] = draw_psfs_with_slopes(
        psf, position_px[stars], flux_adu[stars], light.centre_px[stars], light.psf.shape[-1]
    )


def add_outskirts(
    light: Light,
    psf: Psf,
    frame: Frame,
    extent: Extent,
    position_px: np.ndarray,
    flux_adu: np.ndarray,
    noise_adu: float,
) -> Light:
    """The same with the outskirts of the stars that are bright in the noise of a pixel.

    They are drawn once: so far out hardly anything changes when a star moves by 0.1 px.
    """
    window = choose_windows(extent, flux_adu, noise_adu)
    rings = []
    for i, size_px in list(enumerate(extent.sizes_px))[1:]:
        star = np.flatnonzero(window == i)
        centre = light.centre_px[star]
        drawn = draw_psfs(psf, position_px[star], flux_adu[star], centre, size_px)
        margin = (size_px - light.psf.shape[-1]) // 2
        drawn[:, margin:-margin, margin:-margin] = 0
        rings.append(Outskirts(star, find_pixels(frame, centre, size_px), drawn))
    return light._replace(outskirts=tuple(rings))
