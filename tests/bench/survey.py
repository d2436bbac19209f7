"""Zero points of a simulated survey by our solver, and by scipy's LSQR on the full system.

    python survey.py <folder> [--sizes 1e5 1e6 ...]

The same measurements and weights, no outliers left out; LSQR runs until the zero points are within
0.01 mmag of ours. Each code is a process of its own; writes <folder>/survey.md.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import lsqr
from ztfpsf.survey import gradients
from ztfpsf.survey.coarse import Coarse, make_coarse
from ztfpsf.survey.collection import read_exposures
from ztfpsf.survey.components import find_groups
from ztfpsf.survey.dataset import open_blocks, write_cell
from ztfpsf.survey.design import EXPOSURE, Units
from ztfpsf.survey.normal import Problem, make_normal
from ztfpsf.survey.simulation import simulate_cells
from ztfpsf.survey.terms import Terms
from ztfpsf.survey.truth import Simulation, simulate_truth
from ztfpsf.survey.weights import start_weights

TOLERANCE_MAG = 1e-5
SCATTER_MAG = 0.005
LIMIT_S = 600.0
REPEATS = 3
# Measurements between Dec 0 and 40 deg, 12 stars per square degree, 15 visits.
WHOLE_BAND = 3e6


def simulate(folder: Path, size: float) -> Path:
    """A data set of about this many measurements, on fields between Dec 0 and 40 deg."""
    root = folder / f"{size:.0e}"
    if not (root / "exposures.parquet").exists():
        settings = Simulation(
            ra_deg=(0.0, min(360.0, 360.0 * size / WHOLE_BAND)),
            dec_deg=(0.0, 40.0),
            stars_deg2=12.0 * max(1.0, size / WHOLE_BAND),
            visits=15.0,
            superpixels=1,
            star_flat_mag=0.0,
            colour_mag=0.0,
            airmass_mag=0.0,
            outlier_fraction=0.0,
            variable_fraction=0.0,
        )
        truth = simulate_truth(settings)
        for cell, measurements, stars in simulate_cells(settings, truth):
            stars = stars.assign(reference_mag=np.nan, reference_error_mag=np.nan)
            write_cell(root, cell, measurements, stars, {})
        truth.exposures.to_parquet(root / "exposures.parquet")
    return root


def read(root: Path) -> Problem:
    """All measurements, in memory."""
    exposures = read_exposures(root)
    field, none = exposures["field"].to_numpy(), np.zeros(len(exposures))
    units = Units(EXPOSURE, Terms(), none.astype(int), 1, field, none, none, 0.0)
    blocks = open_blocks(str(root), units, 100.0)
    loaded = [blocks[index] for index in range(len(blocks))]
    executor = ThreadPoolExecutor(2)
    return Problem(loaded, units.layout, units.fields, units.periods, units.is_held, executor)


def solve_ours(problem: Problem) -> tuple[np.ndarray, int]:
    weights = start_weights(problem.blocks, problem.executor, SCATTER_MAG)
    start = np.zeros(problem.layout.size)
    normal = make_normal(problem, weights, np.zeros(0), start)
    coarse = make_coarse(normal, find_groups(normal))
    inverse = normal.is_fitted / np.where(normal.is_fitted, normal.diagonal[:, 0, 0], 1.0)
    precondition = partial(_precondition, inverse, coarse)
    solved = gradients.solve(
        normal.multiply, precondition, normal.residual, start, TOLERANCE_MAG, 100
    )
    return solved.unknowns, solved.iterations


def _precondition(inverse: np.ndarray, coarse: Coarse, residual: np.ndarray) -> np.ndarray:
    return inverse * residual + coarse.correct(residual)


def solve_lsqr(problem: Problem, expected: np.ndarray) -> tuple[np.ndarray, int]:
    """Stars and zero points together; iterations are doubled until the answer is the expected."""
    blocks = problem.blocks
    weight = np.concatenate([1.0 / np.sqrt(b.variance_mag2 + SCATTER_MAG**2) for b in blocks])
    unit = np.concatenate([b.units[b.unit] for b in blocks])
    n_stars = sum(b.n_stars for b in blocks)
    star = np.repeat(np.arange(n_stars), np.concatenate([b.n_per_star for b in blocks]))
    mag = np.concatenate([b.mag for b in blocks])
    row = np.arange(len(mag))
    size = n_stars + problem.layout.n_units
    places = (np.concatenate([row, row]), np.concatenate([star, n_stars + unit]))
    matrix = sparse.csr_array((np.concatenate([weight, weight]), places), (len(mag), size))
    limit, started = 50, time.perf_counter()
    while True:
        begun = time.perf_counter()
        found = lsqr(matrix, weight * mag, atol=0, btol=0, conlim=0, iter_lim=limit)[0]
        print(json.dumps({"attempt_s": time.perf_counter() - begun}), flush=True)
        zero_points = found[n_stars:]
        if agree(zero_points, expected) <= TOLERANCE_MAG:
            return zero_points, limit
        if time.perf_counter() - started > LIMIT_S:
            return zero_points, -limit
        limit *= 2


def agree(zero_points: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, the mean apart."""
    used = expected != 0
    difference = (zero_points - expected)[used]
    return float(np.abs(difference - difference.mean()).max())


def work(code: str, root: Path) -> None:
    """One code: a line of JSON."""
    problem = read(root)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter(), time.process_time()
    if code == "ours":
        for _ in range(REPEATS):
            attempt = time.perf_counter()
            unknowns, iterations = solve_ours(problem)
            print(json.dumps({"attempt_s": time.perf_counter() - attempt}), flush=True)
        np.save(root / "ours.npy", unknowns)
    else:
        unknowns, iterations = solve_lsqr(problem, np.load(root / "ours.npy"))
    record = {
        "n": int(sum(len(b.mag) for b in problem.blocks)),
        "stars": int(sum(b.n_stars for b in problem.blocks)),
        "exposures": problem.layout.n_units - 1,
        "iterations": iterations,
        "wall_s": time.perf_counter() - begun[0],
        "cpu_s": time.process_time() - begun[1],
        "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "gb_before": before / 1e6,
        "difference_mmag": 1e3 * agree(unknowns, np.load(root / "ours.npy")),
    }
    print(json.dumps(record))


def run(code: str, root: Path) -> dict[str, Any]:
    """Result of a process; the seconds are those of its last attempt alone.

    LSQR has to be told how many iterations it needs; ours is read from disk by the first attempt.
    """
    done = subprocess.run(
        [sys.executable, __file__, str(root), "--code", code], capture_output=True, text=True
    )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1:] or ["killed"]}
    *attempts, record = [json.loads(line) for line in done.stdout.splitlines()]
    return {**record, "solve_s": attempts[-1]["attempt_s"]}


def report(folder: Path, sizes: list[float]) -> str:
    lines = [
        "| measurements | stars | exposures | code | iterations | seconds | memory (GB) "
        "| largest difference (mmag) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size in sizes:
        root = simulate(folder, size)
        for code in ("ours", "lsqr"):
            r = run(code, root)
            if "failed" in r:
                lines.append(f"| {size:.0e} | | | {code} | failed: {r['failed'][0]} | | | |")
                continue
            n = abs(int(r["iterations"]))
            late = "" if r["iterations"] > 0 else ", not there yet"
            lines.append(
                f"| {r['n']:,} | {r['stars']:,} | {r['exposures']:,} | {code} | {n}{late} | "
                f"{r['solve_s']:.2f} | {r['gb']:.2f} | {r['difference_mmag']:.4f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=float, nargs="*", default=[1e5, 1e6])
    parser.add_argument("--code", choices=["ours", "lsqr"])
    arguments = parser.parse_args()
    if arguments.code:
        work(arguments.code, arguments.folder)
    else:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        table = report(arguments.folder, arguments.sizes)
        (arguments.folder / "survey.md").write_text(table)
        print(table)
