"""Seconds of a fit against the number of stars, after compilation.

The stars are Moffat stars of one shape with noise; weights are those of the truth, so that nothing
but the optimiser is timed.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ztfpsf.psf.clock import Clock, compile_clock
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.psf.problem import Batch, Parameters, Problem, Solution, Stars, field_basis
from ztfpsf.psf.star_fit import draw_stars
from ztfpsf.psf.start import start_shape

FWHM_PX = 2.0
SKY_ADU, GAIN, READ_NOISE_ADU = 150.0, 6.2, 1.5
FIELD_PX = 3072
STARS_AT_ONCE = {"cpu": 64, "gpu": 4096}
CPU_ONLY = ("scipy",)
LONG = 0.1  # of the limit of time: fitted once only


class Timing(NamedTuple):
    """One point of a curve."""

    optimiser: str
    device: str
    n_stars: int
    seconds: float  # NaN where it was not tried
    compile_s: float
    steps: int
    n_repeats: int
    status: str  # ok, or why it was not tried


def make_stars(model: ModuleType, n: int, size_px: int, degree: int, device: jax.Device) -> Problem:
    """n stars of 2e3 to 1e5 ADU, and a start as moments would give it."""
    rng = np.random.default_rng(n)
    star = np.column_stack(
        [
            rng.uniform(-0.5, 0.5, (n, 2)),
            10 ** rng.uniform(3.3, 5.0, n),
            np.full(n, SKY_ADU),
        ]
    )
    basis = field_basis(*rng.uniform(0, FIELD_PX, (2, n)), FIELD_PX, FIELD_PX, degree)
    shape = start_shape(model, FWHM_PX, basis.shape[1])
    batch = min(n, STARS_AT_ONCE[device.platform])
    expected = np.asarray(draw_stars(model, star, basis @ shape.T, size_px, batch))
    variance = expected / GAIN + READ_NOISE_ADU**2
    data = expected + rng.standard_normal(expected.shape) * np.sqrt(variance)
    first = star + np.stack([0.05, 0.05, 0.0, 0.0]) * rng.standard_normal((n, 4))
    first[:, 2] *= 0.93
    start = Parameters(first, start_shape(model, 1.15 * FWHM_PX, basis.shape[1]))
    stars = Stars(data, 1.0 / variance, basis)
    arrays = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], (stars, start))
    return Problem(model, *arrays, Batch(batch, 1))


def time_once(optimiser: ModuleType, problem: Problem, options: tuple) -> tuple[Clock, Solution]:
    with compile_clock() as clock:
        solution = jax.block_until_ready(optimiser.solve(problem, options))
    return clock, solution


def time_optimiser(
    name: str,
    options: Mapping[str, Any],
    model: ModuleType,
    settings: Mapping[str, Any],
    device: jax.Device,
) -> Iterator[Timing]:
    """A curve; it stops where the next fit would pass the limit of time."""
    optimiser = get_optimiser(name)
    spent, last = 0.0, None
    for n in settings["n_stars"]:
        left = settings["limit_s"] - spent
        # A fit takes at least as long per star as the last one.
        if last and last.seconds * n / last.n_stars > left:
            status = f"not tried: {last.n_stars} stars took {last.seconds:.3g} s"
            yield Timing(name, device.platform, n, np.nan, np.nan, 0, 0, status)
            continue
        with jax.default_device(device):
            problem = make_stars(model, n, settings["size_px"], settings["degree"], device)
            first, solution = time_once(optimiser, problem, optimiser.Options(**options))
            # The first fit compiles; a long one counts all the same, less its compilation.
            is_long = first.run_s > LONG * settings["limit_s"]
            runs = [first.run_s] if is_long else []
            while len(runs) < settings["repeats"] and not is_long:
                clock, _ = time_once(optimiser, problem, optimiser.Options(**options))
                runs.append(clock.run_s)
        spent += first.run_s * (not is_long) + sum(runs)
        steps = int(np.max(np.asarray(solution.iterations)))
        last = Timing(
            name, device.platform, n, median(runs), first.compile_s, steps, len(runs), "ok"
        )
        yield last


def list_devices(first: jax.Device) -> Sequence[jax.Device]:
    """The processor, and the GPU if fits run on one."""
    return [first] if first.platform == "cpu" else [jax.devices("cpu")[0], first]


def time_all(
    options: Mapping[str, Mapping[str, Any]], model: ModuleType, settings: Mapping[str, Any]
) -> Iterator[Timing]:
    """The curves of all optimisers on all devices."""
    for device in list_devices(jax.devices()[0]):
        for name, chosen in options.items():
            if device.platform == "cpu" or name not in CPU_ONLY:
                yield from time_optimiser(name, chosen, model, settings, device)
