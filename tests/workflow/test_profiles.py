"""What the profile of a cluster asks of SLURM for each rule; a dry run tells, without a SLURM."""

import re
from collections.abc import Sequence

import pytest
import yaml
from workflow_copy import ROOT, Workflow

PROFILE = yaml.safe_load((ROOT / "profiles" / "ccin2p3" / "config.yaml").read_text())
GPU_RULES = {"fit_psf", "measure_photometry", "time_fits", "extract_lightcurve"}
# They run where Snakemake runs.
LOCAL_RULES = {"all", "fetch_sample"}
JOB = re.compile(r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    resources: (.*)$", re.MULTILINE)


def planned(
    workflow: Workflow, *options: str, targets: Sequence[str] = ()
) -> list[tuple[str, dict[str, str]]]:
    """Rule and resources of every job that SLURM would get."""
    run = workflow.dry_run("--profile", "profiles/ccin2p3", *options, targets=targets)
    assert run.returncode == 0, run.text
    jobs = [
        (rule, dict(pair.split("=", 1) for pair in resources.split(", ")))
        for rule, resources in JOB.findall(run.text)
    ]
    assert {rule for rule, _ in jobs} == set(run.jobs)
    return [job for job in jobs if job[0] not in LOCAL_RULES]


@pytest.mark.parametrize("configuration", ["minimal", "simulation"])
def test_fits_go_to_a_v100_and_all_else_to_htc(workflow: Workflow, configuration: str) -> None:
    path = workflow.base / "config" / f"{configuration}.yaml"
    jobs = planned(workflow, "--configfile", str(path))
    jobs += planned(workflow, targets=["results/time_fits/fits_seconds.parquet"])
    series = str(workflow.base / "config" / "lightcurve.yaml")
    light_curve = "results/extract_lightcurve/SIM1_zr_lightcurve.parquet"
    jobs += planned(workflow, "--configfile", series, targets=[light_curve])
    assert {rule for rule, _ in jobs} >= GPU_RULES | {"select_stars", "plot_psf"}
    for rule, resources in jobs:
        is_fit = rule in GPU_RULES
        assert resources["slurm_partition"] == ("gpu" if is_fit else "htc"), rule
        assert resources.get("gres") == ("gpu:v100:1" if is_fit else None), rule
        assert resources["slurm_account"] == "ztf"
        assert resources["slurm_extra"] == "--licenses=sps"


def test_rules_with_the_environment_of_a_gpu_are_known() -> None:
    texts = "\n".join(file.read_text() for file in (ROOT / "rules").glob("*.smk"))
    blocks = re.split(r"^rule (\w+):$", texts, flags=re.MULTILINE)[1:]
    found = {
        name
        for name, block in zip(blocks[::2], blocks[1::2], strict=True)
        if "envs/cuda12.yaml" in block
    }
    assert found == GPU_RULES


def test_memory_and_time_grow_with_the_attempt() -> None:
    blocks = [PROFILE["default-resources"], *PROFILE["set-resources"].values()]
    for name in ("mem_mb", "runtime"):
        values = [block[name] for block in blocks if name in block]
        assert values
        assert all(re.fullmatch(r"\d+ \* attempt", value) for value in values)
    assert PROFILE["retries"] > 0


def test_rules_of_the_profile_exist(workflow: Workflow) -> None:
    rules = set(workflow.run("--list-rules").text.split())
    assert {*PROFILE["set-resources"], *PROFILE["set-threads"]} <= rules


def test_all_resources_are_in_the_profile_of_the_site() -> None:
    # Snakemake loads profiles/default unasked; its resources would replace those of the site.
    assert not (ROOT / "profiles" / "default").exists()
    test = yaml.safe_load((ROOT / "profiles" / "test-slurm" / "config.yaml").read_text())
    assert not {"default-resources", "set-resources", "set-threads"} & set(test)
    for file in (ROOT / "rules").glob("*.smk"):
        assert not re.search(r"mem_mb|runtime|slurm_", file.read_text()), file
