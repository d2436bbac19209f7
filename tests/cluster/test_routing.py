"""The demo through the profile of CC-IN2P3: which job ran where, with what."""

from collections import Counter

import pytest
from cluster_demo import Demo
from private_slurm import ACCOUNT
from slurm_files import GPU, HTC

pytestmark = pytest.mark.cluster
GPU_RULES = {"fit_psf", "measure_photometry"}
LIMITS = {"gpu": ("8000M", "02:00:00"), "htc": ("4000M", "01:00:00")}


def rule_of(job: dict[str, str]) -> str:
    return job["Comment"].partition("_wildcards_")[0].removeprefix("rule_")


def test_every_job_ran_once(undisturbed: Demo) -> None:
    jobs = undisturbed.jobs()
    rules = Counter(
        compare_fits=1,
        cut_stamps=1,
        fit_psf=2,
        measure_photometry=1,
        plot_psf=1,
        select_stars=1,
        validate_psf=1,
    )
    assert Counter(map(rule_of, jobs)) == rules
    assert {job["State"] for job in jobs} == {"COMPLETED"}


def test_fits_ran_on_a_v100_and_all_else_on_htc(undisturbed: Demo) -> None:
    for job in undisturbed.jobs():
        is_fit = rule_of(job) in GPU_RULES
        assert job["Partition"] == ("gpu" if is_fit else "htc"), job
        assert job["NodeList"] in (GPU if is_fit else HTC), job
        assert ("gres/gpu:v100=1" in job["AllocTRES"].split(",")) == is_fit, job
        assert ("gpu" in job["AllocTRES"]) == is_fit, job


def test_every_job_has_account_licence_memory_and_time(undisturbed: Demo) -> None:
    for job in undisturbed.jobs():
        assert job["Account"] == ACCOUNT
        assert "license/sps=1" in job["AllocTRES"].split(","), job
        assert (job["ReqMem"], job["Timelimit"]) == LIMITS[job["Partition"]], job


def test_controller_and_queue_say_the_same(undisturbed: Demo) -> None:
    listed = undisturbed.slurm.call("squeue", "--states=all", "--noheader", "--format=%i %P %b %W")
    queue = {line.split()[0]: line.split()[1:] for line in listed.splitlines()}
    for job in undisturbed.jobs():
        gres = "gres:gpu:v100:1" if job["Partition"] == "gpu" else "N/A"
        partition, gres_asked, licences = queue[job["JobID"]]
        assert (partition, gres_asked) == (job["Partition"], gres)
        assert licences.partition(":")[0] == "sps"
        shown = undisturbed.slurm.call("scontrol", "show", "job", job["JobID"]).split()
        assert {f"NodeList={job['NodeList']}", "Requeue=0"} <= set(shown)
        assert (f"TresPerNode={gres}" in shown) == (gres != "N/A")


def test_logs_are_kept(undisturbed: Demo) -> None:
    logs = (undisturbed.directory / "logs" / "slurm").rglob("*.log")
    assert {log.stem for log in logs} == {job["JobID"] for job in undisturbed.jobs()}
