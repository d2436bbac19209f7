"""Masters in small: blocks of good pixels, numbers of quadrants, the file, differences."""

from pathlib import Path

import numpy as np
import pytest
from ztfpsf.calibration.binned import (
    BLOCKS,
    bin_ccds,
    bin_pixels,
    read_binned,
    subtract,
    write_binned,
)
from ztfpsf.calibration.failed import write_failed_master
from ztfpsf.calibration.products import MasterQuadrant, master_writer
from ztfpsf.errors import InputError

SHAPE = (2 * BLOCKS, 70)
PROVENANCE = {"version": "1", "inputs": [], "settings": {}}


def write_master(path: Path, level: float, ccdid: int = 6) -> Path:
    """A bias of `level` + qid, whose first pixel is bad."""
    cards = [("IMGTYPE", "bias", ""), ("CCDID", ccdid, ""), ("NIGHT", "20200401", "")]
    own = [("OVSMED", 120.5, ""), ("NOISEADU", 1.5, ""), ("GAIN", 6.0, ""), ("NFRAMES", 5, "")]
    with master_writer(path, cards, PROVENANCE) as write:
        for qid in (1, 2, 3, 4):
            data, mask = np.full(SHAPE, level + qid, np.float32), np.zeros(SHAPE, np.int16)
            data[0, 0], mask[0, 0] = 1e6, 1
            planes = np.ones(SHAPE, np.float32), np.full(SHAPE, 5, np.uint8), mask
            write(qid, MasterQuadrant(data, *planes, cards=own))
    return path


def test_blocks_are_means_of_good_pixels() -> None:
    rng = np.random.default_rng(1)
    pixels, good = rng.normal(size=(25, 17)), rng.random((25, 17)) > 0.3
    good[:8, :8], good[24, 16] = False, True
    found = bin_pixels(pixels, good, 8)
    assert found.shape == (4, 3)
    assert np.isnan(found[0, 0])
    for i, j in ((1, 1), (3, 2), (0, 2)):
        block = np.s_[8 * i : 8 * i + 8, 8 * j : 8 * j + 8]
        assert found[i, j] == pytest.approx(pixels[block][good[block]].mean(), abs=1e-6)


def test_masters_of_a_focal_plane(tmp_path: Path) -> None:
    failed = tmp_path / "failed.fits"
    cards = [("IMGTYPE", "bias", ""), ("CCDID", 7, "")]
    write_failed_master(failed, cards, SHAPE, "no frame can be used", PROVENANCE)
    binned = bin_ccds([write_master(tmp_path / "one.fits", 10.0), failed], "bias", [6, 7], {})
    assert binned.pixels.shape == (8, BLOCKS, 35)
    write_binned(binned, tmp_path / "binned.fits", PROVENANCE)
    table, pixels = read_binned(tmp_path / "binned.fits")
    assert list(table["ccdid"]) == [6] * 4 + [7] * 4
    assert list(table["median"][:4]) == [11.0, 12.0, 13.0, 14.0]
    assert list(table["rms"][:4]) == [0.0] * 4
    assert list(table["read_noise_electron"][:4]) == [9.0] * 4
    assert list(table["overscan_adu"][:4]) == [120.5] * 4
    assert (table["status"][:4] == "ok").all()
    assert (table["status"][4:] == "no frame can be used").all()
    assert (pixels[2] == 13.0).all()
    assert np.isnan(pixels[4:]).all()


def test_flats_are_relative_to_the_focal_plane(tmp_path: Path) -> None:
    path = write_master(tmp_path / "one.fits", 0.0)
    assert list(bin_ccds([path], "bias", [6], {6: 0.5}).quadrants["median"]) == [0.5, 1.0, 1.5, 2.0]


def test_difference_is_that_of_the_same_quadrants(tmp_path: Path) -> None:
    paths = [
        write_master(tmp_path / f"{ccdid}.fits", level, ccdid) for ccdid, level in ((6, 10), (8, 3))
    ]
    late = bin_ccds(paths, "bias", [6, 8], {})
    early = bin_ccds([write_master(tmp_path / "early.fits", 8.0, 8)], "bias", [8], {})
    difference = subtract(late, early).pixels
    assert np.isnan(difference[:4]).all()
    assert (difference[4:] == -5.0).all()


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make it again with the rule bin_masters"):
        read_binned(write_master(tmp_path / "master.fits", 1.0))
