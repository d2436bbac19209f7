"""All images of a stamps file: chunks, progress, other processes, devices, compiled code."""

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from units import IMAGES, make_unit
from ztfpsf.errors import InputError
from ztfpsf.psf.device import is_gpu
from ztfpsf.psf.inputs.settings import FitSettings
from ztfpsf.psf.running import chunks, dask_cluster, runs
from ztfpsf.psf.running.request import Request
from ztfpsf.stamps import open_stamps, read_stamps

SCRIPTS = Path(__file__).parents[1] / "scripts"
SETTINGS = FitSettings(degree=1)


@pytest.fixture(scope="module")
def request_(tmp_path_factory) -> Request:
    path = tmp_path_factory.mktemp("unit") / "stamps.fits"
    make_unit(path, "gaussian")
    return Request(str(path), "gaussian", "gauss_newton", {}, SETTINGS, "cpu")


def test_pixels_of_one_image_are_read(request_) -> None:
    file, whole = open_stamps(request_.path_to_stamps), read_stamps(request_.path_to_stamps)
    for image in file.images["image"]:
        part, mine = file.read(image), (whole.stars["image"] == image).to_numpy()
        pd.testing.assert_frame_equal(part.stars, whole.stars[mine])
        for name in ("data", "variance", "mask"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[mine])
            assert getattr(part, name).dtype == getattr(whole, name).dtype


def test_missing_pixels_are_told(request_, tmp_path) -> None:
    path = tmp_path / "stamps.fits"
    path.write_bytes(Path(request_.path_to_stamps).read_bytes()[:60_000])
    with pytest.raises(InputError, match="not a complete FITS file"):
        open_stamps(path).read("ztf_20200924431759_000655_zr_c13_o_q2")


@pytest.mark.parametrize(
    ("n_images", "largest", "expected"),
    [(1, 64, 1), (2, 64, 1), (3, 64, 4), (4, 64, 4), (9, 64, 16), (300, 64, 64), (7, 1, 1)],
)
def test_chunks_are_filled_by_more_than_half(n_images, largest, expected) -> None:
    assert chunks.choose_chunk(n_images, largest) == expected


def test_plan_holds_every_image_once(request_) -> None:
    file = open_stamps(request_.path_to_stamps)
    plans = chunks.plan_chunks(file, request_, n_devices=1, largest=4)
    planned = [image for plan in plans for image in plan.images]
    assert sorted(planned) == sorted(file.images.loc[file.images["status"] == "ok", "image"])
    # The two images of 30 stars are alike, that of one star is not.
    assert sorted(len(plan.images) for plan in plans) in ([1, 1, 1], [1, 2])
    assert all(len(plan.images) <= plan.n_images for plan in plans)
    assert len(chunks.plan_chunks(file, request_, n_devices=3, largest=64)) == 3


def test_memory_of_a_chunk_grows_with_its_images(request_) -> None:
    few, many = (chunks.image_bytes(request_, n, 25) for n in (300, 600))
    gridded = chunks.image_bytes(request_._replace(model="moffat_grid"), 300, 25)
    # Stamps of 300 stars in double precision are 1.5 MB.
    assert 1.5e6 * 5 < few < many < 2 * few < gridded


def test_progress_tells_images_stars_and_time_left(request_, caplog) -> None:
    file = open_stamps(request_.path_to_stamps)
    with caplog.at_level("INFO", logger="ztfpsf"):
        outcomes = runs.fit_all(request_, file, None, 1)
    assert list(outcomes) == list(file.images["image"])
    lines = [line for line in caplog.messages if line.endswith("s left")]
    assert lines[-1].startswith("3 of 3 images, 61 stars, ")
    assert lines[-1].endswith(", 0 s left")
    assert "24 stars fitted" in caplog.text


def test_an_error_nobody_foresaw_fails_its_image_alone(request_, monkeypatch) -> None:
    file = open_stamps(request_.path_to_stamps)
    whole, tabulate = runs.fit_all(request_, file, None, 1), runs._tabulate

    def fail_first(part, stamps, *rest):
        return 1 / 0 if stamps.image == IMAGES[0] else tabulate(part, stamps, *rest)

    monkeypatch.setattr(runs, "_tabulate", fail_first)
    outcomes = runs.fit_chunk(request_, chunks.ChunkPlan(tuple(IMAGES[:2]), 2), 1)
    assert list(outcomes) == IMAGES[:2]
    assert str(outcomes[IMAGES[0]]).startswith(
        f"{IMAGES[0]}: an error that ztfpsf does not expect (ZeroDivisionError: division by zero)"
    )
    assert outcomes[IMAGES[1]].psf.coefficients == pytest.approx(
        whole[IMAGES[1]].psf.coefficients, rel=1e-9
    )


def test_other_processes_find_the_same(request_) -> None:
    """What a Dask worker does, by the standard library's executor."""
    file = open_stamps(request_.path_to_stamps)
    here = runs.fit_all(request_, file, None, 1)
    context = multiprocessing.get_context("spawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(SCRIPTS))
        there = runs.fit_all(request_, file, ProcessPoolExecutor(1, context), 1)
    assert list(here) == list(there)
    for image, outcome in here.items():
        if isinstance(outcome, InputError):
            assert str(there[image]) == str(outcome)
        else:
            np.testing.assert_allclose(
                there[image].psf.coefficients, outcome.psf.coefficients, rtol=1e-9, atol=1e-12
            )


def test_a_missing_dask_is_told(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match="the package distributed is not installed"):
        dask_cluster.connect("tcp://localhost:1")


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    handed = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
    inherited = {key: value for key, value in os.environ.items() if key not in handed}
    environment = inherited | {"PYTHONPATH": str(SCRIPTS)} | environment
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_gpu_that_jax_does_not_find_is_an_error() -> None:
    code = "from ztfpsf.psf.device import configure; print(configure('{}'))"
    # The processor is all that JAX is shown here.
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS"):
        done = run_python(code.format("auto"), JAX_PLATFORMS="cpu", **{name: "0"})
        assert f"this job has a GPU ({name}=0) and JAX finds none" in done.stderr
    done = run_python(code.format("auto"), JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="-1")
    assert done.stdout.startswith("cpu"), done.stderr
    done = run_python(code.format("cpu"), CUDA_VISIBLE_DEVICES="0")
    assert done.stdout.startswith("cpu"), done.stderr


def test_lists_of_gpus() -> None:
    assert [is_gpu(text) for text in ("", "-1", "NoDevFiles", "0", "1,2", "GPU-8932f937")] == [
        *[False] * 3,
        *[True] * 3,
    ]


def test_memory_is_not_taken_beforehand_and_each_core_fits() -> None:
    code = (
        "import os; from ztfpsf.psf.device import configure; configure('cpu'); "
        "from ztfpsf.psf.running.runs import list_places; places = list_places(3); "
        "print(os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'], len(places), len(set(places)))"
    )
    assert run_python(code).stdout.split() == ["false", "3", "1"]
    assert run_python(code, XLA_PYTHON_CLIENT_PREALLOCATE="true").stdout.split()[0] == "true"


FIT = """
import jax
misses = []
jax.monitoring.register_event_listener(
    lambda event, **_: misses.append(event) if event.endswith("cache_misses") else None
)
from ztfpsf.psf.device import configure
configure("cpu")
from ztfpsf.psf.running.request import Request
from ztfpsf.psf.running.runs import fit_all, open_stamps
from ztfpsf.psf.inputs.settings import FitSettings
request = Request({path!r}, "gaussian", "gauss_newton", {{}}, FitSettings(degree=1), "cpu")
fit_all(request, open_stamps(request.path_to_stamps), None, 2)
print(len(misses))
"""


def test_a_second_process_compiles_nothing(request_, tmp_path) -> None:
    code = FIT.format(path=request_.path_to_stamps)
    counts = [int(run_python(code, XDG_CACHE_HOME=str(tmp_path)).stdout) for _ in range(2)]
    assert counts[0] > 5
    assert counts[1] == 0
