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
    [
        ("file\na\n", "line 1: the frame sheet has no column 'path'"),
        ("path\na.fits\n", "'a.fits' is not the name of a raw"),
        ("path,led\n" + OBJECT + "\n", "line 2: 1 cells, but the first line names 2 columns"),
        ("path\n", "the frame sheet holds no frame"),
        ("", "the frame sheet holds no frame"),
        (f"path\n{OBJECT}\n{OBJECT}\n", "frame 'ztf_.*_zr_c06_o' is listed twice"),
        (f"path\na/{OBJECT}\nb/{OBJECT}\n", "frame 'ztf_.*_zr_c06_o' is listed twice"),
        (f"path\n{OBJECT.replace('0102', '0230')}\n", "there is no day 20200230"),
        (f"path\n{OBJECT.replace('zr', 'bi')}\n", "filter code bi and is of the kind o"),
        (f"path\n{OBJECT.replace('zr', 'dk')}\n", "filter code dk and is of the kind o"),
    ],
)
def test_bad_sheets(tmp_path, text, message):
    path = tmp_path / "frames.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_frames(path, "")
    with pytest.raises(InputError, match="no such frame sheet"):
        read_frames(tmp_path / "none.csv", "")


def test_frame_that_is_listed_twice_must_not_count_twice(tmp_path):
    names = [BIAS.format(night="20191230", i=i, code="bi") for i in range(3)]
    path = tmp_path / "frames.csv"
    path.write_text("\n".join(["path", *names, names[1].replace(".fz", "")]))
    with pytest.raises(InputError, match=r"frame 'ztf_20191230000001.*_b' is listed twice"):
        read_frames(path, "")


def test_sheet_as_spreadsheets_write_it(tmp_path):
    path = tmp_path / "frames.csv"
    path.write_bytes(
        b"\xef\xbb\xbf# a night\r\n comment , path \r\n\r\ngood, "
        + OBJECT.encode()
        + b" \r\n#, x\r\n"
    )
    assert list(read_frames(path, "/data").science.values()) == [f"/data/{OBJECT}"]
