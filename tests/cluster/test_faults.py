"""What goes wrong on a cluster, in jobs of copies of the undisturbed run that make products again.

The results must be the undisturbed ones, and nothing half-written may be taken for done.
"""

import time
from pathlib import Path

import pytest
from cluster_demo import UNIT, Demo, wait_for
from products import differing

pytestmark = [pytest.mark.cluster, pytest.mark.faults]

# Long enough that Snakemake asks meanwhile, and in vain.
OUTAGE_S = 30

PRODUCTS = {
    "select_stars": f"results/select_stars/{UNIT}_stars.parquet",
    "cut_stamps": f"results/cut_stamps/{UNIT}_stamps.fits",
    "fit_psf": f"results/fit_psf/gaussian/tncg/{UNIT}_stars.parquet",
    "plot_psf": f"results/plot_psf/gaussian/gauss_newton/{UNIT}_chi2.png",
    "compare_fits": f"results/compare_fits/{UNIT}_summary.txt",
}
# A fault of faults.py, and the rule whose job meets it.
DISTURBANCES = {
    "head_down": ("hang", "compare_fits"),
    "out_of_time": ("hang", "plot_psf"),
    "disk_full": ("fill_disk", "select_stars"),
    "out_of_memory": ("need_memory", "cut_stamps"),
    "snakemake_killed": ("hang", "fit_psf"),
    "node_killed": ("hang", "fit_psf"),
}


class Runs:
    """Copies of the undisturbed run, each with its fault."""

    def __init__(self, undisturbed: Demo, folder: Path) -> None:
        self.undisturbed, self.folder = undisturbed, folder
        self.demos, self.processes = {}, {}

    def start(self, name: str) -> Demo:
        """Lose the products of a rule, and let Snakemake make them again."""
        demo = self.undisturbed.copy(self.folder / name)
        fault, rule = DISTURBANCES[name]
        for path in (demo.directory / PRODUCTS[rule]).parent.iterdir():
            path.unlink()
        (demo.directory / "fault").write_text(f"{fault} {rule}")
        self.demos[name] = demo
        self.restart(name)
        return demo

    def restart(self, name: str) -> None:
        target = PRODUCTS[DISTURBANCES[name][1]]
        self.processes[name] = self.demos[name].start(targets=[target])

    def wait(self, name: str) -> None:
        assert self.processes[name].wait(timeout=240) == 0, self.demos[name].text()


@pytest.fixture(scope="module")
def disturbed(undisturbed: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Demo]:
    """All runs after their end. They overlap: most of the time is spent waiting."""
    runs = Runs(undisturbed, tmp_path_factory.mktemp("disturbed"))
    try:
        disturb(runs)
    finally:
        for process in runs.processes.values():
            process.kill()
            process.wait()
    return runs.demos


def disturb(runs: Runs) -> None:
    demos = [runs.start(name) for name in ("head_down", "out_of_time")]
    for demo in demos:
        demo.wait_for_job()
    restart_head(demos[0])
    limit_time(demos[1])
    runs.start("disk_full")
    runs.start("out_of_memory")
    kill_snakemake(runs)
    kill_node(runs.start("node_killed"))
    for name in runs.processes:
        runs.wait(name)


def limit_time(demo: Demo) -> None:
    """Leave the job that hangs one minute, the least that SLURM knows."""
    demo.slurm.call("scontrol", "update", f"JobId={demo.jobs()[0]['JobID']}", "TimeLimit=1")


def kill_snakemake(runs: Runs) -> None:
    """Its job runs on; a second one makes the same files meanwhile, and the first ends last."""
    demo = runs.start("snakemake_killed")
    demo.wait_for_job()
    runs.processes["snakemake_killed"].kill()
    runs.processes["snakemake_killed"].wait()
    assert demo.run("--unlock") == 0, demo.text()
    runs.restart("snakemake_killed")
    runs.wait("snakemake_killed")
    assert [job["State"] for job in demo.jobs()] == ["RUNNING", "COMPLETED"]
    demo.release()
    wait_for(lambda: demo.jobs()[0]["State"] == "COMPLETED", "the first job of", demo.directory)


def kill_node(demo: Demo) -> None:
    demo.wait_for_job()
    # One of four products is there, another under a name of its own.
    folder = (demo.directory / PRODUCTS["fit_psf"]).parent
    assert sorted(path.suffix for path in folder.iterdir()) == [".fits", ".part"]
    demo.slurm.kill_node(demo.jobs()[0]["NodeList"])


def restart_head(demo: Demo) -> None:
    """Controller and accounting answer nothing for a while; the job runs on."""
    demo.slurm.kill_head()
    time.sleep(OUTAGE_S)
    demo.slurm.start_head()
    demo.release()


@pytest.mark.parametrize("name", DISTURBANCES)
def test_results_are_those_of_the_undisturbed_run(
    undisturbed: Demo, disturbed: dict[str, Demo], name: str
) -> None:
    assert differing(disturbed[name].results, undisturbed.results) == []


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("disk_full", ["FAILED", "COMPLETED"]),
        ("out_of_time", ["TIMEOUT", "COMPLETED"]),
        ("node_killed", ["NODE_FAIL", "COMPLETED"]),
        ("snakemake_killed", ["COMPLETED", "COMPLETED"]),
        ("head_down", ["COMPLETED"]),
    ],
)
def test_job_is_tried_again(disturbed: dict[str, Demo], name: str, states: list[str]) -> None:
    assert [job["State"] for job in disturbed[name].jobs()] == states, disturbed[name].text()


def test_more_memory_at_the_second_try(disturbed: dict[str, Demo]) -> None:
    jobs = disturbed["out_of_memory"].jobs()
    # A limit that is sampled ends a job as failed.
    assert jobs[0]["State"] in ("OUT_OF_MEMORY", "FAILED")
    assert jobs[1]["State"] == "COMPLETED"
    assert [job["ReqMem"] for job in jobs] == ["4000M", "8000M"]


def test_more_time_at_the_second_try(disturbed: dict[str, Demo]) -> None:
    assert disturbed["out_of_time"].jobs()[1]["Timelimit"] == "02:00:00"


def test_another_node_at_the_second_try(disturbed: dict[str, Demo]) -> None:
    first, second = disturbed["node_killed"].jobs()
    assert first["NodeList"] != second["NodeList"]


def test_full_disk_is_told(disturbed: dict[str, Demo]) -> None:
    demo = disturbed["disk_full"]
    (log,) = (demo.directory / "logs" / "slurm").rglob(f"{demo.jobs()[0]['JobID']}.log")
    assert "File too large" in log.read_text()


def test_second_writer_leaves_nothing_to_do(disturbed: dict[str, Demo]) -> None:
    demo = disturbed["snakemake_killed"]
    assert demo.run("--dry-run", targets=[PRODUCTS["fit_psf"]]) == 0
    assert "Nothing to be done" in demo.text()
