"""Commands of Snakemake in the documents plan something."""

import re
import shlex

import pytest
from workflow_copy import QUADRANT, ROOT, Workflow

DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "config" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
)
NIGHT = "20200924"
FRAMES = f"ztf_{NIGHT}300000_000655_zr_c13_o.fits.fz"


def commands() -> list[str]:
    """Commands in blocks of code and in tables that run something, each once."""
    text = "\n".join(document.read_text() for document in DOCUMENTS)
    found = re.findall(r"^snakemake .*$|(?<=`)snakemake [^`]*(?=`)", text, re.M)
    stays = ("--unlock", "--report", "--lint", "<folder>", "-n -q rules")
    return sorted({line for line in found if not any(word in line for word in stays)})


def test_commands_are_found() -> None:
    assert len(commands()) >= 7


@pytest.mark.parametrize("command", commands())
def test_command_plans_its_jobs(workflow: Workflow, command: str) -> None:
    directory = workflow.directory
    for name in ("mine.csv", "night.csv"):
        workflow.write_sheet(workflow.write_images([QUADRANT]), name)
    # Snakemake looks for it where it is called.
    (workflow.base / "mine.yaml").write_text("select_stars: {magnitude_max_mag: 19.0}\n")
    (directory / "targets.csv").write_text(
        "target,ra_deg,dec_deg,mjd_min,mjd_max\nSN2020abc,57.9974,35.7463,59110,59250\n"
    )
    (directory / "frames.csv").write_text(f"path\n{FRAMES}\n")
    (directory / FRAMES).touch()
    words = [
        # Files of the workflow, which the user's directory need not hold.
        str(workflow.base / word) if word.startswith(("profiles/", "config/")) else word
        for word in shlex.split(command)[1:]
    ]
    run = workflow.run("--dry-run", *words)
    assert run.returncode == 0, run.text
    assert run.jobs, run.text
