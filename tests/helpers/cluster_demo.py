"""A small demo, two simulated quadrants of one CCD, and its runs on a private SLURM."""

import csv
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from private_slurm import PrivateSlurm
from quadrants import make_scene, write_scene
from workflow_copy import EXPOSURE, TWO_FITS, Workflow, copy_workflow

UNIT = f"{EXPOSURE}_c13_o"
# The V100s of the test are none: a job that is handed one would stop for want of it.
CONFIG = f"""
unit: ccd
device: cpu
cut_stamps: {{size_px: 15}}
{TWO_FITS}"""
PROFILES = ("--profile", "profiles/ccin2p3", "--profile", "profiles/test-slurm")
# Opens every script, so that a job can meet a fault.
HOOK = """import sys; sys.path.insert(0, {helpers!r})
import faults; faults.strike({rule!r})
"""
JOB_FIELDS = ("JobID", "State", "Partition", "NodeList", "Account", "AllocTRES", "ReqMem")
JOB_FIELDS += ("Timelimit", "Comment", "WorkDir")


class Demo(NamedTuple):
    """Runs in one directory."""

    slurm: PrivateSlurm
    workflow: Workflow
    inputs: Path

    @property
    def directory(self) -> Path:
        return self.workflow.directory

    @property
    def results(self) -> Path:
        return self.directory / "results"

    def start(self, *options: str, targets: Sequence[str] = ()) -> subprocess.Popen[str]:
        """Start Snakemake as on a login node."""
        where = ("--snakefile", self.workflow.base / "Snakefile", "--directory", self.directory)
        config = ("--configfile", self.inputs / "config.yaml")
        config += ("--config", f"images={self.inputs / 'images.csv'}")
        with open(self.directory / "snakemake.out", "a") as out:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "snakemake", *where, *PROFILES, *config, *options),
                    *("--", *targets),
                ],
                cwd=self.workflow.base,
                env=self.slurm.environment | self.fault(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                text=True,
            )

    def run(self, *options: str, targets: Sequence[str] = ()) -> int:
        return self.start(*options, targets=targets).wait()

    def fault(self) -> dict[str, str]:
        """The fault that jobs of this directory meet."""
        file = self.directory / "fault"
        if not file.exists():
            return {}
        name, rule = file.read_text().split()
        return {"FAULT": name, "FAULT_RULE": rule, "FAULT_FOLDER": str(self.directory)}

    def text(self) -> str:
        """What all runs in this directory said."""
        return (self.directory / "snakemake.out").read_text()

    def jobs(self) -> list[dict[str, str]]:
        """SLURM's jobs of this directory, in order of submission, as sacct knows them."""
        fields = ",".join(JOB_FIELDS)
        table = self.slurm.call("sacct", "--allocations", "--parsable2", f"--format={fields}")
        rows = csv.DictReader(io.StringIO(table), delimiter="|")
        return [row for row in rows if row["WorkDir"] == str(self.directory)]

    def copy(self, directory: Path) -> "Demo":
        """The same products and records in another directory."""
        shutil.copytree(self.directory, directory)
        (directory / "snakemake.out").unlink()
        return self._replace(workflow=self.workflow._replace(directory=directory))

    def wait_for_job(self) -> None:
        """Wait until a job is where it hangs."""
        wait_for((self.directory / "reached").exists, "a job of", self.directory)

    def release(self) -> None:
        """Let a job that hangs go on."""
        (self.directory / "release").touch()


def wait_for(condition: Callable[[], bool], *what: object, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(" ".join(map(str, what)))
        time.sleep(0.2)


def make_demo(slurm: PrivateSlurm, folder: Path) -> Demo:
    """Inputs, and a copy of the workflow whose scripts can meet faults."""
    workflow = copy_workflow(folder / "workflow", folder / "undisturbed")
    for script in (workflow.base / "scripts").glob("*.py"):
        hook = HOOK.format(helpers=os.path.dirname(__file__), rule=script.stem)
        script.write_text(hook + script.read_text())
    inputs = folder / "inputs"
    inputs.mkdir()
    rows = ["image,sciimg,mskimg"]
    for qid in (1, 2):
        image = f"{UNIT}_q{qid}"
        rows.append(",".join((image, *write_scene(make_scene(seed=qid), inputs, image))))
    (inputs / "images.csv").write_text("\n".join(rows) + "\n")
    (inputs / "config.yaml").write_text(CONFIG)
    return Demo(slurm, workflow, inputs)
