"""The whole workflow on small synthetic quadrants, one of them good, the others not."""

from pathlib import Path

import numpy as np
from quadrants import make_scene, write_scene
from workflow_copy import EXPOSURE, TWO_FITS, Run, Workflow, copy_workflow

CCD = f"{EXPOSURE}_c13_o"
GOOD, TRUNCATED, BLANK, SATURATED = (f"{CCD}_q{q}" for q in (3, 1, 2, 4))
LOST = f"{EXPOSURE}_c14_o_q1"
CONFIG = f"""
select_stars: {{magnitude_max_mag: 18.0}}
cut_stamps: {{size_px: 15}}
{TWO_FITS}"""


def options(directory: Path) -> tuple[str, ...]:
    """The configuration of these tests, written into the working directory."""
    path = directory / "config.yaml"
    path.write_text(CONFIG)
    return ("--cores", "2", "--scheduler", "greedy", "--keep-going", "--configfile", str(path))


def write_inputs(directory: Path) -> list[str]:
    """Four quadrants; returns the rows of the image sheet, one of them without its file."""
    rows = []
    for name in (GOOD, TRUNCATED, BLANK, SATURATED):
        scene = make_scene(seed=int(name[-1]))
        if name == BLANK:
            scene = scene._replace(data=np.full_like(scene.data, np.nan))
        if name == SATURATED:
            scene.header["SATURATE"] = 200.0
        paths = write_scene(scene, directory, name)
        rows.append(f"{name},{paths[0]},{paths[1]},")
        if name == TRUNCATED:
            with open(paths[0], "r+b") as file:
                file.truncate(100_000)
    return [*rows, f"{LOST},{directory}/lost_sciimg.fits,,"]


def row_of(workflow: Workflow, image: str) -> str:
    path = workflow.directory / image
    return f"{image},{path}_sciimg.fits,{path}_mskimg.fits,"


def run_all(folder: Path) -> tuple[Workflow, Run]:
    """A run over all quadrants in a copy of the workflow."""
    workflow = copy_workflow(folder / "workflow", folder / "run")
    sheet = workflow.write_sheet(write_inputs(workflow.directory))
    return workflow, workflow.run(*options(workflow.directory), "--config", sheet)
