"""Fits of all images of a stamps file: chunks of like images, spread over the devices.

A GPU computes one chunk at a time, a processor one on each core: with one device of XLA for all
cores, since code is compiled for each device anew. Two threads for each chunk that computes: the
other reads the pixels of the next one, or writes the tables of the last.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, lru_cache
from itertools import cycle, islice
from queue import LifoQueue
from typing import Any

import jax

from ztfpsf.errors import InputError
from ztfpsf.jobs import UnexpectedError, in_work
from ztfpsf.pocket.law import NO_POCKET
from ztfpsf.psf.clock import compile_clock
from ztfpsf.psf.device import configure
from ztfpsf.psf.inputs.image import ImageStamps, take_image
from ztfpsf.psf.models import get_model
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.psf.product import tables
from ztfpsf.psf.running.chunks import ChunkPlan, choose_batch, largest_chunk, plan_chunks
from ztfpsf.psf.running.progress import Progress
from ztfpsf.psf.running.request import Outcome, Products, Request
from ztfpsf.psf.solution.fit import fit_images
from ztfpsf.psf.solution.result import ImageFit
from ztfpsf.stamps import Stamps, StampsFile, open_stamps


def list_places(n_cores: int) -> list[jax.Device]:
    """Where chunks are fitted at the same time: each GPU, or the processor for each core."""
    devices = jax.devices()
    return devices if devices[0].platform != "cpu" else list(islice(cycle(devices), n_cores))


@cache
def _free_places(platform: str, n_cores: int) -> LifoQueue:
    """The places of this process that compute nothing at present.

    The last one used is taken first: each device has compiled code of its own.
    """
    free: LifoQueue = LifoQueue()
    for device in reversed(list_places(n_cores)):
        free.put(device)
    return free


@contextmanager
def _one_device(n_cores: int) -> Iterator[jax.Device]:
    free = _free_places(jax.devices()[0].platform, n_cores)
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


def fit_chunk(request: Request, plan: ChunkPlan, n_cores: int) -> dict[str, Outcome]:
    """Read, fit and tabulate the images of a chunk; a failed one is its error.

    An error that nobody foresaw does not say which image it comes from: each is fitted alone then.
    Raises InputError for what is wrong with the request or the stamps file.
    """
    device_name = configure(request.device)
    try:
        with in_work(", ".join(plan.images)):
            return _fit_together(request, plan, device_name, n_cores)
    except UnexpectedError as error:
        if len(plan.images) == 1:
            return {plan.images[0]: error}
    alone = [ChunkPlan((image,), 1) for image in plan.images]
    parts = [fit_chunk(request, part, n_cores) for part in alone]
    return {image: outcome for part in parts for image, outcome in part.items()}


def _fit_together(
    request: Request, plan: ChunkPlan, device_name: str, n_cores: int
) -> dict[str, Outcome]:
    file = _tables_of(request.path_to_stamps, os.stat(request.path_to_stamps).st_mtime_ns)
    solver = get_optimiser(request.optimiser).make_solver(**request.options)
    read = [file.read(image) for image in plan.images]
    pockets = request.pockets or {}
    stamps = [
        take_image(part)._replace(pocket=pockets.get(image, NO_POCKET))
        for image, part in zip(plan.images, read, strict=True)
    ]
    with _one_device(n_cores) as device, compile_clock() as clock:
        batch = choose_batch(device, plan.n_images)
        settings = replace(request.settings, batch=batch)
        model = settings.set_grid(get_model(request.model))
        fits = fit_images(model, solver, stamps, settings, plan.n_images)
    extra = {"device": device_name, "compile_seconds": clock.compile_s / len(stamps)}
    return {
        its.image: _tabulate(part, its, fit, extra)
        for part, its, fit in zip(read, stamps, fits, strict=True)
    }


def _tabulate(
    part: Stamps, stamps: ImageStamps, fit: ImageFit | InputError, extra: dict[str, Any]
) -> Outcome:
    if isinstance(fit, InputError):
        return InputError(f"{stamps.image}: {fit}")
    row = tables.make_image_row(stamps, fit) | extra
    return Products(
        tables.make_star_table(part.stars, stamps, fit), tables.make_history(fit), row, fit.psf
    )


def fit_all(
    request: Request, file: StampsFile, executor: Executor | None, n_cores: int
) -> dict[str, Outcome]:
    """The outcome of every image of a stamps file, in its order.

    `executor`: that of a cluster; None for the devices of this process.
    """
    images = file.images.set_index("image")["status"]
    outcomes: dict[str, Outcome] = {
        image: InputError(status) for image, status in images.items() if status != "ok"
    }
    devices = list_places(n_cores)
    plans = plan_chunks(file, request, len(devices), largest_chunk(request, file, devices[0]))
    n_images = sum(len(plan.images) for plan in plans)
    progress = Progress(n_images, file.stars.groupby("image").size())
    with executor or ThreadPoolExecutor(2 * len(devices)) as pool:
        running = [pool.submit(fit_chunk, request, plan, n_cores) for plan in plans]
        try:
            for done in as_completed(running):
                outcomes |= done.result()
                progress.tell(done.result())
        finally:
            for future in running:
                future.cancel()
    return {image: outcomes[image] for image in images.index}
