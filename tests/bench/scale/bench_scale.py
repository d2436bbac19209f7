"""`make bench-scale`: the plan of a night, rates of the fit, and the cost of a survey.

PYTHONPATH=scripts:tests/helpers:tests/bench/psf python tests/bench/scale/bench_scale.py
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from cost import Rates, spans, survey_cost
from dag import Plan, measure_plans
from report import markdown, replace_part

ROOT = Path(__file__).parents[3]
SIZES = (1_000, 10_000, 64_000)
N_CORES = len(os.sched_getaffinity(0))
CPU_CHUNKS, GPU_CHUNKS = (1, 4, 16), (1, 16, 64, 256)
JOBS_PER_EXPOSURE = 7


def start(
    kind: str, n_at_once: int, chunk: int, n_images: int, cores: set[int]
) -> subprocess.Popen:
    """One process of fit_rates.py on some cores."""
    script = str(Path(__file__).with_name("fit_rates.py"))
    words = [sys.executable, script, kind, *map(str, (n_at_once, chunk, n_images))]
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )


def collect(processes: list[subprocess.Popen]) -> dict | None:
    """Rates of processes side by side, added; None where one failed, which said why."""
    texts = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        return None
    found = [json.loads(text) for text in texts]
    return found[0] | {"images_s": sum(one["images_s"] for one in found)}


def measure_cpu() -> list[tuple[str, dict]]:
    """Ways to use the cores, and sizes of a chunk."""
    cores = os.sched_getaffinity(0)
    rows = [("one image at a time, XLA's own threads", [("cpu", 1, 1, 16, cores)])]
    for chunk in CPU_CHUNKS:
        n_images = max(16, 2 * chunk * N_CORES)
        label = f"one chunk per core, chunks of {chunk}"
        rows.append((label, [("cpu", N_CORES, chunk, n_images, cores)]))
    rows.append(("one process per core, chunks of 4", [("cpu", 1, 4, 16, {i}) for i in cores]))
    return [(label, collect([start(*one) for one in many])) for label, many in rows]


def measure_gpu() -> list[tuple[str, dict]]:
    cores = os.sched_getaffinity(0)
    return [
        (f"GPU, chunks of {chunk}", collect([start("gpu", 1, chunk, 2 * chunk, cores)]))
        for chunk in GPU_CHUNKS
    ]


def has_gpu() -> bool:
    """Whether fits would run on a GPU here."""
    code = "from ztfpsf.psf.device import configure; configure('gpu')"
    return not subprocess.run([sys.executable, "-c", code], capture_output=True).returncode


def plan_table(plans: list[Plan]) -> str:
    rows = [["images", "target", "jobs", "CPU (s)", "memory (GB)"]]
    for plan in plans:
        target = "all" if plan.target == "all" else "stamps of one image"
        figures = [f"{plan.cpu_s:.1f}", f"{plan.memory_gb:.2f}"]
        rows.append([f"{plan.n_images:,}", target, f"{plan.n_jobs:,}", *figures])
    return markdown(rows)


def rate_table(rates: list[tuple[str, dict]]) -> str:
    head = ["", "images per second", "CPU s per image", "optimiser alone (s)", "floor (s)"]
    rows = [head]
    for label, one in rates:
        figures = ("images_s", "cpu_s", "optimiser_s", "floor_s")
        rows.append([label, *(f"{one[name]:.3g}" for name in figures)])
    return markdown(rows)


def cost_table(rates: Rates) -> str:
    rows = [["images", "", "jobs, CPU hours", "fits, CPU hours", "or GPU hours"]]
    for name, n_images in spans().items():
        cost = survey_cost(n_images, rates, JOBS_PER_EXPOSURE)
        gpu = "not measured" if cost.fits_gpu is None else f"{cost.fits_gpu:,.1f}"
        rows.append([f"{n_images:,}", name, f"{cost.jobs_cpu:,.0f}", f"{cost.fits_cpu:,.0f}", gpu])
    return markdown(rows)


def main() -> None:
    plans = list(measure_plans(SIZES))
    cpu = [(label, one) for label, one in measure_cpu() if one]
    gpu = [(label, one) for label, one in (measure_gpu() if has_gpu() else []) if one]
    fastest = max(cpu, key=lambda row: row[1]["images_s"])[1]
    gpu_rate = max((one["images_s"] for _, one in gpu), default=None)
    text = "\n".join(
        [
            plan_table(plans),
            f"300 stars of 25 px, Moffat of degree 2, {N_CORES} cores"
            f"{', ' + gpu[0][1]['device'] if gpu else '; no GPU was at hand'}:\n",
            rate_table(cpu + gpu),
            cost_table(Rates(N_CORES / fastest["images_s"], gpu_rate)),
        ]
    )
    print(text)
    replace_part(ROOT / "docs" / "numbers.md", "make bench-scale", text)


if __name__ == "__main__":
    main()
