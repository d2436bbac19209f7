"""Stamps of targets: those on the image, whole or in part, with what is masked."""

from pathlib import Path

import cut_targets as adapter
import numpy as np
import pandas as pd
import pytest
from quadrants import BAD_BITS, GAIN, IMAGE, READ_NOISE_ELECTRON, make_scene, write_scene
from ztfpsf.stamps import Stamps, open_stamps
from ztfpsf.stars.images import measure_sky, read_science_image
from ztfpsf.stars.sky import read_wcs, to_sky
from ztfpsf.stars.target_cutting import cut_targets

SIZE = 21
# Of an image of 440 x 360 px: in the middle, over a corner, and off it by half a pixel.
PLACES = {"middle": (200.2, 150.7), "corner": (3.4, 357.6), "off": (439.6, 100.0)}


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stamps, np.ndarray, pd.DataFrame]:
    """The stamps, the image, and the targets, one of them at the other end of the sky."""
    scene = make_scene()
    scene.mask[140:, 201] = 1 << 10
    folder = tmp_path_factory.mktemp("targets")
    image = read_science_image(*write_scene(scene, folder), BAD_BITS, 0.8)
    ra, dec = to_sky(read_wcs(image.header, image.path), *np.array(list(PLACES.values())).T)
    targets = pd.DataFrame({"target": list(PLACES), "ra_deg": ra, "dec_deg": dec})
    targets.loc[len(targets)] = ["elsewhere", (ra[0] + 180) % 360, -dec[0]]
    return cut_targets(IMAGE, image, measure_sky(image), targets, SIZE), image.data, targets


def test_targets_on_the_image_are_cut(cut: tuple[Stamps, np.ndarray, pd.DataFrame]) -> None:
    stamps, data, _ = cut
    assert list(stamps.stars["star_id"]) == ["middle", "corner"]
    expected = np.array([PLACES["middle"], PLACES["corner"]])
    assert np.abs(stamps.stars[["x_px", "y_px"]].to_numpy() - expected).max() < 1e-6
    corners = stamps.stars[["x0_px", "y0_px"]].to_numpy()
    assert corners.tolist() == [[190, 141], [-7, 348]]
    assert np.array_equal(stamps.data[0], data[141:162, 190:211])
    assert np.array_equal(stamps.data[1][:12, 7:], data[348:, :14])


def test_what_is_not_on_the_image_or_bad_is_masked(
    cut: tuple[Stamps, np.ndarray, pd.DataFrame],
) -> None:
    stamps, _, _ = cut
    expected = np.zeros((2, SIZE, SIZE), bool)
    expected[0, :, 11] = True
    expected[1, 12:], expected[1, :, :7] = True, True
    assert np.array_equal(stamps.mask.astype(bool), expected)
    assert np.isfinite(stamps.data).all()
    level = stamps.stars["sky_adu"].to_numpy() / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2
    assert np.allclose(stamps.variance[expected].min(), level.min(), rtol=0.01)


def test_rule_writes_images_without_targets_too(
    cut: tuple[Stamps, np.ndarray, pd.DataFrame], tmp_path: Path
) -> None:
    paths = write_scene(make_scene(), tmp_path)
    path = tmp_path / "targets.fits"
    names = [IMAGE, IMAGE.replace("q3", "q4")]
    adapter.cut_targets(
        images=names,
        paths_to_sciimg=[paths[0], str(tmp_path / "lost.fits")],
        paths_to_mskimg=[paths[1], ""],
        paths_to_varimg=["", ""],
        path_to_targets=str(path),
        targets=[tuple(row) for row in cut[2].itertuples(index=False)],
        size_px=SIZE,
        bad_mask_bits=BAD_BITS,
        saturation_fraction=0.8,
        subtracted_sky=None,
        max_failed_fraction=0.5,
    )
    found = open_stamps(path, "cut_targets")
    assert list(found.images["image"]) == names
    assert found.images["status"][0] == "ok"
    assert "lost.fits" in found.images["status"][1]
    assert np.array_equal(found.read(IMAGE).data, cut[0].data)
