"""Images per second of a whole fit against the size of a chunk, on one device."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from images import make_images, settings_of
from ztfpsf.psf.models import get_model, moffat
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.psf.profile.pixels import count_values
from ztfpsf.psf.solution.fit import fit_images


class Rate(NamedTuple):
    """Chunks of one size, compiled."""

    model: str
    n_stars: int
    chunk: int
    images_s: float
    optimiser_s: float  # of one image, the optimiser alone
    floor_s: float  # of one image: the profile at all nodes, once for each evaluation
    compile_s: float
    memory_gb: float | None  # most that was used on the device so far; None where it does not say


def measure_rates(
    device: jax.Device, models: Sequence[tuple[str, int]], chunks: Sequence[int]
) -> Iterator[Rate]:
    """Rates of models with some number of stars.

    A chunk that the device has no memory for is the last one of its model.
    """
    for name, n_stars in models:
        images = make_images(max(chunks), n_stars, 25)
        for chunk in chunks:
            try:
                yield measure(device, name, images[:chunk])
            except jax.errors.JaxRuntimeError as error:
                print(f"{name}, {n_stars} stars, chunk of {chunk}: {str(error).splitlines()[0]}")
                break


def measure(device: jax.Device, name: str, images: list) -> Rate:
    chunk, n_stars = len(images), len(images[0].x_px)
    settings = settings_of(device, chunk)
    model = settings.set_grid(get_model(name))
    solver = get_optimiser("gauss_newton").make_solver()
    with jax.default_device(device):
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            fits = fit_images(model, solver, images, settings, chunk)
            seconds.append(time.perf_counter() - start)
    cold_s, warm_s = seconds
    memory = (device.memory_stats() or {}).get("peak_bytes_in_use")
    steps = max(fit.course.iterations for fit in fits)
    return Rate(
        name,
        n_stars,
        chunk,
        chunk / warm_s,
        fits[0].course.clock.run_s,
        measure_floor(device, n_stars, steps, chunk),
        cold_s - warm_s,
        memory and memory / 1e9,
    )


def measure_floor(device: jax.Device, n_stars: int, n_steps: int, chunk: int) -> float:
    """Seconds of one image's share: Moffat's profile at all nodes of the fitted stars.

    What no code that evaluates this model can save: derivatives, sums over pixels and the normal
    equations come on top.
    """
    params = moffat.Params(*(jnp.asarray(value) for value in (0.7, 0.7, 0.05, 0.02)))
    n_fitted = n_stars - n_stars // 5
    with jax.default_device(device):
        x = jnp.linspace(-5.0, 5.0, n_fitted * count_values(25))
        evaluate = jax.jit(lambda x: moffat.profile(x, x, params).sum())
        times = []
        for _ in range(10):
            start = time.perf_counter()
            for _ in range(chunk):
                value = evaluate(x)
            value.block_until_ready()
            times.append(time.perf_counter() - start)
    return (n_steps + 1) * min(times) / chunk
