"""The image sheet of a tree, as CSV and as parquet."""

import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from ztfpsf.errors import InputError
from ztfpsf.listing import ImageSelection, find_images, parse_dates
from ztfpsf.names import parse_quadrant
from ztfpsf.sheet import ImageFiles, read_sheet
from ztfpsf.sheet_parquet import write_parquet_sheet

SCRIPT = Path(__file__).parents[1] / "scripts" / "list_images.py"
IMAGES = (
    "ztf_20190131100000_000655_zr_c01_o_q1",
    "ztf_20200924431759_000655_zr_c13_o_q3",
    "ztf_20200924431759_000655_zr_c13_o_q4",
    "ztf_20200924500000_000656_zg_c13_o_q3",
    "ztf_20200925431759_000656_zi_c02_o_q3",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree in ZTF's layout; the second image is compressed as well and has a mask."""
    root = tmp_path / "tree"
    for image in IMAGES:
        path = root / parse_quadrant(image).path("sciimg.fits")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for suffix in ("sciimg.fits.fz", "mskimg.fits.gz"):
        (root / parse_quadrant(IMAGES[1]).path(suffix)).touch()
    return root


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_all_images_of_a_tree(tree: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"sheet.{ending}"
    done = run(tree, path)
    assert done.stdout == f"{path}: 5 images of 4 exposures, 3 nights\n", done.stderr
    sheet = read_sheet(path)
    assert sheet.names == list(IMAGES)
    stem = tree / parse_quadrant(IMAGES[1]).path("")
    assert sheet.images(IMAGES[1]) == [
        ImageFiles(IMAGES[1], f"{stem}sciimg.fits", f"{stem}mskimg.fits.gz")
    ]
    assert [files.image for files in sheet.images(IMAGES[1][:28])] == [*IMAGES[1:3]]
    assert sheet.units("ccd", 64) == sorted({image[:34] for image in IMAGES})
    assert sheet.units("exposure", 64) == sorted({image[:28] for image in IMAGES})


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (ImageSelection(dates=[("20200924", "20200924")]), IMAGES[1:4]),
        (ImageSelection(dates=[("20190101", "20190228"), ("20200925", "20201231")]), IMAGES[::4]),
        (ImageSelection(fields={656}), IMAGES[3:]),
        (ImageSelection(filters={"zr", "zg"}), IMAGES[:4]),
        (ImageSelection(ccds={13}, fields={655}), IMAGES[1:3]),
    ],
)
def test_selection(tree: Path, selection: ImageSelection, expected: tuple[str, ...]) -> None:
    assert tuple(files.image for files in find_images(str(tree), selection)) == expected


def test_days_that_are_not_wanted_are_not_entered(tree: Path) -> None:
    # A folder of ZTF's tree is taken at its word.
    day = tree / "sci" / "2020" / "0924"
    day.rename(day.with_name("0926"))
    found = find_images(str(tree), ImageSelection(dates=[("20200924", "20200925")]))
    assert [files.image for files in found] == [IMAGES[4]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dates", "2020-09-24"], "'2020-09-24' is no date; write 20200924, or"),
        (["--dates", "20200930-20200901"], "is no date"),
        (["--fields", "1"], "no image of this selection named like ztf_"),
    ],
)
def test_bad_arguments_are_one_sentence(
    tree: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    done = run(tree, tmp_path / "sheet.csv", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert sentence in done.stderr
    assert not (tmp_path / "sheet.csv").exists()


def test_linked_folders(tree: Path, tmp_path: Path) -> None:
    """As where a disk is full: a folder of the tree lies elsewhere. Links in a circle end."""
    day = tree / "sci" / "2020" / "0924"
    day.rename(tmp_path / "elsewhere")
    day.symlink_to(tmp_path / "elsewhere")
    (tree / "sci" / "again").symlink_to(tree)
    assert tuple(files.image for files in find_images(str(tree))) == IMAGES
    found = find_images(str(tree), ImageSelection(dates=[("20200924", "20200924")]))
    assert tuple(files.image for files in found) == IMAGES[1:4]


def test_image_found_twice(tree: Path, tmp_path: Path) -> None:
    (tree / "copy").mkdir()
    (tree / "copy" / f"{IMAGES[0]}_sciimg.fits").touch()
    assert f"image '{IMAGES[0]}' is there twice" in run(tree, tmp_path / "sheet.csv").stderr


def test_spans_of_dates() -> None:
    assert parse_dates("20200924") == ("20200924", "20200924")
    assert parse_dates("20200901-20200930") == ("20200901", "20200930")


def test_large_parquet_sheet(tmp_path: Path) -> None:
    names = [
        f"ztf_20200924{i:06d}_000655_zr_c{ccdid:02d}_o_q{qid}"
        for i in range(1000)
        for ccdid in range(1, 17)
        for qid in range(1, 5)
    ]
    path = tmp_path / "sheet.parquet"
    write_parquet_sheet([ImageFiles(name, f"{name}.fits") for name in names], path)
    sheet = read_sheet(path)
    assert [files.image for files in sheet.rows] == sheet.names == names
    assert len(sheet.units("exposure", 64)) == 1000
    images = sheet.images("ztf_20200924000700_000655_zr")
    assert len(images) == 64
    assert (
        images[-1] == sheet.rows[700 * 64 + 63] == ImageFiles(names[44863], f"{names[44863]}.fits")
    )


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"image": ["a"], "sciimg": ["a.fits"]}, "'a' is not the name of a ZTF quadrant"),
        ({"image": IMAGES[:1] * 2, "sciimg": ["a.fits"] * 2}, "is listed twice"),
        ({"image": IMAGES[:2], "sciimg": ["a.fits", None]}, f"no file is given for '{IMAGES[1]}'"),
        ({"image": IMAGES[:1]}, f"no file is given for '{IMAGES[0]}'"),
        ({"image": IMAGES[:1], "scimg": ["a"]}, "unknown column 'scimg' (did you mean 'sciimg'?)"),
        ({"image": pyarrow.array([], pyarrow.string())}, "holds no image"),
        ({"image": pyarrow.nulls(2)}, "2 rows name no image; add the name, or remove them."),
        ({"image": [IMAGES[0], None], "sciimg": ["a", "b"]}, "1 rows name no image"),
        ({"image": [7]}, "column 'image' holds int64 values; write it as a column of texts."),
        (
            {"image": IMAGES[:1], "sciimg": [["a.fits"]]},
            "column 'sciimg' holds list<element: string> values; write it as a column of texts.",
        ),
        ({"image": IMAGES[:1], "sciimg": [b"\xff"]}, "column 'sciimg' is not UTF-8; write it as"),
        (
            {"image": IMAGES[:1], "sciimg": ["s3://a/b.fits"]},
            "column 'sciimg' has the URL 's3://a/b.fits'; fetch it, and write the path of the",
        ),
        (
            {"image": ["ztf_20200230431759_000655_zr_c13_o_q3"], "sciimg": ["a.fits"]},
            "'ztf_20200230431759_000655_zr_c13_o_q3': there is no day 20200230; correct the name.",
        ),
    ],
)
def test_bad_parquet_sheet(tmp_path: Path, columns: dict, sentence: str) -> None:
    path = tmp_path / "sheet.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(InputError) as caught:
        read_sheet(path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


def test_texts_of_other_types(tmp_path: Path) -> None:
    """As other programs write them: bytes, categories, a column of nothing."""
    path = tmp_path / "sheet.parquet"
    columns = {
        "image": pyarrow.array(IMAGES[:2]).dictionary_encode(),
        "sciimg": [b"a.fits", b"b.fits"],
        "mskimg": pyarrow.nulls(2),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    assert read_sheet(path).images(IMAGES[1]) == [ImageFiles(IMAGES[1], "b.fits")]


def test_unsorted_sheet_with_a_data_root(tmp_path: Path) -> None:
    path = tmp_path / "sheet.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": IMAGES[::-1]}), path)
    sheet = read_sheet(path, "/data")
    assert sheet.names == list(IMAGES)
    expected = f"/data/{parse_quadrant(IMAGES[0]).path('sciimg.fits')}"
    assert sheet.images(IMAGES[0]) == [ImageFiles(IMAGES[0], expected)]


@pytest.mark.parametrize("content", [None, b"no parquet"])
def test_lost_or_broken_parquet_sheet(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "sheet.parquet"
    if content:
        path.write_bytes(content)
    with pytest.raises(InputError, match="not a parquet file" if content else "no such image"):
        read_sheet(path)
