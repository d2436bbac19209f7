"""Which masters make which calibrated image."""

from pathlib import Path

import pytest
from ztfpsf.frame_sheet import sort_frames
from ztfpsf_workflow.masters import MasterPlan, find_earlier, kind_letter, without_masters

EXPOSURE = "ztf_20200924431759_000655_zr"
PATTERNS = {
    "bias": "b/{night}/{filtercode}_c{ccdid}",
    "flat": "f/{night}/{filtercode}_c{ccdid}",
    "period": "p/{period}/{filtercode}_c{ccdid}_{kind}",
    "focal_plane": "n/{nights}/{filtercode}",
}


def make_plan(*periods: str) -> MasterPlan:
    """Three bias frames of the night before, two flats of the night."""
    names = [f"ztf_20200923{k}00000_000000_bi_c13_b.fits.fz" for k in range(3)]
    names += [f"ztf_20200924{k}00000_000000_zr_c13_f.fits.fz" for k in range(2)]
    frames = sort_frames("frames.csv", names)
    return MasterPlan(frames, {"b": 3, "f": 2}, 10, periods, PATTERNS)


def test_masters_of_the_nearest_nights() -> None:
    plan = make_plan()
    assert plan.masters_of_flat("20200924", "13") == {"bias": "b/20200923/bi_c13"}
    assert plan.masters_of_science(EXPOSURE, "13") == {
        "bias": "b/20200923/bi_c13",
        "flat": "f/20200924/zr_c13",
        "focal_plane": "n/20200924/zr",
    }
    assert plan.flats("20200924", "zr") == ["f/20200924/zr_c13"]


def test_masters_of_a_period() -> None:
    period = "20200901-20200930"
    plan = make_plan(period)
    assert plan.masters_of_science(EXPOSURE, "13") == {
        "bias": f"p/{period}/bi_c13_bias",
        "flat": f"p/{period}/zr_c13_flat",
        "focal_plane": f"n/{period}/zr",
    }
    assert plan.daily_masters("f", period, "zr", "13") == ["f/20200924/zr_c13"]
    assert plan.daily_masters("f", "20200901-20200923", "zr", "13") == []


def test_missing_masters_are_a_sentence() -> None:
    plan = make_plan()
    assert without_masters(plan.masters_of_flat, "20200924", "13")[1] == ""
    found, missing = without_masters(plan.masters_of_science, EXPOSURE, "14")
    assert found == {}
    assert missing.startswith("frames.csv: no night with 3 bias frames of CCD 14 within 10 days")


def test_masters_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = make_plan("20200901-20200930")
    assert plan.nights_made() == []
    for path in ("b/20200923/bi_c13", "b/20200923/bi_c01", "p/20200901-20200930/zr_c13_flat"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    assert plan.made("b", "20200923", "bi") == {1: "b/20200923/bi_c01", 13: "b/20200923/bi_c13"}
    assert plan.nights_made() == [("b", "20200923", "bi"), ("f", "20200901-20200930", "zr")]


def test_night_follows_nights_and_period_periods() -> None:
    made = {night: night[-2:] for night in ("20200922", "20200923", "20200924")}
    made |= {"20200801-20200831": "p"}
    assert find_earlier(made, "20200924") == ("20200923", "23")
    assert find_earlier(made, "20200922") == ("", "")
    assert find_earlier(made, "20200901-20200930") == ("20200801-20200831", "p")


def test_kinds() -> None:
    assert [kind_letter(kind) for kind in ("bias", "flat")] == ["b", "f"]
