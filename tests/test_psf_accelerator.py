"""What fits do on an accelerator, by processors that pose as one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from units import IMAGES, make_unit
from ztfpsf.psf.inputs.settings import FitSettings
from ztfpsf.psf.running import chunks, runs
from ztfpsf.psf.running.request import Products, Request
from ztfpsf.stamps import Stamps, open_stamps, write_stamps

ROOT = Path(__file__).parents[1]
NAMES = [f"ztf_2020092443176{k}_000655_zr_c13_o_q3" for k in range(8)]
# Two devices, each of which is taken for a GPU of 8 GB.
POSE = """
import json, sys
from types import SimpleNamespace
import jax
from ztfpsf.psf.device import configure
jax.config.update("jax_num_cpu_devices", 2)
configure("cpu")
from ztfpsf.psf.inputs.settings import FitSettings
from ztfpsf.psf.running import chunks, runs
from ztfpsf.psf.running.request import Request
from ztfpsf.stamps import open_stamps

gpu = SimpleNamespace(platform="gpu", memory_stats=lambda: {"bytes_limit": 8 * 10**9})
batches, used = [], []

def choose_batch(device, n_images):
    used.append(device.id)
    batches.append([n_images, *vars(chunks.choose_batch(gpu, n_images)).values()])
    return chunks.choose_batch(gpu, n_images)

runs.choose_batch = choose_batch
runs.largest_chunk = lambda request, file, _: chunks.largest_chunk(request, file, gpu)
path = sys.argv[1]
request = Request(path, "gaussian", "gauss_newton", {}, FitSettings(degree=1), "cpu")
outcomes = runs.fit_all(request, open_stamps(path), None, 2)
found = {image: outcome.psf.coefficients.tolist() for image, outcome in outcomes.items()}
print(json.dumps([batches, used, found]))
"""


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Request:
    """Eight images of 30 stars."""
    path = tmp_path_factory.mktemp("unit") / "stamps.fits"
    made = make_unit(path, "gaussian")
    good = (made.stars["image"] == IMAGES[0]).to_numpy()
    stamps = Stamps(
        pd.concat([made.images.iloc[[0]].assign(image=name) for name in NAMES], ignore_index=True),
        pd.concat([made.stars[good].assign(image=name) for name in NAMES], ignore_index=True),
        *(np.concatenate([part[good]] * len(NAMES)) for part in made[2:]),
    )
    write_stamps(stamps, path, {"version": "0", "inputs": [], "settings": {}})
    settings = FitSettings(degree=1)
    return Request(str(path), "gaussian", "gauss_newton", {}, settings, "cpu")


def pose(memory_bytes: float) -> SimpleNamespace:
    return SimpleNamespace(platform="gpu", memory_stats=lambda: {"bytes_limit": int(memory_bytes)})


@pytest.mark.parametrize("n_images", [1, 3, 100])
def test_a_chunk_fills_the_memory_it_may_have(request_: Request, n_images: int) -> None:
    file = open_stamps(request_.path_to_stamps)
    n_stars = int(file.stars.groupby("image").size().max())
    one = chunks.image_bytes(request_, n_stars, file.size_px)
    memory = one * (n_images + 0.5) / chunks.MEMORY_FRACTION
    assert chunks.largest_chunk(request_, file, pose(memory)) == n_images


def test_a_small_device_fits_single_images(request_: Request) -> None:
    file = open_stamps(request_.path_to_stamps)
    assert chunks.largest_chunk(request_, file, pose(1e3)) == 1


def test_an_accelerator_works_on_all_images_of_a_chunk_at_once() -> None:
    for n_images in chunks.CHUNK_SIZES:
        batch = chunks.choose_batch(pose(1e9), n_images)
        assert batch.problems == n_images
        assert batch.stars * n_images >= chunks.GPU_STARS


def test_two_posing_devices_find_what_one_processor_finds(request_: Request) -> None:
    path = request_.path_to_stamps
    done = subprocess.run(
        [sys.executable, "-c", POSE, path],
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    batches, used, found = json.loads(done.stdout)
    # Four images on each device.
    assert batches == 2 * [[4, chunks.GPU_STARS // 4, 4]]
    assert sorted(used) == [0, 1]
    (alone,) = runs.fit_chunk(request_, chunks.ChunkPlan((NAMES[0],), 1), 1).values()
    assert isinstance(alone, Products)
    for coefficients in found.values():
        np.testing.assert_allclose(coefficients, alone.psf.coefficients, rtol=1e-7, atol=1e-9)
