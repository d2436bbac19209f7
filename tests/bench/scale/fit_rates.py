"""Rates of the fit of simulated images on one device kind, as JSON on stdout.

Images of N_STARS Moffat stars (GalSim) of 25 px, a fifth of them reserved, degree 2.

    PYTHONPATH=scripts:tests/helpers python tests/bench/scale/fit_rates.py cpu|gpu DEVICES CHUNK N
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np
from ztfpsf.psf.device import configure

N_STARS, SIZE_PX = 300, 25
SKY_ADU, GAIN, READ_NOISE_ELECTRON = 150.0, 6.2, 9.5
NX, NY = 3072, 3080
REPEATS = 3


def make_images(n: int) -> list:
    """The same stars with other fluxes and noise in every image."""
    from galsim_stars import draw, moffat
    from ztfpsf.psf.inputs.image import ImageStamps

    rng = np.random.default_rng(1)
    offset = rng.uniform(-0.5, 0.5, (N_STARS, 2))
    centre = rng.integers(20, min(NX, NY) - 20, (N_STARS, 2))
    profile = moffat(2.0, 3.0, 0.95, 20.0)
    light = np.stack([draw(profile, *xy, SIZE_PX) for xy in offset])
    images = []
    for _ in range(n):
        flux = 10 ** rng.uniform(3.3, 5.0, N_STARS)
        expected = flux[:, None, None] * light + SKY_ADU
        variance = expected / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2
        position = centre + offset + rng.normal(0.0, 0.05, offset.shape)
        images.append(
            ImageStamps(
                image="simulated",
                data=expected + rng.standard_normal(expected.shape) * np.sqrt(variance),
                variance=variance,
                good=np.ones(expected.shape, bool),
                sky_adu=np.full(N_STARS, SKY_ADU),
                x_px=position[:, 0],
                y_px=position[:, 1],
                x0_px=centre[:, 0] - SIZE_PX // 2,
                y0_px=centre[:, 1] - SIZE_PX // 2,
                is_reserved=np.arange(N_STARS) % 5 == 0,
                gain=GAIN,
                read_noise_electron=READ_NOISE_ELECTRON,
                nx=NX,
                ny=NY,
            )
        )
    return images


def measure_floor(device, n_steps: float) -> float:
    """Seconds of the profile at all nodes of the stars of an image, once for each evaluation.

    What no code that evaluates this model can save: derivatives, sums over pixels and the normal
    equations come on top.
    """
    import jax
    import jax.numpy as jnp
    from ztfpsf.psf.models import moffat
    from ztfpsf.psf.profile.pixels import count_values

    params = moffat.Params(*(jnp.asarray(value) for value in (0.7, 0.7, 0.05, 0.02)))
    n_fitted = N_STARS - N_STARS // 5
    with jax.default_device(device):
        x = jnp.linspace(-5.0, 5.0, n_fitted * count_values(SIZE_PX))
        evaluate = jax.jit(lambda x: moffat.profile(x, x, params).sum())
        times = []
        for _ in range(10):
            start = time.perf_counter()
            evaluate(x).block_until_ready()
            times.append(time.perf_counter() - start)
    return (n_steps + 1) * min(times)


def main(kind: str, n_at_once: int, chunk: int, n_images: int) -> dict[str, float]:
    device_name = configure(kind)
    import jax
    from ztfpsf.psf.inputs.settings import FitSettings
    from ztfpsf.psf.models import get_model
    from ztfpsf.psf.optimisers import get_optimiser
    from ztfpsf.psf.running.chunks import choose_batch
    from ztfpsf.psf.solution.fit import fit_images

    images, devices = make_images(n_images), jax.devices()
    settings = FitSettings(batch=choose_batch(devices[0], chunk))

    solver = get_optimiser("gauss_newton").make_solver()

    def fit(number: int) -> list:
        with jax.default_device(devices[number % len(devices)]):
            part = images[number * chunk : (number + 1) * chunk]
            return fit_images(get_model("moffat"), solver, part, settings, chunk)

    for number in range(len(devices)):
        fit(number)
    wall, cpu = [], []
    with ThreadPoolExecutor(n_at_once) as pool:
        for _ in range(REPEATS):
            start = time.perf_counter(), time.process_time()
            fits = [one for part in pool.map(fit, range(n_images // chunk)) for one in part]
            wall.append(time.perf_counter() - start[0])
            cpu.append(time.process_time() - start[1])
    steps = float(np.mean([fit.course.iterations for fit in fits]))
    return {
        "device": device_name,
        "images_s": n_images / median(wall),
        "cpu_s": median(cpu) / n_images,
        "optimiser_s": median(fit.course.clock.run_s for fit in fits),
        "floor_s": measure_floor(devices[0], steps),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:]))))
