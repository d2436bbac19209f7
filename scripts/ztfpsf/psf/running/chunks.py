"""Which images are fitted together, and how much of a device they take."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.inputs.stack import Size, measure_size
from ztfpsf.psf.models import get_model
from ztfpsf.psf.problem import places
from ztfpsf.psf.profile.field import count_terms
from ztfpsf.psf.profile.grid_modes import count_shapes
from ztfpsf.psf.profile.pixels import count_values
from ztfpsf.psf.profile.star import N_STAR_PARAMETERS
from ztfpsf.psf.running.request import Request

if TYPE_CHECKING:
    from ztfpsf.stamps import StampsFile

CHUNK_SIZES = (1, 4, 16, 64, 256)  # few sizes mean few compilations
CPU_CHUNK = 4  # more gain nothing where nothing waits for a launch
# Stars whose pixels are evaluated together: one stays in a processor's cache, many fill a GPU.
CPU_STARS, GPU_STARS = 1, 4096
MEMORY_FRACTION = 0.5  # of the device's, for one chunk; the other thread holds the next one
# Arrays that live at the same time, counted generously: a chunk that is too small costs little.
PIXEL_ARRAYS = 20  # pixels, masks, variances, weights, models, residuals, each for fit and rounds
VALUE_ARRAYS = 4  # of the profile: the value, and what its derivative needs
BORDER_ARRAYS = 3  # products of stars and what they see, as found, with A^-1, and in a sum
CORNER_ARRAYS = 8  # corner, its blocks and bands, matrix, factor, inverse and their products


class ChunkPlan(NamedTuple):
    """Images that are fitted together, filled up to a number of them."""

    images: tuple[str, ...]
    n_images: int


def plan_chunks(
    file: "StampsFile", request: Request, n_devices: int, largest: int
) -> list[ChunkPlan]:
    """Chunks of like images, at least one for each device, those with most stars first."""
    stars = dict(list(file.stars.groupby("image")["is_reserved"]))
    groups: dict[Size, list[str]] = {}
    for image in file.images.loc[file.images["status"] == "ok", "image"]:
        is_reserved = stars[image].to_numpy(bool) if image in stars else np.zeros(0, bool)
        size = measure_size(is_reserved, file.size_px, request.settings.degree)
        groups.setdefault(size, []).append(image)
    largest = min(largest, -(-sum(map(len, groups.values())) // n_devices))
    plans = []
    for size in sorted(groups, reverse=True):
        images = groups[size]
        while images:
            n = choose_chunk(len(images), largest)
            plans.append(ChunkPlan(tuple(images[:n]), n))
            images = images[n:]
    return plans


def choose_chunk(n_images: int, largest: int) -> int:
    """The largest size that the images fill by more than a half."""
    return max(n for n in CHUNK_SIZES if n == 1 or (n <= largest and n < 2 * n_images))


def largest_chunk(request: Request, file: "StampsFile", device: jax.Device) -> int:
    """Images whose arrays fit into the memory of the device."""
    if device.platform == "cpu" or file.stars.empty:
        return CPU_CHUNK
    n_stars = int(file.stars.groupby("image").size().max())
    memory = device.memory_stats()["bytes_limit"] * MEMORY_FRACTION
    return max(1, int(memory // image_bytes(request, n_stars, file.size_px)))


def image_bytes(request: Request, n_stars: int, size_px: int) -> int:
    """Memory of one image in a chunk: stamps, values of the profile, and normal equations."""
    model = get_model(request.model)
    settings = request.settings
    m, n_modes = model.n_params * count_terms(settings.degree), 0
    if model.grid is not None:
        n_modes = count_shapes(model) + settings.grid.geometry.n_modes
        m += n_modes * len(settings.grid.groups())
    pixels = PIXEL_ARRAYS * n_stars * size_px**2
    # Derivatives by the profile and the position.
    n_slopes = model.n_params + 2
    values = VALUE_ARRAYS * (GPU_STARS // CHUNK_SIZES[-1]) * n_slopes * count_values(size_px)
    rows = N_STAR_PARAMETERS + model.n_params + 1
    seen = model.n_params + n_modes
    normal = BORDER_ARRAYS * n_stars * rows * seen + CORNER_ARRAYS * m**2
    normal += places.STARS_AT_ONCE * seen**2
    return 8 * (pixels + values + normal)


def choose_batch(device: jax.Device, n_images: int) -> Batch:
    """How much of a chunk is worked on at once."""
    if device.platform == "cpu":
        return Batch(CPU_STARS, 1)
    return Batch(GPU_STARS // n_images, n_images)
