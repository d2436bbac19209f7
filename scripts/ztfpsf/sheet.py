"""The image sheet: which images there are, and where their files lie.

A CSV or parquet file with the columns `image,sciimg,mskimg,catalogue,varimg`; only `image` is
needed. Read at every start of the workflow: the standard library only for CSV (up to 10^5 rows),
and no file is looked at before its unit is asked for.
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ztfpsf.csv_rows import SheetKind, read_rows
from ztfpsf.errors import InputError
from ztfpsf.listing import (
    MASK_SUFFIXES,
    SCIENCE_SUFFIXES,
    VARIANCE_SUFFIXES,
    ImageFiles,
    find_images,
)
from ztfpsf.names import QuadrantName, parse_quadrant
from ztfpsf.units import bounds, group_of, is_group, list_units

COLUMNS = ("image", "sciimg", "mskimg", "catalogue", "varimg")


@dataclass(frozen=True)
class ImageSheet:
    """The images of a sheet, by name; `rows[i]` belongs to `names[i]`."""

    path: str
    data_root: str
    names: Sequence[str]  # sorted
    rows: Sequence[ImageFiles]

    def images(self, unit: str) -> Sequence[ImageFiles]:
        """Files of the images of a unit, in the order of their names.

        Raises InputError when the sheet has none.
        """
        places = self._find_places(unit)
        if not places:
            raise InputError(
                f"{self.path}: no image of '{unit}' in this image sheet; add a row for each of its "
                "images, or correct the name."
            )
        return [self._resolve(self.rows[place]) for place in places]

    def images_by_unit(self, level: str, batch_size: int) -> dict[str, list[str]]:
        """Names of the images of every unit."""
        return {
            unit: [self.names[place] for place in self._find_places(unit)]
            for unit in self.units(level, batch_size)
        }

    def units(self, level: str, batch_size: int) -> Sequence[str]:
        """Sorted names of the units of the sheet; see ztfpsf.units."""
        return list_units(self.names, level, batch_size)

    @cached_property
    def images_by_group(self) -> Mapping[str, Sequence[str]]:
        """Names of the images of every group."""
        return {
            group: [self.names[place] for place in places] for group, places in self._groups.items()
        }

    def _find_places(self, unit: str) -> Sequence[int]:
        """Numbers of the rows of a unit."""
        if is_group(unit):
            return self._groups.get(unit, [])
        return range(*bounds(self.names, unit))

    @cached_property
    def _groups(self) -> Mapping[str, Sequence[int]]:
        groups: dict[str, list[int]] = {}
        for place, name in enumerate(self.names):
            groups.setdefault(group_of(name), []).append(place)
        return groups

    def _resolve(self, row: ImageFiles) -> ImageFiles:
        """Replace a root of ZTF's tree by the files below it; a file may have any name."""
        # Nearly all files are named so; to look at every file of a night would take a while.
        is_file = row.sciimg.endswith((".fits", ".fits.fz", ".fits.gz"))
        if is_file or (row.sciimg and not os.path.isdir(row.sciimg)):
            return row
        root, name = row.sciimg or self.data_root, parse_quadrant(row.image)
        return row._replace(
            sciimg=_find(root, name, SCIENCE_SUFFIXES) or _join(root, name, SCIENCE_SUFFIXES[0]),
            mskimg=row.mskimg or _find(root, name, MASK_SUFFIXES),
            varimg=row.varimg or _find(root, name, VARIANCE_SUFFIXES),
        )


NO_IMAGES = ImageSheet("config keys 'images' and 'frames'", "", [], [])


def add_images(sheet: ImageSheet, images: Iterable[ImageFiles], source: str) -> ImageSheet:
    """A sheet with the images that another source gives. Raises InputError for one in both."""
    rows = dict(zip(sheet.names, sheet.rows, strict=True))
    for files in images:
        if files.image in rows:
            raise InputError(
                f"{sheet.path}: image '{files.image}' comes from {source} as well; take it out "
                "of one of them."
            )
        rows[files.image] = files
    names = sorted(rows)
    path = f"{sheet.path}, {source}" if sheet.names else source
    return ImageSheet(path, sheet.data_root, names, [rows[name] for name in names])


def read_sheet(path: str | Path, data_root: str = "") -> ImageSheet:
    """Read an image sheet.

    `data_root` is the root of ZTF's tree (sci/YYYY/MMDD/FFFFFF/...) for rows that name an image
    and no file. Raises InputError naming the file and line of a bad row.
    """
    if str(path).endswith(".parquet"):
        from ztfpsf.sheet_parquet import read_parquet_sheet

        return read_parquet_sheet(path, data_root)
    rows: dict[str, ImageFiles] = {}
    for where, record in read_rows(path, IMAGE_SHEET):
        for files in _expand(ImageFiles(**{"sciimg": "", **record}), where, data_root):
            if files.image in rows:
                raise InputError(f"{where}: image '{files.image}' is listed twice; keep one row.")
            rows[files.image] = files
    if not rows:
        raise InputError(no_image(path))
    names = sorted(rows)
    return ImageSheet(str(path), data_root, names, [rows[name] for name in names])


def no_image(path: str | Path) -> str:
    return f"{path}: the image sheet holds no image; add a row for each image."


def no_file(image: str) -> str:
    return (
        f"no file is given for '{image}'; write its path in the column 'sciimg', or the root of "
        "ZTF's tree in the config key 'data_root'."
    )


def check_columns(columns: Sequence[str], where: str) -> None:
    expected = ", ".join(COLUMNS)
    for column in columns:
        if column not in COLUMNS:
            raise InputError(
                f"{where}: unknown column '{column}'{suggest(column, COLUMNS)}; the columns of an "
                f"image sheet are {expected}."
            )
    if "image" not in columns:
        raise InputError(
            f"{where}: column 'image' is missing; the columns of an image sheet are {expected}."
        )


IMAGE_SHEET = SheetKind("image sheet", "images", check_columns)


def suggest(word: str, valid: Sequence[str]) -> str:
    """`` (did you mean '...'?)`` for a misspelt word, or nothing."""
    close = difflib.get_close_matches(word, valid, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _expand(row: ImageFiles, where: str, data_root: str) -> Iterator[ImageFiles]:
    """Check a row; a directory without an image name becomes the images found below it."""
    if row.image:
        _check_named(row, where, data_root)
        yield row
    elif not os.path.isdir(row.sciimg):
        given = f", and '{row.sciimg}' is no directory of images" if row.sciimg else ""
        raise InputError(
            f"{where}: the image has no name{given}; write one of the form "
            "ztf_20200924431759_000655_zr_c13_o_q3 in the column 'image'."
        )
    elif row.mskimg or row.varimg:
        raise InputError(
            f"{where}: masks and variances of a directory are found beside its images; leave "
            "'mskimg' and 'varimg' empty."
        )
    else:
        yield from _scan(row, where)


def _check_named(row: ImageFiles, where: str, data_root: str) -> None:
    try:
        parse_quadrant(row.image)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if not row.sciimg and not data_root:
        raise InputError(f"{where}: {no_file(row.image)}")


def _scan(row: ImageFiles, where: str) -> Iterator[ImageFiles]:
    """All science images below a directory, with the masks beside them."""
    found: dict[str, ImageFiles] = {}
    for files in find_images(row.sciimg):
        found.setdefault(files.image, files._replace(catalogue=row.catalogue))
    if not found:
        raise InputError(
            f"{where}: no file named like ztf_20200924431759_000655_zr_c13_o_q3_sciimg.fits below "
            f"the directory '{row.sciimg}'; correct the column 'sciimg'."
        )
    yield from found.values()


def _find(root: str, name: QuadrantName, suffixes: Sequence[str]) -> str:
    """The first of a product's possible files that is there, or ""."""
    paths = (_join(root, name, suffix) for suffix in suffixes)
    return next((path for path in paths if os.path.exists(path)), "")


def _join(root: str, name: QuadrantName, suffix: str) -> str:
    return os.path.join(root, name.path(suffix))
