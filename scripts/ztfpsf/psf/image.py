"""The stars of one image, as the fits see them, and how they become a problem."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ztfpsf.psf.flux import FLUX_TERMS
from ztfpsf.psf.grid import Grid
from ztfpsf.psf.problem import (
    Batch,
    GridTerms,
    Parameters,
    Problem,
    Stars,
    count_terms,
    field_basis,
)

STARS_PER_TERM = 3  # lower the degree of the field polynomial rather than fit noise
PADDED_SIZES = (16, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048)


class Clipping(NamedTuple):
    """How pixels and stars are rejected (ztfpsf.psf.robust)."""

    rounds: int = 3
    pixel_sigma: float = 5.0
    pixel_fraction: float = 0.3  # of the star's own light in that pixel
    star_sigma: float = 6.0
    min_good_fraction: float = 0.5  # of the stamp's pixels


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


def make_problem(
    model: Any,
    stamps: ImageStamps,
    use: np.ndarray,
    weight: np.ndarray,
    start: Parameters,
    degree: int,
    settings: FitSettings,
    grid: GridTerms | None = None,
) -> Problem:
    """The problem of the stars `use` (bool): one for the image, or one per star.

    `weight`, `start.star` and `grid.basis` are those of all stars.
    """
    n = int(use.sum())
    basis = star_basis(stamps, degree)[use]
    star, data, weight = start.star[use], stamps.data[use], weight[use]
    data = np.asarray(data, float)
    if settings.shape == "per_star":
        shapes = np.broadcast_to(start.shape, (n, *start.shape.shape))
        stars = Stars(data[:, None], weight[:, None], np.ones((n, 1, 1)))
        parameters = Parameters(star[:, None], np.array(shapes[:, :, :1]))
        batch = Batch(stars=1, problems=settings.batch.stars)
    else:
        size = padded_size(n)
        terms = grid and grid._replace(basis=grid.basis[use])
        stars = pad_stars(Stars(data, weight, basis, terms), size)
        parameters = start._replace(star=pad(star, size))
        stars, parameters = jax.tree.map(lambda leaf: np.asarray(leaf)[None], (stars, parameters))
        batch = settings.batch._replace(stars=min(settings.batch.stars, size))
    arrays = jax.tree.map(jnp.asarray, (stars, parameters))
    return Problem(model, *arrays, batch)


def pad_stars(stars: Stars, size: int) -> Stars:
    """The stars of one problem and some without data."""
    grid = stars.grid and stars.grid._replace(basis=pad(np.asarray(stars.grid.basis), size))
    arrays = (np.asarray(array, float) for array in (stars.data, stars.weight, stars.basis))
    return Stars(*(pad(array, size) for array in arrays), grid)


def star_basis(stamps: ImageStamps, degree: int) -> np.ndarray:
    """Field polynomial terms at all stars, (n, B)."""
    return field_basis(stamps.x_px, stamps.y_px, stamps.nx, stamps.ny, degree)
