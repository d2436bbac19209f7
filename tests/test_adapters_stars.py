"""The functions behind select_stars and cut_stamps, from files to files."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from cut_stamps import cut_stamps
from quadrants import BAD_BITS, SETTINGS, SKY_ADU, make_scene, write_scene
from select_stars import select_stars
from ztfpsf.errors import InputError
from ztfpsf.io import read_json, read_provenance
from ztfpsf.stamps import read_stamps
from ztfpsf.stars.selection import COLUMNS
from ztfpsf.stars.sky import read_wcs, to_sky

EXPOSURE = "ztf_20200924431759_000655_zr_c13_o"


class Unit:
    """A unit of images in a directory, run through both rules."""

    def __init__(self, directory):
        self.directory = directory
        self.images, self.sciimg, self.mskimg = [], [], []
        self.catalogues = self.varimg = None
        self.catalogue = {"kind": "detection", "path": None}
        self.settings = SETTINGS
        self.stars, self.counts, self.stamps = (
            str(directory / name) for name in ("stars.parquet", "counts.json", "stamps.fits")
        )

    def add(self, scene):
        name = f"{EXPOSURE}_q{len(self.images) + 1}"
        paths = write_scene(scene, self.directory, name)
        self.images.append(name)
        self.sciimg.append(paths[0])
        self.mskimg.append(paths[1])
        return paths

    def select(self, max_failed_fraction=0.0):
        select_stars(
            images=self.images,
            paths_to_sciimg=self.sciimg,
            paths_to_mskimg=self.mskimg,
            paths_to_catalogue=self.catalogues or [""] * len(self.images),
            path_to_stars=self.stars,
            path_to_counts=self.counts,
            catalogue=self.catalogue,
            settings=self.settings,
            size_px=21,
            max_failed_fraction=max_failed_fraction,
        )
        return pd.read_parquet(self.stars), read_json(self.counts, "select_stars")

    def cut(self, max_failed_fraction=0.0):
        cut_stamps(
            images=self.images,
            paths_to_sciimg=self.sciimg,
            paths_to_mskimg=self.mskimg,
            paths_to_varimg=self.varimg or [""] * len(self.images),
            path_to_stars=self.stars,
            path_to_counts=self.counts,
            path_to_stamps=self.stamps,
            size_px=21,
            bad_mask_bits=BAD_BITS,
            saturation_fraction=0.8,
            subtracted_sky=None,
            max_failed_fraction=max_failed_fraction,
        )
        return read_stamps(self.stamps)


@pytest.fixture
def unit(tmp_path):
    return Unit(tmp_path)


def test_two_images_become_one_table_and_one_file(unit, caplog):
    for seed in (1, 2):
        unit.add(make_scene(seed))
    with caplog.at_level(logging.INFO, "ztfpsf"):
        table, counts = unit.select()
        stamps = unit.cut()
    assert list(table.columns) == list(COLUMNS)
    assert table["image"].unique().tolist() == unit.images
    assert list(counts) == unit.images
    for image in unit.images:
        kept = table[(table["image"] == image) & (table["reason"] == "")]
        record = counts[image]
        assert record["status"] == "ok"
        assert record["kept"] == len(kept) == 80
        assert record["reserved"] == kept["is_reserved"].sum()
        assert sum(record["rejected"].values()) + 80 == (table["image"] == image).sum()
    expected = table[table["reason"] == ""]
    assert stamps.stars["star_id"].tolist() == expected["star_id"].tolist()
    assert stamps.stars["is_reserved"].tolist() == expected["is_reserved"].tolist()
    assert stamps.images["image"].tolist() == unit.images
    assert stamps.images["status"].tolist() == ["ok", "ok"]
    assert stamps.images["sky_adu"].to_numpy() == pytest.approx(SKY_ADU, abs=1)
    assert stamps.data.shape == (160, 21, 21)
    assert f"1/2 {unit.images[0]}: kept 80 of" in caplog.text
    assert f"2/2 {unit.images[1]}: 80 stamps" in caplog.text
    assert read_provenance(unit.stars)["settings"]["select_stars"] == SETTINGS
    assert read_provenance(unit.stamps)["settings"]["size_px"] == 21


def test_same_input_same_bytes_of_numbers(unit):
    unit.add(make_scene(1))
    first, _ = unit.select()
    second, _ = unit.select()
    pd.testing.assert_frame_equal(first, second)


def test_a_bad_image_does_not_stop_the_others(unit):
    unit.add(make_scene(1))
    bad = make_scene(2)
    del bad.header["GAIN"]
    path, _ = unit.add(bad)
    table, counts = unit.select(max_failed_fraction=0.5)
    sentence = (
        f"{path}: header keyword GAIN is missing; a finite number is needed: add it to the header."
    )
    assert counts[unit.images[1]] == {"status": sentence, "kept": 0, "reserved": 0, "rejected": {}}
    assert table["image"].unique().tolist() == unit.images[:1]
    stamps = unit.cut(max_failed_fraction=0.5)
    assert stamps.images["status"].tolist() == ["ok", sentence]
    assert stamps.stars["image"].unique().tolist() == unit.images[:1]
    with pytest.raises(InputError, match="1 of 2 images failed, more than max_failed_fraction"):
        unit.cut()


def test_image_that_breaks_between_the_rules(unit):
    for seed in (1, 2):
        unit.add(make_scene(seed))
    unit.select()
    unit.add(make_scene(3)._replace(data=np.full((360, 440), np.nan, np.float32)))
    unit.sciimg[1] = unit.sciimg.pop()
    unit.mskimg.pop()
    unit.images.pop()
    stamps = unit.cut(max_failed_fraction=0.5)
    assert "all pixels are NaN" in stamps.images["status"][1]


def test_no_image_left(unit):
    path, _ = unit.add(make_scene(1)._replace(data=np.full((360, 440), 157, np.float32)))
    table, counts = unit.select(max_failed_fraction=1.0)
    assert len(table) == 0
    assert list(table.columns) == list(COLUMNS)
    assert counts[unit.images[0]]["status"].startswith(f"{path}: constant image")
    stamps = unit.cut(max_failed_fraction=1.0)
    assert stamps.data.shape == (0, 21, 21)


def test_nothing_is_written_when_the_job_fails(unit, tmp_path):
    unit.add(make_scene(1)._replace(data=np.full((360, 440), 157, np.float32)))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match="constant image"):
        unit.select()
    assert sorted(tmp_path.iterdir()) == before


def test_catalogue_of_the_sheet_is_a_table(unit, tmp_path):
    scene = make_scene(1)
    unit.add(scene)
    ra, dec = to_sky(read_wcs(scene.header, ""), scene.x, scene.y)
    unit.catalogues = [str(tmp_path / "gaia.parquet")]
    pd.DataFrame({"ra": ra, "dec": dec, "mag": scene.mag}).to_parquet(unit.catalogues[0])
    table, _ = unit.select()
    assert len(table) == len(scene.x)
    np.testing.assert_allclose(table["mag"], scene.mag)
    # The same table for all images, from the configuration.
    unit.catalogue, unit.catalogues = {"kind": "table", "path": unit.catalogues[0]}, None
    pd.testing.assert_frame_equal(unit.select()[0], table)


def test_image_without_mask(unit):
    unit.add(make_scene(1))
    unit.mskimg = [""]
    _, counts = unit.select()
    assert counts[unit.images[0]]["kept"] == 80
    assert unit.cut().mask.sum() == 0


def test_variance_plane_of_the_calibration(unit):
    paths = unit.add(make_scene(seed=55))
    variance = np.full_like(fits.getdata(paths[0]), 60.0)
    unit.varimg = [str(unit.directory / "varimg.fits")]
    fits.writeto(unit.varimg[0], variance)
    unit.select()
    stamps = unit.cut()
    # The plane is constant, so what a pixel gets from the smoothing it loses elsewhere.
    assert np.median(stamps.variance) == pytest.approx(60.0, rel=0.01)
    fits.writeto(unit.varimg[0], variance[1:], overwrite=True)
    with pytest.raises(InputError, match="the variance plane has 440 x 359 pixels"):
        unit.cut()


def test_image_whose_calibration_failed_repeats_the_reason(unit):
    paths = unit.add(make_scene(seed=55))
    with fits.open(paths[0], mode="update") as hdus:
        hdus[0].header["STATUS"] = "dead amplifier, so leave this frame out."
    with pytest.raises(InputError, match=r"_sciimg\.fits: dead amplifier"):
        unit.select()


def test_header_of_ipac_is_for_the_verdict(unit):
    scene = make_scene(seed=55)
    scene.header["STATUS"], scene.header["INFOBITS"] = 0, 33554488
    unit.add(scene)
    unit.add(make_scene(seed=56))
    unit.select()
    images = unit.cut().images
    assert images["ipac_status"].tolist()[0] == 0
    assert images["infobits"].tolist()[0] == 33554488
    assert images[["ipac_status", "infobits"]].isna().all(axis=1).tolist() == [False, True]


def test_pixels_without_a_variance_are_masked(unit):
    paths = unit.add(make_scene(seed=55))
    table, _ = unit.select()
    star = table[table["reason"] == ""].iloc[0]
    variance = np.full_like(fits.getdata(paths[0]), 30.0)
    column, row = round(star["x_px"]), round(star["y_px"])
    variance[row, column - 3 : column + 1] = [0, -1, np.nan, 1e30]
    unit.varimg = [str(unit.directory / "varimg.fits")]
    fits.writeto(unit.varimg[0], variance)
    stamps = unit.cut()
    assert stamps.mask[0, 10].tolist() == [0] * 7 + [1] * 4 + [0] * 10
    assert (stamps.variance > 0).all()
    assert stamps.variance.max() < 1e5


def test_damaged_products_are_named_with_their_rule(unit):
    unit.add(make_scene(seed=55))
    unit.select()
    for path in (unit.stars, unit.counts):
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[: len(whole) * 95 // 100])
        with pytest.raises(InputError) as caught:
            unit.cut()
        assert str(caught.value).startswith(f"{path}: ")
        assert str(caught.value).endswith("make it again with the rule select_stars.")
        Path(path).write_bytes(whole)
    assert len(unit.cut().stars) == 80
