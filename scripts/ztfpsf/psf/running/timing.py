"""Seconds of a fit against the number of stars, after compilation.

The stars are drawn by the model, the same everywhere, with noise. Weights are those of the truth,
so that nothing but the optimiser is timed.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.clock import Clock, compile_clock
from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.optimisers import Solution, Solver, get_optimiser
from ztfpsf.psf.problem.parameters import Parameters, Problem, StarData
from ztfpsf.psf.problem.star_fit import StarsInPsf, draw_stars
from ztfpsf.psf.profile.field import field_basis
from ztfpsf.psf.profile.star import FLUX, POSITION
from ztfpsf.psf.running.chunks import CPU_STARS, GPU_STARS
from ztfpsf.psf.weights.start import start_profile

FWHM_PX = 2.0
SKY_ADU, GAIN, READ_NOISE_ADU = 150.0, 6.2, 1.5
FIELD_PX = 3072
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


def make_stars(model: PsfModel, n: int, size_px: int, degree: int, device: jax.Device) -> Problem:
    """n stars of 2e3 to 1e5 ADU, and a start as moments would give it."""
    rng = np.random.default_rng(n)
    stars = np.column_stack(
        [
            rng.uniform(-0.5, 0.5, (n, 2)),
            10 ** rng.uniform(3.3, 5.0, n),
            np.full(n, SKY_ADU),
        ]
    )
    x_px, y_px = rng.uniform(0, FIELD_PX, (2, n))
    basis = field_basis(x_px, y_px, FIELD_PX, FIELD_PX, degree)
    profile = start_profile(model, FWHM_PX, basis.shape[1])
    batch = min(n, CPU_STARS if device.platform == "cpu" else GPU_STARS)
    truth = StarsInPsf(jnp.asarray(stars), jnp.asarray(basis @ profile.T))
    expected = np.asarray(draw_stars(model, truth, size_px, batch))
    variance = expected / GAIN + READ_NOISE_ADU**2
    data = expected + rng.standard_normal(expected.shape) * np.sqrt(variance)
    first = stars.copy()
    first[:, POSITION] += 0.05 * rng.standard_normal((n, 4))[:, POSITION]
    first[:, FLUX] *= 0.93
    widened = start_profile(model, 1.15 * FWHM_PX, basis.shape[1])

    def alone(array: np.ndarray) -> Array:
        return jnp.asarray(array)[None]

    around = np.zeros((n, 2))
    stars_data = StarData(alone(data), alone(1.0 / variance), alone(basis), alone(around))
    return Problem(model, stars_data, Parameters(alone(first), alone(widened)), Batch(batch, 1))


def time_once(solver: Solver, problem: Problem) -> tuple[Clock, Solution]:
    """One fit, compilation included."""
    with compile_clock() as clock:
        solution = jax.block_until_ready(solver(problem))
    return clock, solution


def time_optimiser(
    name: str,
    options: Mapping[str, Any],
    model: PsfModel,
    settings: Mapping[str, Any],
    device: jax.Device,
) -> Iterator[Timing]:
    """A curve; it stops where the next fit would pass the limit of time."""
    solver = get_optimiser(name).make_solver(**options)
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
            first, solution = time_once(solver, problem)
            # The first fit compiles; a long one counts all the same, less its compilation.
            is_long = first.run_s > LONG * settings["limit_s"]
            runs = [first.run_s] if is_long else []
            while len(runs) < settings["repeats"] and not is_long:
                clock, _ = time_once(solver, problem)
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
    options: Mapping[str, Mapping[str, Any]], model: PsfModel, settings: Mapping[str, Any]
) -> Iterator[Timing]:
    """The curves of all optimisers on all devices."""
    for device in list_devices(jax.devices()[0]):
        for name, chosen in options.items():
            if device.platform == "cpu" or name not in CPU_ONLY:
                yield from time_optimiser(name, chosen, model, settings, device)
