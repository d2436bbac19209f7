"""The image sheet: forms of a row, units, errors."""

import os
from pathlib import Path

import pytest
from ztfpsf.errors import InputError
from ztfpsf.sheet import NO_IMAGES, ImageFiles, add_images, read_sheet

EXPOSURE = "ztf_20200924431759_000655_zr"
QUADRANT = f"{EXPOSURE}_c13_o_q3"
TREE = "sci/2020/0924/431759"


def write(folder: Path, text: str) -> Path:
    path = folder / "images.csv"
    path.write_text(text)
    return path


def make_files(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_explicit_files_are_taken_as_written(tmp_path: Path) -> None:
    text = f"image,sciimg,mskimg,catalogue\n{QUADRANT}, a.fits ,b.fits.gz,\n"
    sheet = read_sheet(write(tmp_path, text))
    assert sheet.images(QUADRANT) == [ImageFiles(QUADRANT, "a.fits", "b.fits.gz", "")]


def test_comments_blank_lines_order_and_byte_order_mark(tmp_path: Path) -> None:
    text = f"\ufeffsciimg,image\n# a comment, of two cells\n\na.fits,{QUADRANT}\n,\n"
    sheet = read_sheet(write(tmp_path, text))
    assert sheet.images(QUADRANT) == [ImageFiles(QUADRANT, "a.fits")]


@pytest.mark.parametrize("ending", ["fits", "fits.fz", "fits.gz"])
@pytest.mark.parametrize("row_names_root", [True, False])
def test_file_of_the_tree(tmp_path: Path, ending: str, row_names_root: bool) -> None:  # noqa: FBT001
    make_files(tmp_path / TREE, f"{QUADRANT}_sciimg.{ending}", f"{QUADRANT}_mskimg.fits")
    cell, data_root = (tmp_path, "") if row_names_root else ("", str(tmp_path))
    sheet = read_sheet(write(tmp_path, f"image,sciimg\n{QUADRANT},{cell}\n"), data_root)
    folder = f"{tmp_path}/{TREE}"
    assert sheet.images(QUADRANT) == [
        ImageFiles(
            QUADRANT, f"{folder}/{QUADRANT}_sciimg.{ending}", f"{folder}/{QUADRANT}_mskimg.fits"
        )
    ]


@pytest.mark.parametrize("name", ["a.fit", "a.FITS", "a.fits?center=1,2", "a", "a.fits.Z"])
def test_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    make_files(tmp_path, name)
    for path in (f"{tmp_path}/{name}", f"lost/{name}"):
        sheet = read_sheet(write(tmp_path, f'image,sciimg\n{QUADRANT},"{path}"\n'), "root")
        assert sheet.images(QUADRANT) == [ImageFiles(QUADRANT, path)]


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    """One that leads back, and two to one folder, make no image twice."""
    other = f"{EXPOSURE}_c01_o_q1"
    make_files(tmp_path / "disk", f"{other}_sciimg.fits")
    make_files(tmp_path / "night", f"{QUADRANT}_sciimg.fits")
    for name, target in (("a", "disk"), ("b", "disk"), ("c", "night")):
        (tmp_path / "night" / name).symlink_to(tmp_path / target)
    sheet = read_sheet(write(tmp_path, f"image,sciimg\n,{tmp_path}/night\n"))
    assert [files.sciimg for files in sheet.images(EXPOSURE)] == [
        f"{tmp_path}/night/a/{other}_sciimg.fits",
        f"{tmp_path}/night/{QUADRANT}_sciimg.fits",
    ]


def test_file_missing_in_the_tree_is_left_to_snakemake(tmp_path: Path) -> None:
    sheet = read_sheet(write(tmp_path, f"image\n{QUADRANT}\n"), str(tmp_path))
    assert sheet.images(QUADRANT) == [
        ImageFiles(QUADRANT, f"{tmp_path}/{TREE}/{QUADRANT}_sciimg.fits")
    ]


def test_directory_is_scanned(tmp_path: Path) -> None:
    other = f"{EXPOSURE}_c01_o_q1"
    make_files(tmp_path / "x" / "a", f"{QUADRANT}_sciimg.fits", f"{QUADRANT}_mskimg.fits.gz")
    make_files(tmp_path / "x" / "a", f"{QUADRANT}_sciimg.fits.fz", f"{QUADRANT}_mskimg.fits")
    make_files(tmp_path / "x" / "b", f"{other}_sciimg.fits.gz", "ztf_flat.fits", "notes.txt")
    sheet = read_sheet(write(tmp_path, f"image,sciimg,catalogue\n,{tmp_path}/x,stars.csv\n"))
    assert sheet.images(EXPOSURE) == [
        ImageFiles(other, f"{tmp_path}/x/b/{other}_sciimg.fits.gz", "", "stars.csv"),
        ImageFiles(
            QUADRANT,
            f"{tmp_path}/x/a/{QUADRANT}_sciimg.fits",
            f"{tmp_path}/x/a/{QUADRANT}_mskimg.fits.gz",
            "stars.csv",
        ),
    ]


def test_units(tmp_path: Path) -> None:
    later = "ztf_20200924431760_000655_zr"
    names = [
        f"{later}_c01_o_q1",
        f"{EXPOSURE}_c11_o_q2",
        f"{EXPOSURE}_c01_o_q4",
        f"{EXPOSURE}_c01_o_q1",
    ]
    sheet = read_sheet(write(tmp_path, "image,sciimg\n" + "".join(f"{n},a.fits\n" for n in names)))
    assert sheet.units("exposure", 64) == [EXPOSURE, later]
    assert sheet.units("ccd", 64) == [f"{EXPOSURE}_c01_o", f"{EXPOSURE}_c11_o", f"{later}_c01_o"]
    assert sheet.units("quadrant", 64) == sorted(names)
    for unit in (EXPOSURE, f"{EXPOSURE}_c01_o", f"{EXPOSURE}_c01_o_q4", later):
        expected = [name for name in sorted(names) if name.startswith(unit)]
        assert [files.image for files in sheet.images(unit)] == expected


@pytest.mark.parametrize("unit", ["ztf_20200924431759_000655_zg", f"{EXPOSURE}_c02_o", "a"])
def test_unknown_unit(tmp_path: Path, unit: str) -> None:
    sheet = read_sheet(write(tmp_path, f"image,sciimg\n{QUADRANT},a.fits\n"))
    with pytest.raises(InputError, match=rf"images\.csv: no image of '{unit}' in this image sheet"):
        sheet.images(unit)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "images.csv: the image sheet holds no image"),
        ("image,sciimg\n", "images.csv: the image sheet holds no image"),
        ("image,sciimage\n", "line 1: unknown column 'sciimage' (did you mean 'sciimg'?)"),
        ("sciimg\na.fits\n", "line 1: column 'image' is missing"),
        ("image,image\n", "line 1: a column is named twice"),
        (f"image,sciimg\n{QUADRANT}\n", "line 2: 1 cells, but the first line names 2 columns"),
        (f"image,sciimg\n\n{QUADRANT}_x,a.fits\n", f"line 3: '{QUADRANT}_x' is not the name"),
        (f"image,sciimg\n{QUADRANT},\n", f"line 2: no file is given for '{QUADRANT}'"),
        ("image,sciimg\n,a.fits\n", "line 2: the image has no name, and 'a.fits' is no directory"),
        ("image,sciimg,mskimg\n,,b.fits\n", "line 2: the image has no name"),
        (
            "image,sciimg,mskimg\n,empty,b.fits\n",
            "line 2: masks and variances of a directory are found beside",
        ),
        ("image,sciimg\n,empty\n", "below the directory 'empty'"),
        (
            f"image,sciimg\n{QUADRANT},https://example.org/a.fits\n",
            "line 2: column 'sciimg' has the URL 'https://example.org/a.fits'; fetch it, and write",
        ),
        (
            "image,sciimg\nztf_20200230431759_000655_zr_c13_o_q3,a.fits\n",
            "line 2: 'ztf_20200230431759_000655_zr_c13_o_q3': there is no day 20200230; correct",
        ),
        (
            f"image,sciimg\n{QUADRANT},a.fits\n{QUADRANT},b.fits\n",
            f"line 3: image '{QUADRANT}' is listed twice",
        ),
    ],
)
def test_bad_sheet_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(InputError) as error:
        read_sheet(write(tmp_path, text))
    assert sentence in str(error.value)
    assert "images.csv" in str(error.value)


def test_unreadable_sheets(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such image sheet; write one or correct the config"):
        read_sheet(tmp_path / "none.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    os.mkfifo(tmp_path / "pipe.parquet")
    for path in (tmp_path, tmp_path / "pipe.csv", tmp_path / "pipe.parquet", Path("/dev/zero")):
        with pytest.raises(InputError, match=f"{path}: not a file; write one or correct the"):
            read_sheet(path)
    (tmp_path / "images.xlsx").write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file in UTF-8"):
        read_sheet(tmp_path / "images.xlsx")


def test_images_of_raw_frames_join_the_sheet(tmp_path: Path) -> None:
    sheet = read_sheet(write(tmp_path, f"image,sciimg,varimg\n{QUADRANT},a.fits,v.fits\n"))
    made = [ImageFiles(f"{EXPOSURE}_c13_o_q{q}", f"{q}.fits", varimg="v.fits") for q in (4, 1)]
    both = add_images(sheet, made, "frames.csv")
    assert [files.image[-2:] for files in both.images(EXPOSURE)] == ["q1", "q3", "q4"]
    assert both.images(QUADRANT)[0].varimg == "v.fits"
    with pytest.raises(InputError, match=r"images\.csv, frames\.csv: no image of"):
        both.images(f"{EXPOSURE}_c02_o")
    with pytest.raises(InputError, match=r"comes from frames\.csv as well"):
        add_images(both, [ImageFiles(QUADRANT, "b.fits")], "frames.csv")
    assert add_images(NO_IMAGES, made, "frames.csv").path == "frames.csv"


def test_directory_has_variances_beside_its_images(tmp_path: Path) -> None:
    make_files(tmp_path / "kept", f"{QUADRANT}_sciimg.fits", f"{QUADRANT}_varimg.fits")
    sheet = read_sheet(write(tmp_path, f"image,sciimg\n,{tmp_path}/kept\n"))
    assert sheet.images(QUADRANT)[0].varimg.endswith(f"kept/{QUADRANT}_varimg.fits")
