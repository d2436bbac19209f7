"""A copy of the workflow to run in a temporary directory."""

import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "rules", "scripts", "config", "envs", "profiles")

EXPOSURE = "ztf_20200924431759_000655_zr"
QUADRANT = f"{EXPOSURE}_c13_o_q3"
# Several models and optimisers; relative to the copy of the workflow.
COMPARE = ("--configfile", "config/compare.yaml")
# A quick configuration.
TWO_FITS = """
fit_psf: {degree: 0}
compare_fits:
  fits:
    - {model: gaussian, optimiser: gauss_newton}
    - {model: gaussian, optimiser: tncg}
"""
STUB = """import sys
from pathlib import Path
for path in snakemake.output:
    Path(path).write_text(path)
sys.exit()
"""


class Run(NamedTuple):
    """How one call of Snakemake ended."""

    returncode: int
    text: str  # stdout and stderr
    cpu_s: float

    @property
    def jobs(self) -> dict[str, int]:
        """Number of jobs of each rule in the first job table."""
        _, _, table = self.text.partition("Job stats:\n")
        rows = re.findall(r"^(\w+) +(\d+)$", table.partition("\n\n")[0], re.MULTILINE)
        return {rule: int(n) for rule, n in rows if rule != "total"}

    @property
    def files(self) -> set[str]:
        """All files named as input or output of a job."""
        lines = re.findall(r"^    (?:input|output): (.*)$", self.text, re.MULTILINE)
        return {file for line in lines for file in line.split(", ")}


class Workflow(NamedTuple):
    """The workflow's files in `base`; it runs in `directory`."""

    base: Path
    directory: Path

    def run(self, *options: str, targets: Sequence[str] = ()) -> Run:
        """Call snakemake. Sheets and targets are relative to `directory`."""
        where = ("--snakefile", str(self.base / "Snakefile"), "--directory", str(self.directory))
        command = [sys.executable, "-m", "snakemake", *where, *options, "--", *targets]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.base)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Run(done.returncode, done.stdout + done.stderr, cpu_s)

    def dry_run(self, *options: str, targets: Sequence[str] = ()) -> Run:
        return self.run("--dry-run", *options, targets=targets)

    def write_sheet(self, rows: Iterable[str], name: str = "images.csv") -> str:
        """Write an image sheet into the working directory; returns the option that chooses it."""
        lines = ("image,sciimg,mskimg,catalogue", *rows, "")
        sheet = self.directory / name
        sheet.parent.mkdir(exist_ok=True)
        sheet.write_text("\n".join(lines))
        return f"images={name}"

    def write_images(self, names: Iterable[str]) -> list[str]:
        """Empty files for some images; returns their rows."""
        rows = []
        for name in names:
            for product in ("sciimg", "mskimg"):
                (self.directory / f"{name}_{product}.fits").touch()
            rows.append(f"{name},{name}_sciimg.fits,{name}_mskimg.fits,")
        return rows

    def replace_scripts(self) -> None:
        """Scripts that write their outputs and stop, before the real ones begin."""
        for script in (self.base / "scripts").glob("*.py"):
            script.write_text(STUB + script.read_text())


def copy_workflow(base: Path, directory: Path) -> Workflow:
    base.mkdir()
    directory.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, base / part, ignore=ignore)
        else:
            shutil.copy2(source, base / part)
    return Workflow(base, directory)
