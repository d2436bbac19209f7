"""Images that are fitted together: alike in size, stacked along a first axis.

The stars of an image are reordered, those that may be fitted first and the reserved ones after
them, the brightest first, and both are filled up to a few sizes with stars without data, so that a
night compiles a handful of sizes. What one image yields does not depend on the others of its chunk.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jax import Array

from ztfpsf.pocket.law import NO_POCKET, LocalPocket
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.psf.inputs.padding import padded_size
from ztfpsf.psf.inputs.settings import FitSettings
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.profile.field import choose_degree

LIGHT_RADIUS_PX = 3
BLOCK_ROWS = 64  # stars of an image that are fitted alone, at once: compiled for that number


class Size(NamedTuple):
    """What images of a chunk have in common."""

    n_candidates: int  # stars that may be fitted, the fillings included
    n_reserved: int
    size_px: int
    degree: int


class ImagePixels(NamedTuple):
    """What a rejection looks at; stars that only fill up the array have no good pixel."""

    data: Array  # (n, S, S) ADU, sky included
    good: Array  # (n, S, S) bool, not masked
    sky_adu: Array  # (n,)
    is_reference: Array  # (n,) bool, may be fitted: neither reserved nor a filling
    gain: Array  # e-/ADU, of the header as the read noise
    read_noise_electron: Array
    sky_level_adu: Array
    sky_variance_adu2: Array  # NaN: not measured, or not to be used
    sky_error_adu: Array  # (n,) of `sky_adu`; NaN: not known
    pocket: LocalPocket = NO_POCKET.at(0.0, 0.0, 1, 1)  # (n, N_DROPS), (n,) and (n,)


class Stack(NamedTuple):
    """p images of n stars."""

    image: ImagePixels  # leading axis `image`
    variance: Array  # (p, n, S, S) ADU^2, a first estimate
    offset_px: Array  # (p, n, 2) catalogue position from the stamp's centre
    basis: Array  # (p, n, B) field polynomial
    is_star: Array  # (p, n) bool, no filling


class Chunk(NamedTuple):
    """A stack, and what its fit needs besides arrays."""

    model: PsfModel
    settings: FitSettings
    size: Size
    stamps: Sequence[ImageStamps]  # m <= p: the last image is repeated to fill the stack
    places: Sequence[np.ndarray]  # (n of the image,) where its stars are, for each of `stamps`
    stack: Stack

    @property
    def n_images(self) -> int:
        """Images in the stack, p."""
        return len(self.stack.is_star)


def measure_size(is_reserved: np.ndarray, size_px: int, degree: int) -> Size:
    """Size that an image with these stars needs for a field polynomial of at most that degree."""
    n_reserved = int(is_reserved.sum())
    n_candidates = len(is_reserved) - n_reserved
    return Size(
        padded_size(n_candidates),
        padded_size(n_reserved) if n_reserved else 0,
        size_px,
        choose_degree(degree, n_candidates),
    )


def make_chunk(
    model: PsfModel, stamps: Sequence[ImageStamps], settings: FitSettings, n_images: int
) -> Chunk:
    """Stack images of one size, and repeat the last one until there are `n_images`."""
    if settings.noise == "header":
        stamps = [image._replace(sky_variance_adu2=np.nan) for image in stamps]
    first = stamps[0]
    size = measure_size(first.is_reserved, first.size_px, settings.degree)
    places = [_find_places(image, size) for image in stamps]
    filled = [_fill(image, place, size) for image, place in zip(stamps, places, strict=True)]
    filled += filled[-1:] * (n_images - len(filled))
    stack = jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *filled))
    grid = replace(settings.grid, degree=min(settings.grid.degree, size.degree))
    return Chunk(model, replace(settings, grid=grid), size, stamps, places, stack)


def _find_places(stamps: ImageStamps, size: Size) -> np.ndarray:
    place = np.empty(len(stamps.is_reserved), int)
    by_light = np.argsort(-_measure_light(stamps), kind="stable")
    for group, first in ((~stamps.is_reserved, 0), (stamps.is_reserved, size.n_candidates)):
        mine = by_light[group[by_light]]
        place[mine] = first + np.arange(len(mine))
    return place


def _measure_light(stamps: ImageStamps) -> np.ndarray:
    """Light of the stars in the central pixels, (n,) ADU."""
    half = stamps.size_px // 2
    core = slice(max(half - LIGHT_RADIUS_PX, 0), half + LIGHT_RADIUS_PX + 1)
    light = stamps.data[:, core, core] - stamps.sky_adu[:, None, None]
    return np.where(stamps.good[:, core, core], light, 0.0).sum(axis=(1, 2))


def _fill(stamps: ImageStamps, place: np.ndarray, size: Size) -> Stack:
    """One image with its stars at their places."""

    def filled(values: np.ndarray, blank: float = 0.0) -> Array:
        shape = (size.n_candidates + size.n_reserved, *values.shape[1:])
        out = np.full(shape, blank, values.dtype)
        out[place] = values
        # NumPy's until the images are stacked: then they go to the device at once.
        return cast(Array, out)

    image = ImagePixels(
        filled(stamps.data),
        filled(stamps.good),
        filled(stamps.sky_adu),
        filled(~stamps.is_reserved),
        cast(Array, np.float64(stamps.gain)),
        cast(Array, np.float64(stamps.read_noise_electron)),
        cast(Array, np.float64(stamps.sky_level_adu)),
        cast(Array, np.float64(stamps.sky_variance_adu2)),
        filled(_sky_error(stamps), np.nan),
        LocalPocket(*(filled(part, 1.0) for part in stamps.local_pocket)),
    )
    return Stack(
        image,
        filled(stamps.variance, 1.0),
        filled(np.stack([stamps.x_px, stamps.y_px], axis=1) - stamps.centre_px),
        filled(stamps.basis(size.degree)),
        filled(np.ones(len(place), bool)),
    )


def _sky_error(stamps: ImageStamps) -> np.ndarray:
    """Error of the sky around each star, (n,) ADU."""
    if stamps.sky_error_adu is None:
        return np.full(len(stamps.sky_adu), np.nan)
    return stamps.sky_error_adu


def list_rows(where: np.ndarray) -> np.ndarray:
    """Numbers of some stars of each image (p, n), filled up with n, (p, u); u: times BLOCK_ROWS."""
    p, n = where.shape
    n_blocks = -(-int(where.sum(axis=1).max(initial=1)) // BLOCK_ROWS)
    rows = np.full((p, n_blocks * BLOCK_ROWS), n)
    for row, mine in zip(rows, where, strict=True):
        found = np.flatnonzero(mine)
        row[: len(found)] = found
    return rows


def list_blocks(rows: np.ndarray) -> list[np.ndarray]:
    """The same (p, u) in parts of BLOCK_ROWS."""
    return np.split(rows, rows.shape[1] // BLOCK_ROWS, axis=1)


def take(arrays: Any, rows: Array) -> Any:
    """Some stars (p, u) of a tree of arrays (p, n, ...); 0 where a row is none."""
    return jax.tree.map(
        lambda leaf: jax.vmap(lambda one, row: one.at[row].get(mode="fill", fill_value=0))(
            leaf, rows
        ),
        arrays,
    )


def put(array: Array, rows: Array, values: Array) -> Array:
    """The inverse of `take`: rows that are none are left out."""
    return jax.vmap(lambda one, row, new: one.at[row].set(new, mode="drop"))(array, rows, values)
