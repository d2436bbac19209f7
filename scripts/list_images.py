"""No rule: writes the image sheet from which rules are planned.

python scripts/list_images.py /data/ztf night.csv --dates 20200924 --fields 655 --filters zr
"""

import argparse
import csv
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise

from ztfpsf.errors import InputError
from ztfpsf.io import atomic_path
from ztfpsf.listing import ImageFiles, ImageSelection, find_images, parse_dates
from ztfpsf.names import parse_quadrant

CCDS = range(1, 17)
PROGRESS = 100_000


def list_images(root: str, path_to_sheet: str, selection: ImageSelection) -> str:
    """Write a sheet, CSV or parquet, of the images below a directory; returns what was found.

    Raises InputError when there is none, and for an image found twice.
    """
    rows = sorted(with_progress(find_images(os.path.abspath(root), selection)))
    if not rows:
        raise InputError(
            f"{root}: no image of this selection named like "
            "ztf_20200924431759_000655_zr_c13_o_q3_sciimg.fits below this directory."
        )
    check_unique(rows)
    with atomic_path(path_to_sheet) as temporary:
        if path_to_sheet.endswith(".parquet"):
            from ztfpsf.sheet_parquet import write_parquet_sheet

            write_parquet_sheet(rows, temporary)
        else:
            with open(temporary, "w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([ImageFiles._fields, *rows])
    exposures = {parse_quadrant(row.image).exposure for row in rows}
    nights = {exposure[4:12] for exposure in exposures}
    return (
        f"{path_to_sheet}: {len(rows)} images of {len(exposures)} exposures, {len(nights)} nights"
    )


def with_progress(rows: Iterable[ImageFiles]) -> Iterator[ImageFiles]:
    """The same rows; a line on stderr for each 100,000."""
    for n, row in enumerate(rows, start=1):
        if n % PROGRESS == 0:
            print(f"{n} images, at {row.image}", file=sys.stderr)
        yield row


def check_unique(rows: list[ImageFiles]) -> None:
    """Raise InputError for an image found twice; `rows` are sorted."""
    for row, following in pairwise(rows):
        if row.image == following.image:
            raise InputError(
                f"image '{row.image}' is there twice: {row.sciimg} and {following.sciimg}; list "
                "the directories one by one."
            )


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write an image sheet of all images in a tree.")
    parser.add_argument("root", help="directory, of ZTF's layout or any other")
    parser.add_argument("sheet", help="file to write, .csv, or .parquet for millions of images")
    parser.add_argument("--dates", nargs="+", default=[], help="20200924 or 20200901-20200930")
    parser.add_argument("--fields", nargs="+", type=int, default=[], help="field numbers")
    parser.add_argument("--filters", nargs="+", default=[], choices=("zg", "zr", "zi"))
    parser.add_argument("--ccds", nargs="+", type=int, default=[], choices=CCDS, metavar="1..16")
    return parser.parse_args(arguments)


def main() -> None:
    given = parse_arguments()
    try:
        dates = [parse_dates(text) for text in given.dates]
        selection = ImageSelection(dates, set(given.fields), set(given.filters), set(given.ccds))
        print(list_images(given.root, given.sheet, selection))
    except InputError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
