"""Which images may hold which targets, as the workflow asks."""

from pathlib import Path

import pytest
import yaml
from ztfpsf.errors import InputError
from ztfpsf.frame_sheet import NO_FRAMES
from ztfpsf.sheet import ImageSheet, read_sheet
from ztfpsf.target_sheet import NO_TARGETS, TargetSheet, read_targets
from ztfpsf_workflow.inputs import list_images
from ztfpsf_workflow.targets import (
    find_group,
    find_groups,
    find_targets,
    find_units,
    list_lightcurves,
    list_targets,
)

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
# Field 655 has the first two at CCD 13, quadrant 3; 990 is no field of the grid.
HELD = [f"ztf_202009{day}431759_000655_zr_c13_o_q3" for day in (24, 26)]
OFF_GRID = "ztf_20200925431759_000990_zr_c01_o_q1"
OTHERS = ["ztf_20200924431759_000655_zr_c13_o_q1", "ztf_20200924431759_000655_zg_c13_o_q3"]
ROWS = [
    "SN1,57.9974,35.7463,59110,59250,zr",
    "SN2,57.99,35.74,59110,59250,zr zi",
    "far,200,-60,59110,59250,zr",
    "bad,nan,35,59110,59250,",
    "twin1,20,30,59110,59250,",
    "twin2,20,30.0001,59110,59250,",
]


@pytest.fixture
def sheet(tmp_path: Path) -> ImageSheet:
    path = tmp_path / "images.csv"
    rows = [f"{name},{name}.fits" for name in (*HELD, OFF_GRID, *OTHERS)]
    path.write_text("\n".join(["image,sciimg", *rows, ""]))
    return read_sheet(path)


@pytest.fixture
def targets(tmp_path: Path) -> TargetSheet:
    path = tmp_path / "targets.csv"
    head = "target,ra_deg,dec_deg,mjd_min,mjd_max,filters"
    path.write_text("\n".join([head, *ROWS, ""]))
    return read_targets(path)


def test_groups_of_a_target(sheet: ImageSheet, targets: TargetSheet) -> None:
    found = find_groups(sheet, targets.find("SN1", "zr"), "zr")
    assert found == ["ztf_000655_zr_c13_o_q3", "ztf_000990_zr_c01_o_q1"]
    with pytest.raises(InputError, match=r"no image in zi may hold the target 'SN2' at RA 57\.9"):
        find_groups(sheet, targets.find("SN2", "zi"), "zi")


def test_targets_of_images(sheet: ImageSheet, targets: TargetSheet) -> None:
    found = find_targets(sheet.names, targets.targets.values())
    assert sorted(found) == sorted([*HELD, OFF_GRID])
    assert [one.name for one in found[HELD[0]]] == ["SN1", "SN2"]
    # Of a field without a place every target may be.
    assert [one.name for one in found[OFF_GRID]] == ["SN1", "SN2", "far"]


def test_units_of_images(sheet: ImageSheet) -> None:
    units = sheet.images_by_unit("exposure", 64)
    assert find_units(HELD, units) == [name[:28] for name in HELD]
    assert find_units([], units) == []


def test_every_light_curve_and_a_sentence_for_what_has_none(
    sheet: ImageSheet, targets: TargetSheet
) -> None:
    on_grid = ImageSheet(sheet.path, "", *zip(*[
        (name, row) for name, row in zip(sheet.names, sheet.rows, strict=True) if name != OFF_GRID
    ], strict=True))  # fmt: skip
    found = list_lightcurves(on_grid, targets)
    assert found.wanted == [("SN1", "zr"), ("SN2", "zr")]
    # One sentence of two targets that are one place.
    assert len(found.faults) == 3
    assert "ra_deg of 'bad' is 'nan'" in found.faults[0]
    assert "targets 'twin1' and 'twin2' are less than 2 arcsec apart" in found.faults[1]
    assert "no image in zr may hold the target 'far'" in found.faults[2]


def test_group_that_is_not_there_is_one_sentence(sheet: ImageSheet) -> None:
    assert list(find_group(sheet, "ztf_000655_zr_c13_o_q3")) == HELD
    with pytest.raises(InputError, match="no image of the group 'ztf_000655_zi_c13_o_q3' in this"):
        find_group(sheet, "ztf_000655_zi_c13_o_q3")


def test_simulated_series_is_sheet_and_target() -> None:
    config = {**CONFIG, "images": "simulate_epochs", "targets": "simulate_epochs"}
    series = list_images(config, NO_FRAMES, ROOT)
    (target,) = list_targets(config, ROOT).targets.values()
    assert len(series.names) == CONFIG["simulate_epochs"]["n_epochs"]
    assert find_groups(series, target, "zr") == ["ztf_000655_zr_c13_o_q3"]
    assert list_targets(CONFIG, ROOT) == NO_TARGETS
