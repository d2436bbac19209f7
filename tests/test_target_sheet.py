"""The target sheet: a wrong row is one sentence, and costs its target alone."""

from pathlib import Path

import pytest
from ztfpsf.errors import InputError
from ztfpsf.target_sheet import Target, read_targets

HEAD = "target,ra_deg,dec_deg,mjd_min,mjd_max,filters"
GOOD = "SN2020abc,150.1,2.2,59100,59300,"


def write(folder: Path, *rows: str, head: str = HEAD) -> Path:
    path = folder / "targets.csv"
    path.write_text("\n".join([head, *rows, ""]))
    return path


def test_colour_is_that_of_the_sheet_or_none(tmp_path: Path) -> None:
    rows = [f"{name},{ra},2.2,59100,59300,," for ra, name in enumerate("abcd")]
    rows = [row + colour for row, colour in zip(rows, ("0.4", "", "blue", "-99"), strict=True)]
    sheet = read_targets(write(tmp_path, *rows, head=f"{HEAD},colour_mag"))
    assert {name: one.colour_mag for name, one in sheet.targets.items()} == {"a": 0.4, "b": None}
    assert "colour_mag of 'c' is 'blue'; write a finite number of magnitudes." in sheet.faults["c"]
    assert "colour_mag is -99; write magnitudes from -3 to 10, or nothing" in sheet.faults["d"]


def test_rows_are_targets(tmp_path: Path) -> None:
    sheet = read_targets(write(tmp_path, GOOD, "AT_2+x, 0, -30, 59100.5, 59100.5, zi zg"))
    assert sheet.faults == {}
    assert sheet.targets["SN2020abc"] == Target("SN2020abc", 150.1, 2.2, 59100, 59300)
    assert sheet.find("AT_2+x", "zi")[-2:] == (("zg", "zi"), None)
    with pytest.raises(InputError, match=r"'AT_2\+x' is wanted in zg, zi alone; add zr to its"):
        sheet.find("AT_2+x", "zr")
    with pytest.raises(InputError, match=r"no target 'SN2020abd' \(did you mean 'SN2020abc'\?\)"):
        sheet.find("SN2020abd", "zr")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            "x,150.1,2.3,2459100.5,2459300.5,",
            "line 3: mjd_min is 2459100.50000, a Julian date; wri",
        ),
        ("x,150.1,2.3,59100,2459300.5,", "the modified one, 59300.00000."),
        ("x,150.1,2.3,-5,59300,", "mjd_min is -5; write a modified Julian date, from 0 to 200000."),
        ("x,nan,2.3,59100,59300,", "ra_deg of 'x' is 'nan'; write a finite number of degrees."),
        ("x,10:00:12,2.3,59100,59300,", "ra_deg of 'x' is '10:00:12'; write a finite number of"),
        ("x,150.1,,59100,59300,", "dec_deg of 'x' is ''; write a finite number of degrees."),
        ("x,150.1,2.3,inf,59300,", "mjd_min of 'x' is 'inf'; write a finite number, a modified"),
        ("x,361,2.3,59100,59300,", "ra_deg is 361; write degrees from 0 to 360 (ICRS)."),
        ("x,150.1,-91,59100,59300,", "dec_deg is -91; write degrees from -90 to 90 (ICRS)."),
        ("x,150.1,2.3,59300,59100,", "mjd_min is 59300, after mjd_max, 59100; write the first day"),
        ("x,150.1,2.3,59100,59300,zr z", "'z' is no filter"),
        ("x y,150.1,2.3,59100,59300,", "'x y' cannot name a target, since files are named so; use"),
        ("../x,150.1,2.3,59100,59300,", "'../x' cannot name a target"),
    ],
)
def test_wrong_row_costs_its_target_alone(tmp_path: Path, row: str, sentence: str) -> None:
    sheet = read_targets(write(tmp_path, GOOD, row))
    assert list(sheet.targets) == ["SN2020abc"]
    (name,) = sheet.faults
    with pytest.raises(InputError) as told:
        sheet.find(name, "zr")
    assert sentence in str(told.value)
    assert str(told.value).startswith(f"{tmp_path}/targets.csv, line 3: ")
    assert str(told.value).endswith(".")


def test_target_that_is_listed_twice_is_none(tmp_path: Path) -> None:
    sheet = read_targets(write(tmp_path, GOOD, "y,10,2.2,59100,59300,", GOOD))
    assert list(sheet.targets) == ["y"]
    assert "line 4: target 'SN2020abc' is listed twice; keep one row." in sheet.faults["SN2020abc"]


@pytest.mark.parametrize(
    ("second", "n_good"),
    [
        ("0.0002,60.0", 0),  # 0.36 arcsec across RA 0
        ("359.9991,60.0", 2),  # 2.2 arcsec, since meridians converge
        ("0.0,60.0006", 2),
    ],
)
def test_two_targets_within_a_psf_are_none(tmp_path: Path, second: str, n_good: int) -> None:
    rows = "a,0.0003,60.0,1,2,", f"b,{second},3,4,", "c,50,60,1,2,"
    sheet = read_targets(write(tmp_path, *rows))
    assert len(sheet.targets) == 1 + n_good
    for name in set("ab") & set(sheet.faults):
        assert "are less than 2 arcsec apart" in sheet.faults[name]


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ("target,ra_degs,dec_deg,mjd_min,mjd_max", "unknown column 'ra_degs' (did you mean 'ra_d"),
        ("target,ra_deg,dec_deg,mjd_min", "column 'mjd_max' is missing; the columns of a target"),
    ],
)
def test_wrong_head_is_one_sentence(tmp_path: Path, head: str, sentence: str) -> None:
    with pytest.raises(InputError) as told:
        read_targets(write(tmp_path, head=head))
    assert sentence in str(told.value)


def test_sheet_without_a_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the target sheet holds no target; add a row for each"):
        read_targets(write(tmp_path))
    with pytest.raises(
        InputError, match="no such target sheet; write one or correct the config ke"
    ):
        read_targets(tmp_path / "lost.csv")
