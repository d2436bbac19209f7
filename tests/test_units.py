"""Units: which images one job works on, and what it is called."""

import itertools
import re

import numpy as np
import pytest
from ztfpsf.errors import InputError
from ztfpsf.listing import ImageFiles
from ztfpsf.names import CCD_PATTERN, EXPOSURE_PATTERN
from ztfpsf.sheet import ImageSheet
from ztfpsf.units import BATCH_PATTERN, GROUP_PATTERN, UNIT_PATTERN, list_units

EXPOSURE = "ztf_20200924431759_000655_zr"
QUADRANT = f"{EXPOSURE}_c13_o_q3"
GROUP = "ztf_000655_zr_c13_o_q3"
BATCH = "ztf_20200901000000-20200930999999"


def make_sheet(names: list[str]) -> ImageSheet:
    names = sorted(names)
    return ImageSheet("images.csv", "", names, [ImageFiles(name, "a.fits") for name in names])


def make_names(n: int) -> list[str]:
    """A quadrant in exposures at random times of three years, some of them on few nights."""
    rng = np.random.default_rng(1)
    days = np.concatenate([rng.integers(1, 28, n // 2), np.full(n - n // 2, 7)])
    months, years = rng.integers(1, 12, n), rng.integers(2018, 2021, n)
    times = rng.choice(1_000_000, n, replace=False)
    return [
        f"ztf_{year}{month:02d}{day:02d}{time:06d}_000655_zr_c13_o_q3"
        for year, month, day, time in zip(years, months, days, times, strict=True)
    ]


def test_names_of_units_are_told_apart() -> None:
    kinds = {
        EXPOSURE_PATTERN: EXPOSURE,
        CCD_PATTERN: f"{EXPOSURE}_c13_o",
        GROUP_PATTERN: GROUP,
        BATCH_PATTERN: BATCH,
    }
    for (pattern, _), (other, name) in itertools.product(kinds.items(), repeat=2):
        assert bool(re.fullmatch(pattern, name)) == (pattern == other)
    for name in (*kinds.values(), QUADRANT):
        assert re.fullmatch(UNIT_PATTERN, name)
        assert not re.fullmatch(UNIT_PATTERN, name + "_stars")
    assert not re.fullmatch(UNIT_PATTERN, f"{EXPOSURE}_c13")


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_every_image_is_in_one_batch_of_the_size_asked_for(size: int) -> None:
    names = make_names(500)
    units = make_sheet(names).images_by_unit("batch", size)
    assert sorted(names) == [name for images in units.values() for name in images]
    assert all(0 < len(images) <= size for images in units.values())
    assert len(units) <= 4 * len(names) / size


def test_new_images_leave_other_batches_alone() -> None:
    names = make_names(500)
    before = make_sheet(names).images_by_unit("batch", 64)
    new = [f"ztf_20210101{i:06d}_000655_zr_c13_o_q3" for i in range(200)]
    after = make_sheet(names + new).images_by_unit("batch", 64)
    kept = {unit: images for unit, images in after.items() if not set(images) & set(new)}
    # One may have been divided, that of the time of the new ones.
    assert sum(before.get(unit) != images for unit, images in kept.items()) <= 2
    assert set(kept) >= set(list(before)[:-1])


def test_a_batch_is_an_exposure_at_least() -> None:
    exposures = [EXPOSURE, "ztf_20200924431760_000655_zr"]
    names = [f"{exposure}_c{c:02d}_o_q1" for exposure in exposures for c in range(1, 17)]
    assert list_units(sorted(names), "batch", 10) == exposures
    assert list_units(sorted(names), "batch", 32) == ["ztf_20000101000000-20991231999999"]


def test_any_span_of_time_is_a_batch() -> None:
    names = [QUADRANT, f"ztf_20200930999999{QUADRANT[18:]}", f"ztf_20201001000000{QUADRANT[18:]}"]
    assert [files.image for files in make_sheet(names).images(BATCH)] == names[:2]


def test_a_group_is_one_quadrant_of_all_exposures() -> None:
    names = make_names(9)
    others = [QUADRANT.replace(*pair) for pair in (("q3", "q4"), ("zr", "zg"), ("0655", "0656"))]
    sheet = make_sheet(names + others)
    assert [files.image for files in sheet.images(GROUP)] == sorted(names)
    assert len(sheet.units("group", 1)) == 4
    for lost in (GROUP.replace("zr", "zi"), "ztf_20220101000000-20220201000000"):
        with pytest.raises(InputError, match=rf"images\.csv: no image of '{lost}'"):
            sheet.images(lost)
