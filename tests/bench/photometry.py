"""Seconds of the photometry of 15,000 stars of the sample image, step by step.

    make demo
    .venv/bin/python tests/bench/photometry.py results [moffat/gauss_newton]

The stars detected on the image, and random positions up to 15,000. The first of the runs compiles;
set XDG_CACHE_HOME to an empty directory to compile everything.
"""

import os
import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

IMAGE = "ztf_20200924431759_000655_zr_c13_o_q3"
BAD_BITS = [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]
N_STARS, N_RUNS, THREADS = 15_000, 3, 2


@contextmanager
def clock(name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), os.times()
    yield
    after = os.times()
    cpu_s = after.user + after.system - cpu.user - cpu.system
    print(f"{name:24s} {time.perf_counter() - wall:7.2f} s wall {cpu_s:7.2f} s CPU")


def main(results: Path, fit: str) -> None:
    with clock("import"):
        from ztfpsf.psf.device import configure

        configure("cpu")
        from ztfpsf.photometry.fit import PhotometrySettings, fit_stars
        from ztfpsf.photometry.planes import Places, make_planes
        from ztfpsf.photometry.tables import make_star_table
        from ztfpsf.psf import load_psf
        from ztfpsf.stars.images import measure_sky, read_science_image
    stars = pd.read_parquet(results / f"select_stars/{IMAGE}_stars.parquet")
    psf = load_psf(results / f"fit_psf/{fit}/{IMAGE}_psf.fits", IMAGE)
    sample = results / "fetch_sample"
    rng = np.random.default_rng(1)
    more = rng.integers(0, len(stars), N_STARS - len(stars))
    stars = pd.concat([stars, stars.iloc[more]], ignore_index=True)
    position = stars[["x_px", "y_px"]].to_numpy(copy=True)
    position[-len(more) :] = rng.uniform(0, 3070, (len(more), 2))
    settings = PhotometrySettings(size_px=15, position_min_snr=20.0)
    for run in range(N_RUNS):
        print(f"run {run + 1}, {len(stars)} stars, load {os.getloadavg()[0]:.1f}")
        with clock("image and mask"):
            quadrant = read_science_image(
                *(str(sample / f"{IMAGE}_{kind}.fits") for kind in ("sciimg", "mskimg")),
                BAD_BITS,
                0.8,
            )
        with clock("sky and planes"):
            sky = measure_sky(quadrant)
            planes = make_planes(quadrant, sky, None, psf, settings.size_px)
        with clock("fluxes and positions"):
            places = Places(position, position, np.zeros(2))
            with ThreadPoolExecutor(THREADS) as pool:
                fitted = fit_stars(psf, planes, places, settings, pool)
        with clock("table"):
            make_star_table(stars, planes, fitted, psf.flux_error, 26.3)
        print(f"{fitted.n_passes} passes, {(~fitted.has_converged).sum()} not converged")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak / 1e6:.2f} GB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(sys.argv[2:] or ["moffat/gauss_newton"]))
