"""Fits of all images of a stamps file: chunks of like images, spread over the devices.

Two threads for each device: while the fit of one chunk computes, the other reads the pixels of the
next one, or writes the tables of the last.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cache, lru_cache
from queue import LifoQueue
from typing import Any, NamedTuple

import jax
import pandas as pd

from ztfpsf.errors import InputError
from ztfpsf.psf import tables
from ztfpsf.psf.choice import Chosen, fit_best
from ztfpsf.psf.chunk import Size, measure_size
from ztfpsf.psf.clock import compile_clock
from ztfpsf.psf.device import configure
from ztfpsf.psf.grid import add_grid, get_grid
from ztfpsf.psf.image import FitSettings
from ztfpsf.psf.models import get_model
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.psf.problem import Batch, count_terms
from ztfpsf.psf.results import ImageFit
from ztfpsf.stamps import StampsFile, open_stamps

logger = logging.getLogger("ztfpsf")

CHUNK_SIZES = (1, 4, 16, 64, 256)  # few sizes mean few compilations
CPU_CHUNK = 4  # more gain nothing where nothing waits for a launch
# Stars whose pixels are evaluated together: few stay in a processor's cache, many fill a GPU.
STARS_AT_ONCE, GPU_STARS = 64, 4096
MEMORY_FRACTION = 0.5  # of the device's, for one chunk


class Request(NamedTuple):
    """What is to be fitted, and how."""

    path_to_stamps: str
    model: str
    optimiser: str
    options: Mapping[str, Any]
    candidates: tuple[FitSettings, ...]  # one of them is chosen for each image
    device: str

    @property
    def degree(self) -> int:
        """The highest of the field polynomials."""
        return max(settings.degree for settings in self.candidates)


class Parts(NamedTuple):
    """Products of one image."""

    stars: pd.DataFrame
    history: pd.DataFrame
    image: dict[str, Any]
    psf: Any


class ChunkPlan(NamedTuple):
    """Images that are fitted together, filled up to a number of them."""

    images: tuple[str, ...]
    n_images: int


Outcome = Parts | InputError


def plan_chunks(
    file: StampsFile, request: Request, n_devices: int, largest: int
) -> list[ChunkPlan]:
    """Chunks of like images, at least one for each device, those with most stars first."""
    stars = dict(list(file.stars.groupby("image")["is_reserved"]))
    groups: dict[Size, list[str]] = {}
    for image in file.images.loc[file.images["status"] == "ok", "image"]:
        is_reserved = stars[image].to_numpy(bool) if image in stars else pd.Series([], dtype=bool)
        size = measure_size(is_reserved, file.size_px, request.degree)
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


def largest_chunk(request: Request, file: StampsFile, device: jax.Device) -> int:
    """Images whose arrays fit into the memory of the device."""
    if device.platform == "cpu" or file.stars.empty:
        return CPU_CHUNK
    n_stars = int(file.stars.groupby("image").size().max())
    memory = device.memory_stats()["bytes_limit"] * MEMORY_FRACTION
    return max(1, int(memory // image_bytes(request, n_stars, file.size_px)))


def image_bytes(request: Request, n_stars: int, size_px: int) -> int:
    """Memory of one image in a chunk: stamps, nodes of the profile, and normal equations."""
    grids = [settings.grid for settings in request.candidates]
    model = add_grid(get_model(request.model), grids[0].grid)
    n_shape = len(model.Shape._fields)
    m = n_shape * count_terms(request.degree)
    if get_grid(model) is not None:
        m += max(grid.grid.n_modes * len(grid.groups) for grid in grids)
    pixels = 20 * n_stars * size_px**2
    nodes = 4 * STARS_AT_ONCE * (n_shape + 2) * 2500
    normal = 3 * n_stars * (n_shape + 5) * m + 8 * m**2
    return 8 * (pixels + nodes + normal)


def choose_batch(device: jax.Device, n_images: int) -> Batch:
    """How much of a chunk is worked on at once."""
    if device.platform == "cpu":
        return Batch(STARS_AT_ONCE, 1)
    return Batch(max(STARS_AT_ONCE, GPU_STARS // n_images), n_images)


@cache
def _free_devices(platform: str) -> LifoQueue:
    """The devices of this process that compute nothing at present.

    The last one used is taken first: each device has compiled code of its own.
    """
    free: LifoQueue = LifoQueue()
    for device in reversed(jax.devices(platform)):
        free.put(device)
    return free


@contextmanager
def _one_device() -> Iterator[jax.Device]:
    free = _free_devices(jax.devices()[0].platform)
    device = free.get()
    try:
        with jax.default_device(device):
            yield device
    finally:
        free.put(device)


@lru_cache(maxsize=1)
def _tables_of(path: str, changed_ns: int) -> StampsFile:
    """Tables of a stamps file, read once for all chunks of a process."""
    return open_stamps(path)


def fit_chunk(request: Request, plan: ChunkPlan, n_cpu_devices: int) -> dict[str, Outcome]:
    """Read, fit and tabulate the images of a chunk; a failed one is its error."""
    device_name = configure(request.device, n_cpu_devices)
    file = _tables_of(request.path_to_stamps, os.stat(request.path_to_stamps).st_mtime_ns)
    optimiser = get_optimiser(request.optimiser)
    read = [file.read(image) for image in plan.images]
    stamps = [tables.make_stamps(part) for part in read]
    with _one_device() as device, compile_clock() as clock:
        batch = choose_batch(device, plan.n_images)
        candidates = [settings._replace(batch=batch) for settings in request.candidates]
        options = optimiser.Options(**request.options)
        fits = fit_best(
            get_model(request.model), optimiser, options, stamps, candidates, plan.n_images
        )
    extra = {"device": device_name, "compile_seconds": clock.compile_s / len(stamps)}
    outcomes: dict[str, Outcome] = {}
    for image, part, image_stamps, chosen in zip(plan.images, read, stamps, fits, strict=True):
        fit, model = chosen.fit, chosen.model
        if isinstance(fit, ImageFit):
            psf = tables.make_psf(image, model, image_stamps, fit, chosen.settings.grid.flux_terms)
            outcomes[image] = Parts(
                tables.make_star_table(part.stars, model, image_stamps, fit),
                tables.make_history(image, fit),
                tables.make_image_row(psf, image_stamps, fit) | describe_choice(chosen) | extra,
                # No module can be sent to another process.
                psf._replace(model=None),
            )
        else:
            outcomes[image] = InputError(f"{image}: {fit}")
    return outcomes


def fit_all(
    request: Request, file: StampsFile, executor: Executor | None, n_cpu_devices: int
) -> dict[str, Outcome]:
    """The outcome of every image of a stamps file, in its order.

    `executor`: that of a cluster; None for the devices of this process.
    """
    images = file.images.set_index("image")["status"]
    outcomes: dict[str, Outcome] = {
        image: InputError(status) for image, status in images.items() if status != "ok"
    }
    devices = jax.devices()
    plans = plan_chunks(file, request, len(devices), largest_chunk(request, file, devices[0]))
    progress = Progress(plans, file.stars.groupby("image").size())
    with executor or ThreadPoolExecutor(2 * len(devices)) as pool:
        running = [pool.submit(fit_chunk, request, plan, n_cpu_devices) for plan in plans]
        try:
            for done in as_completed(running):
                outcomes |= done.result()
                progress.tell(done.result(), request)
        finally:
            for future in running:
                future.cancel()
    return {image: _with_model(outcomes[image], request) for image in images.index}


def _with_model(outcome: Outcome, request: Request) -> Outcome:
    if isinstance(outcome, InputError):
        return outcome
    psf, model = outcome.psf, get_model(request.model)
    full_model = model if psf.grid is None else add_grid(model, psf.grid.geometry)
    return outcome._replace(psf=psf._replace(model=full_model))


def describe_choice(chosen: Chosen) -> dict[str, Any]:
    """Columns of the images table, where there was a choice."""
    if len(chosen.bic_above_best) == 1:
        return {}
    return {"bic_above_best": list(chosen.bic_above_best)}


class Progress:
    """Lines for the log: every image, and how far the unit is."""

    def __init__(self, plans: Sequence[ChunkPlan], n_stars: pd.Series) -> None:
        self._n_images = sum(len(plan.images) for plan in plans)
        self._n_stars = n_stars
        self._images = self._stars = 0
        self._start = time.monotonic()

    def tell(self, outcomes: Mapping[str, Outcome], request: Request) -> None:
        for image, outcome in outcomes.items():
            self._images += 1
            self._stars += int(self._n_stars.get(image, 0))
            if isinstance(outcome, Parts):
                self._describe(outcome.image, request)
        self._tell_rate()

    def _describe(self, row: Mapping[str, Any], request: Request) -> None:
        logger.info("%s", describe(row))
        degree = min(settings.degree for settings in request.candidates)
        if row["degree"] < degree:
            logger.warning(
                "%s: %d stars define a field polynomial of degree %d, not %d",
                row["image"],
                row["n_fitted"],
                row["degree"],
                degree,
            )

    def _tell_rate(self) -> None:
        elapsed = time.monotonic() - self._start
        left = elapsed / self._images * (self._n_images - self._images)
        logger.info(
            "%d of %d images, %d stars, %.0f s, %.0f s left",
            self._images,
            self._n_images,
            self._stars,
            elapsed,
            left,
        )


def describe(row: Mapping[str, Any]) -> str:
    """A line for the log."""
    return (
        f"{row['image']}: {row['n_fitted']} stars fitted, {row['n_reserved']} reserved, "
        f"{row['n_rejected']} rejected, degree {row['degree']}, "
        f"chi2/dof {row['chi2'] / max(row['dof'], 1):.3f}, "
        f"FWHM {row['fwhm_px']:.3f} +- {row['fwhm_error_px']:.3f} px, {row['iterations']} steps "
        f"in {row['seconds']:.2f} s (+ {row['compile_seconds']:.1f} s compiling), {row['status']}"
    )
