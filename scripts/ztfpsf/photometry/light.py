"""The light of the stars as it is drawn: on their stamps, and that of bright ones around them."""

from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np

from ztfpsf.photometry.drawing import draw_psfs, draw_psfs_with_slopes
from ztfpsf.photometry.planes import ImagePlanes, find_pixels, window_sizes
from ztfpsf.psf import Psf

# A star is drawn on the smallest window at whose edge it adds less than this part of the noise.
EDGE_LIGHT = 0.1


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


def draw_widest(psf: Psf, size_px: int, pool: Executor) -> np.ndarray:
    """The PSF at the centre of the image on the widest window of stamps of `size_px`."""
    centre = np.array([[psf.nx // 2, psf.ny // 2]])
    return draw_psfs(psf, centre.astype(float), None, centre, window_sizes(size_px)[-1], pool)[0]


def draw_light(
    psf: Psf, planes: ImagePlanes, position_px: np.ndarray, size_px: int, pool: Executor
) -> Light:
    """The stamps of the stars at (n, 2), as those of typical flux, without derivatives."""
    centre = np.floor(position_px + 0.5).astype(int)
    drawn = np.zeros((len(centre), 3, size_px, size_px), np.float32)
    drawn[:, 0] = draw_psfs(psf, position_px, None, centre, size_px, pool)
    return Light(centre, find_pixels(planes, centre, size_px), drawn, ())


def redraw(
    light: Light,
    psf: Psf,
    position_px: np.ndarray,
    flux_adu: np.ndarray,
    stars: np.ndarray,
    pool: Executor,
) -> None:
    """Draw some stars, (n,) bool, at positions (n, 2) with fluxes (n,), in the same stamps."""
    light.psf[stars] = draw_psfs_with_slopes(
        psf, position_px[stars], flux_adu[stars], light.centre_px[stars], light.psf.shape[-1], pool
    )


def redraw_still(
    light: Light,
    psf: Psf,
    position_px: np.ndarray,
    flux_adu: np.ndarray,
    stars: np.ndarray,
    pool: Executor,
) -> None:
    """As `redraw`, of stars whose positions are no unknowns: their derivatives stay as they are."""
    light.psf[stars, 0] = draw_psfs(
        psf, position_px[stars], flux_adu[stars], light.centre_px[stars], light.psf.shape[-1], pool
    )


def add_outskirts(
    light: Light,
    psf: Psf,
    planes: ImagePlanes,
    position_px: np.ndarray,
    flux_adu: np.ndarray,
    window: np.ndarray,
    pool: Executor,
) -> Light:
    """The same with the outskirts of the stars whose `window` (n,) is wider than the stamp.

    They are drawn once: so far out hardly anything changes when a star moves by 0.1 px.
    """
    size_px = light.psf.shape[-1]
    rings = []
    for number, width_px in list(enumerate(window_sizes(size_px)))[1:]:
        star = np.flatnonzero(window == number)
        centre = light.centre_px[star]
        drawn = draw_psfs(psf, position_px[star], flux_adu[star], centre, width_px, pool)
        margin = (width_px - size_px) // 2
        drawn[:, margin:-margin, margin:-margin] = 0
        rings.append(Outskirts(star, find_pixels(planes, centre, width_px), drawn))
    return light._replace(outskirts=tuple(rings))


def choose_windows(
    widest: np.ndarray, size_px: int, flux_adu: np.ndarray, noise_adu: float
) -> np.ndarray:
    """Which of the window_sizes each star needs, (n,). `noise_adu`: of a pixel of sky."""
    middle = len(widest) // 2
    edge = widest[middle, [middle + size // 2 for size in window_sizes(size_px)[:-1]]]
    at_edge = np.maximum(flux_adu, 0)[:, None] * edge
    return (at_edge > EDGE_LIGHT * noise_adu).sum(axis=1)
