"""The frame sheet: which frames serve which."""

import pytest
from ztfpsf.errors import InputError
from ztfpsf.frame_sheet import read_frames
from ztfpsf.names import parse_raw

BIAS = "ztf_{night}{i:06d}_000000_{code}_c06_b.fits.fz"
FLAT = "ztf_{night}{i:06d}_000000_{code}_c{ccd:02d}_f.fits.fz"
OBJECT = "ztf_20200102300000_000517_zr_c06_o.fits.fz"


@pytest.fixture
def sheet(tmp_path):
    names = [BIAS.format(night="20191230", i=i, code="bi") for i in range(12)]
    names += [BIAS.format(night="20200102", i=i, code="OO") for i in range(4)]
    names += [
        FLAT.format(night="20200101", i=i, code="zr", ccd=c) for i in range(5) for c in (6, 7)
    ]
    path = tmp_path / "frames.csv"
    rows = "\n".join(f"{parse_raw(name).path()},x" for name in [*names, OBJECT])
    path.write_text(f"path,comment\n{rows}\n")
    return read_frames(path, "/data")


def test_frames_of_a_master(sheet):
    frames = sheet.frames("b", "20191230", "bi", 6)
    assert len(frames) == 12
    assert frames[0] == "/data/raw/2019/1230/000000/ztf_20191230000000_000000_bi_c06_b.fits.fz"
    assert len(sheet.frames("b", "20200102", "bi", 6)) == 4
    assert sheet.frames("f", "20200101", "zg", 6) == ()
    assert sheet.ccds("20200101", "zr") == [6, 7]
    assert [str(name) for name in sheet.images()][1] == "ztf_20200102300000_000517_zr_c06_o_q2"


def test_nearest_night_with_enough_frames(sheet):
    wanted = ("20200102", "bi", 6)
    assert sheet.nearest("b", wanted, 4, 10) == "20200102"
    assert sheet.nearest("b", wanted, 10, 10) == "20191230"
    with pytest.raises(InputError, match=r"no night with 10 bias frames of CCD 6 within 2 days"):
        sheet.nearest("b", wanted, 10, 2)
    with pytest.raises(InputError, match=r"no night with 3 zg flats of CCD 6 .*\(none\)"):
        sheet.nearest("f", ("20200102", "zg", 6), 3, 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [("file\na\n", "no column 'path'"), ("path\na.fits\n", "'a.fits' is not the name of a raw")],
)
def test_bad_sheets(tmp_path, text, message):
    path = tmp_path / "frames.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_frames(path, "")
    with pytest.raises(InputError, match="cannot be read"):
        read_frames(tmp_path / "none.csv", "")
