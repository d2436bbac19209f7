"""Cost of the plan of a night: the real Snakefile, dry, for sheets of many images."""

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from workflow_copy import Workflow, copy_workflow

CONFIG = """
unit: exposure
images: images.csv
compare_fits: {fits: [{model: moffat, optimiser: gauss_newton}]}
"""


class Plan(NamedTuple):
    """One dry run."""

    n_images: int
    target: str
    n_jobs: int
    cpu_s: float
    memory_gb: float


def write_night(workflow: Workflow, n_images: int) -> list[str]:
    """A sheet of exposures of 64 quadrants, and their files, empty; returns the images."""
    rows, names = [], []
    for number in range(-(-n_images // 64)):
        exposure = f"ztf_20200924{100 + number:06d}_{number:06d}_zr"
        (workflow.directory / exposure).mkdir(exist_ok=True)
        for ccdid, qid in itertools.product(range(1, 17), range(1, 5)):
            image = f"{exposure}_c{ccdid:02d}_o_q{qid}"
            paths = [f"{exposure}/{image}_{product}.fits" for product in ("sciimg", "mskimg")]
            for path in paths:
                (workflow.directory / path).touch()
            names.append(image)
            rows.append(f"{image},{','.join(paths)},")
    workflow.write_sheet(rows)
    (workflow.directory / "night.yaml").write_text(CONFIG)
    return names


def plan(workflow: Workflow, n_images: int, *targets: str) -> Plan:
    """Jobs, CPU seconds and memory of a dry run."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(workflow.base / "Snakefile")]
    command += ["--directory", str(workflow.directory), "--dry-run", "--quiet", "rules"]
    command += ["--configfile", str(workflow.directory / "night.yaml"), "--", *targets]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, cwd=workflow.base, stdout=out, stderr=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    if process.returncode:
        sys.exit(f"Error: the dry run failed.\n{text}")
    n_jobs = int(text.partition("\ntotal")[2].split()[0])
    cpu_s = used.ru_utime + used.ru_stime
    return Plan(n_images, " ".join(targets) or "all", n_jobs, cpu_s, used.ru_maxrss / 2**20)


def measure_plans(sizes: tuple[int, ...]) -> Iterator[Plan]:
    """Dry runs of nights, and of one image out of the largest."""
    with tempfile.TemporaryDirectory() as folder:
        workflow = copy_workflow(Path(folder) / "workflow", Path(folder) / "run")
        for n_images in sizes:
            names = write_night(workflow, n_images)
            yield plan(workflow, len(names))
        yield plan(workflow, len(names), f"results/cut_stamps/{names[-1]}_stamps.fits")
