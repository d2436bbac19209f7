"""The stars of one image, as the fits see them, and the settings of a fit."""

from typing import NamedTuple

import numpy as np

from ztfpsf.psf.flux import FLUX_TERMS
from ztfpsf.psf.grid import Grid
from ztfpsf.psf.problem import Batch, count_terms, field_basis
from ztfpsf.psf.rejection import Clipping

STARS_PER_TERM = 3  # lower the degree of the field polynomial rather than fit noise
PADDED_SIZES = (16, 32, 64, 96, 128, 192, 256, 320, 384, 448, 512, 640, 768, 1024, 1280, 1536, 2048)


class ImageStamps(NamedTuple):
    """Stars of one image, n of them, stamps of S x S px."""

    data: np.ndarray  # (n, S, S) ADU, sky included
    variance: np.ndarray  # (n, S, S) ADU^2, a first estimate
    good: np.ndarray  # (n, S, S) bool
    sky_adu: np.ndarray  # (n,)
    x_px: np.ndarray  # (n,) position in the image
    y_px: np.ndarray
    x0_px: np.ndarray  # (n,) int, image column of the stamp's first column
    y0_px: np.ndarray
    is_reserved: np.ndarray  # (n,) bool
    gain: float  # e-/ADU
    read_noise_electron: float
    nx: int
    ny: int


class GridSettings(NamedTuple):
    """The residual grid of models that have one, and what it may depend on."""

    grid: Grid = Grid()
    degree: int = 1  # of the field polynomial
    flux_terms: tuple[str, ...] = tuple(FLUX_TERMS)

    @property
    def groups(self) -> np.ndarray:
        """Number of the precision that each term has: one per degree and per flux term, (C,)."""
        degrees = [total for total in range(self.degree + 1) for _ in range(total + 1)]
        return np.array([*degrees, *range(self.degree + 1, self.degree + 1 + len(self.flux_terms))])


class FitSettings(NamedTuple):
    """Settings of a fit that are not the optimiser's."""

    degree: int = 2
    grid: GridSettings = GridSettings()
    shape: str = "field"  # one polynomial for the image, or "per_star"
    clipping: Clipping = Clipping()
    batch: Batch = Batch(stars=64, problems=1)


def pad(array: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])


def padded_size(n: int) -> int:
    """The size to which n stars are padded: few sizes mean few compilations."""
    for size in PADDED_SIZES:
        if n <= size:
            return size
    return -(-n // 512) * 512


def choose_degree(degree: int, n_stars: int) -> int:
    """Largest degree up to `degree` with at least STARS_PER_TERM stars per polynomial term."""
    while degree > 0 and n_stars < STARS_PER_TERM * count_terms(degree):
        degree -= 1
    return degree


def star_basis(stamps: ImageStamps, degree: int) -> np.ndarray:
    """Field polynomial terms at all stars, (n, B)."""
    return field_basis(stamps.x_px, stamps.y_px, stamps.nx, stamps.ny, degree)
