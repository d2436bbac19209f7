"""Whether a device computes what the processor computes, in double precision."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import NamedTuple

import jax
import numpy as np
from images import make_images, settings_of
from ztfpsf.photometry.drawing import draw_psfs_with_slopes
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.psf.models import get_model, list_models
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.psf.profile.star import FLUX
from ztfpsf.psf.solution.fit import fit_images
from ztfpsf.psf.solution.result import ImageFit

# A star's flux is known to a thousandth at best. Rounding differs by the order of sums, and first
# order methods, cut short here, have not forgotten it.
LIMIT = 1e-5
SIZE_PX = 15
N_THREADS = 8
DRAWING_LIMIT = 1e-6  # single precision
FEW_STEPS = {"adam": {"niter": 60}, "scipy": {"niter": 60}, "tncg": {"niter": 20}}


class Check(NamedTuple):
    """One comparison."""

    name: str
    difference: float  # largest, relative
    limit: float

    @property
    def is_passed(self) -> bool:
        return self.difference <= self.limit


def fit(
    model: str, optimiser: str, images: Sequence[ImageStamps], n: int, device: jax.Device
) -> list[ImageFit]:
    """Images fitted on a device in a chunk of `n`."""
    solver = get_optimiser(optimiser).make_solver(**FEW_STEPS.get(optimiser, {}))
    settings = settings_of(device, n, degree=1)
    with jax.default_device(device):
        return fit_images(settings.set_grid(get_model(model)), solver, images, settings, n)


def compare(some: ImageFit, others: ImageFit) -> float:
    """Largest difference of a flux, and of the PSF's light in a pixel, relative."""
    flux, other = (one.stars.parameters[:, FLUX] for one in (some, others))
    stamp, other_stamp = (one.psf.stamp(1000.3, 2000.6) for one in (some, others))
    return max(
        float(np.max(np.abs(flux / other - 1.0))),
        float(np.max(np.abs(stamp - other_stamp)) / stamp.max()),
    )


def check_all(
    device: jax.Device,
    models: Sequence[str],
    optimisers: Sequence[str],
    n_stars: int,
    n_batched: int,
) -> Iterator[Check]:
    """Every model and optimiser, chunks against single images, many images, photometry."""
    cpu = jax.devices("cpu")[0]
    images = make_images(n_batched, n_stars, SIZE_PX)

    def check_fit(pair: tuple[str, str]) -> Check:
        ours, theirs = (fit(*pair, images[:1], 1, one) for one in (device, cpu))
        return Check(" by ".join(pair), compare(ours[0], theirs[0]), LIMIT)

    # Most of it is compilation, which threads do side by side.
    with ThreadPoolExecutor(N_THREADS) as pool:
        yield from pool.map(check_fit, product(models, optimisers))
    first, last = models[0], models[-1]
    together = fit(last, "gauss_newton", images[:4], 4, device)
    alone = fit(last, "gauss_newton", images[2:3], 1, device)
    yield Check(f"{last}, one image of four", compare(together[2], alone[0]), LIMIT)
    many = fit(first, "gauss_newton", images, n_batched, device)
    single = fit(first, "gauss_newton", images[-1:], 1, cpu)
    yield Check(f"{first}, the last of {n_batched} images", compare(many[-1], single[0]), LIMIT)
    yield check_drawing(alone[0], images[2], device, cpu)


def check_drawing(one: ImageFit, image: ImageStamps, device: jax.Device, cpu: jax.Device) -> Check:
    """PSFs and their derivatives as the photometry draws them."""
    position = np.stack([image.x_px, image.y_px], axis=1)
    drawn = []
    for place in (device, cpu):
        with jax.default_device(place), ThreadPoolExecutor(1) as pool:
            drawn.append(
                draw_psfs_with_slopes(one.psf, position, None, image.centre_px, SIZE_PX, pool)
            )
    difference = float(np.abs(drawn[0] - drawn[1]).max() / np.abs(drawn[1]).max())
    return Check("photometry, PSFs and derivatives", difference, DRAWING_LIMIT)


def all_models() -> list[str]:
    """Moffat first, those with a grid last."""

    def order(name: str) -> tuple[bool, bool]:
        return get_model(name).grid is not None, name != "moffat"

    return sorted(list_models(), key=order)
