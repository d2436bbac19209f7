"""How far the light of a star matters, from the PSF at the centre of the image."""

from typing import NamedTuple

import numpy as np

from ztfpsf.photometry.drawing import draw_psfs
from ztfpsf.photometry.groups import find_reach
from ztfpsf.psf.product import Psf

# A star is drawn on the smallest window at whose edge it adds less than this part of the noise.
EDGE_LIGHT = 0.1


class Extent(NamedTuple):
    """Lengths in px."""

    sizes_px: tuple[int, ...]  # of the stamp, and of the windows around it
    edge: np.ndarray  # (sizes,) PSF at the edge of each, per px
    reach_px: float  # farther stars are no pair


def window_sizes(size_px: int) -> tuple[int, ...]:
    """Stamp, and windows of twice and four times its width."""
    return (size_px, 2 * size_px + 1, 4 * size_px + 3)


def measure_extent(psf: Psf, size_px: int) -> Extent:
    """`size_px`: width of the stamps."""
    sizes = window_sizes(size_px)
    centre = np.array([[psf.nx // 2, psf.ny // 2]])
    widest = draw_psfs(psf, centre.astype(float), None, centre, sizes[-1])[0]
    middle, half = sizes[-1] // 2, size_px // 2
    stamp = widest[middle - half : middle + half + 1, middle - half : middle + half + 1]
    return Extent(
        sizes,
        widest[middle, [middle + size // 2 for size in sizes]],
        find_reach(stamp),
    )


def choose_windows(extent: Extent, flux_adu: np.ndarray, noise_adu: float) -> np.ndarray:
    """Index of the window of each star, (n,). `noise_adu`: of a pixel of sky."""
    at_edge = np.maximum(flux_adu, 0)[:, None] * extent.edge[:-1]
    return (at_edge > EDGE_LIGHT * noise_adu).sum(axis=1)


def find_margin(size_px: int) -> int:
    """Width of the margin around an image that holds every window."""
    return window_sizes(size_px)[-1] // 2 + 1
