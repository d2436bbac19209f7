"""The stars of one image, as the fits see them, and how they become a problem."""

from types import ModuleType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ztfpsf.psf.problem import Batch, Parameters, Problem, Stars, field_basis

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


class FitSettings(NamedTuple):
    """Settings of a fit that are not the optimiser's."""

    degree: int = 2
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
    while degree > 0 and n_stars < STARS_PER_TERM * (degree + 1) * (degree + 2) // 2:
        degree -= 1
    return degree


def make_problem(
    model: ModuleType,
    stamps: ImageStamps,
    use: np.ndarray,
    weight: np.ndarray,
    start: Parameters,
    degree: int,
    settings: FitSettings,
) -> Problem:
    """The problem of the stars `use` (bool): one for the image, or one per star."""
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
        stars = Stars(*(pad(array, size)[None] for array in (data, weight, basis)))
        parameters = Parameters(pad(star, size)[None], start.shape[None])
        batch = settings.batch._replace(stars=min(settings.batch.stars, size))
    arrays = jax.tree.map(jnp.asarray, (stars, parameters))
    return Problem(model, *arrays, batch)


def star_basis(stamps: ImageStamps, degree: int) -> np.ndarray:
    """Field polynomial terms at all stars, (n, B)."""
    return field_basis(stamps.x_px, stamps.y_px, stamps.nx, stamps.ny, degree)
