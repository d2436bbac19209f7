"""Images below a directory, found by their names. The standard library only: sheets use it."""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from ztfpsf.errors import InputError
from ztfpsf.names import QUADRANT_PATTERN, QuadrantName, parse_quadrant

SCIENCE_SUFFIXES = ("sciimg.fits", "sciimg.fits.fz", "sciimg.fits.gz")
MASK_SUFFIXES = ("mskimg.fits.gz", "mskimg.fits", "mskimg.fits.fz")
VARIANCE_SUFFIXES = ("varimg.fits", "varimg.fits.fz", "varimg.fits.gz")
_SCIENCE_FILE = re.compile(rf"(?P<image>{QUADRANT_PATTERN})_sciimg\.fits(?:\.fz|\.gz)?")
_DATES = re.compile(r"(20\d{6})(?:-(20\d{6}))?")
# Folders of ZTF's tree, sci/YYYY/MMDD/FFFFFF.
_YEAR = re.compile(r".*/sci/(20\d{2})")
_DAY = re.compile(r".*/sci/(20\d{2})/(\d{4})")


class ImageFiles(NamedTuple):
    """The files of one image; "" where there is none."""

    image: str
    sciimg: str
    mskimg: str = ""
    catalogue: str = ""
    varimg: str = ""


class ImageSelection(NamedTuple):
    """Which images are wanted; empty means all of them."""

    dates: Sequence[tuple[str, str]] = ()  # first and last UT day, YYYYMMDD
    fields: Collection[int] = ()
    filters: Collection[str] = ()
    ccds: Collection[int] = ()

    def has(self, name: QuadrantName) -> bool:
        return (
            self.may_have(name.filefracday[:8], name.filefracday[:8])
            and (not self.fields or name.field in self.fields)
            and (not self.filters or name.filtercode in self.filters)
            and (not self.ccds or name.ccdid in self.ccds)
        )

    def may_have(self, first: str, last: str) -> bool:
        """Whether any day from `first` to `last` is wanted."""
        return not self.dates or any(begin <= last and first <= end for begin, end in self.dates)


ALL = ImageSelection()


def parse_dates(text: str) -> tuple[str, str]:
    """First and last day of 20200924 or 20200901-20200930. Raises InputError."""
    match = _DATES.fullmatch(text)
    first, last = (match[1], match[2] or match[1]) if match else ("1", "0")
    if first > last:
        raise InputError(f"'{text}' is no date; write 20200924, or 20200901-20200930 for a month.")
    return first, last


def find_images(root: str, selection: ImageSelection = ALL) -> Iterator[ImageFiles]:
    """Science images below a directory with the masks and variances beside them, folder by folder.

    Folders of ZTF's tree (sci/YYYY/MMDD) outside the dates wanted are not entered. Links to folders
    are followed, and no folder is entered twice.
    """
    entered: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if _may_hold(f"{folder}/{name}", selection))
        present = set(files)
        matches = filter(None, map(_SCIENCE_FILE.fullmatch, sorted(files)))
        # Of a.fits and a.fits.fz, the first.
        found = {match["image"]: match[0] for match in reversed(list(matches))}
        for image, file in sorted(found.items()):
            if selection.has(parse_quadrant(image)):
                yield ImageFiles(
                    image,
                    sciimg=os.path.join(folder, file),
                    mskimg=_beside(folder, image, MASK_SUFFIXES, present),
                    varimg=_beside(folder, image, VARIANCE_SUFFIXES, present),
                )


def _may_hold(folder: str, selection: ImageSelection) -> bool:
    """Whether a folder may hold images of the dates wanted."""
    if match := _DAY.fullmatch(folder):
        return selection.may_have(match[1] + match[2], match[1] + match[2])
    if match := _YEAR.fullmatch(folder):
        return selection.may_have(f"{match[1]}0101", f"{match[1]}1231")
    return True


def _beside(folder: str, image: str, suffixes: Sequence[str], present: set[str]) -> str:
    """The first of a product's possible files among those of a folder, or ""."""
    names = (f"{image}_{suffix}" for suffix in suffixes)
    return next((os.path.join(folder, name) for name in names if name in present), "")
