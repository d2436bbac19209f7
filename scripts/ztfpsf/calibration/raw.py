"""Reading of raw CCD files: 1 primary HDU, 4 amplifier images, 4 overscan strips.

HDU k (1..4) is the image of quadrant k, HDU k + 4 its serial overscan. Pixels are read row range by
row range, so that many frames of a CCD fit in memory; every defect is an InputError with the path.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits

from ztfpsf.calibration.identity import check_identity
from ztfpsf.calibration.rice import RiceImage, open_rice
from ztfpsf.cards import get_number, get_value, repair_cards, require_keyword
from ztfpsf.errors import InputError
from ztfpsf.fits_files import FETCH, Checksum, damage_named, open_fits
from ztfpsf.names import RawName, parse_raw

QUADRANTS = (1, 2, 3, 4)
N_HDUS = 9
QUADRANT_SHAPE = (3080, 3072)  # (ny, nx) of ZTF
FITS_START = b"SIMPLE  ="
FLOAT_BITS = (-32, -64)  # BITPIX
# What a converter of 16 bits gives, and a margin for the rounding of compression.
LOWEST_ADU, HIGHEST_ADU = np.float32(-1), np.float32(65536)


class DamagedFrameError(InputError):
    """Pixels of the frame `path` that cannot be decoded: a master is made without it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


class RawFrame(NamedTuple):
    """An open raw file of one CCD."""

    path: str
    name: RawName
    hdus: fits.HDUList
    shape: tuple[int, int]  # (ny, nx) of a quadrant
    rice: dict[int, RiceImage]  # by index of HDU, where rows can be decoded directly

    def primary(self) -> fits.Header:
        return self.hdus[0].header

    def header(self, qid: int) -> fits.Header:
        return self.hdus[qid].header

    def rows(self, qid: int, first: int, stop: int) -> np.ndarray:
        """Stored rows first..stop-1 of a quadrant, float32 ADU, a writable copy.

        What no converter gives is NaN: transfers garble files.
        """
        return self._read(qid, np.s_[first:stop])

    def overscan(self, qid: int) -> np.ndarray:
        """Stored overscan strip (ny, n_columns), float32 ADU."""
        return self._read(qid + len(QUADRANTS), np.s_[:])

    def _read(self, index: int, key: slice) -> np.ndarray:
        try:
            with damage_named(self.path):
                if index in self.rice:
                    pixels = self.rice[index].rows(*key.indices(self.shape[0])[:2])
                else:
                    pixels = np.array(self.hdus[index].section[key], dtype=np.float32)
        except InputError as error:
            raise DamagedFrameError(self.path, str(error)) from None
        # NaN fail both comparisons.
        if not (pixels.min() >= LOWEST_ADU and pixels.max() <= HIGHEST_ADU):
            pixels[(pixels < LOWEST_ADU) | (pixels > HIGHEST_ADU)] = np.nan
        return pixels

    def number(self, key: str, qid: int | None = None) -> float:
        """A keyword of the primary header, or of a quadrant's."""
        header = self.primary() if qid is None else self.header(qid)
        where = self.path if qid is None else f"{self.path}, quadrant {qid}"
        return require_keyword(header, key, where)


@contextmanager
def open_raw(path: str | Path, shape: tuple[int, int] = QUADRANT_SHAPE) -> Iterator[RawFrame]:
    """An open raw file whose structure was checked against `shape` (ny, nx) of a quadrant.

    Raises InputError when the name is not ZTF's, or the file is missing, damaged, lacks an HDU,
    has another shape or is another frame than its name says.
    """
    name = parse_raw(Path(path).name)
    # Checksums, which only simulated frames have, are left out: that takes reading all bytes twice.
    with open_fits(path, checksum=Checksum(names=["PRIMARY"])) as hdus:
        frame = RawFrame(str(path), name, hdus, shape, {})
        _check_structure(frame)
        with damage_named(path):
            for hdu in hdus[: 1 + len(QUADRANTS)]:
                repair_cards(hdu.header)
        check_identity(name, hdus[0].header, str(path))
        for qid in QUADRANTS:
            _check_keyword(frame, qid, "AMP_ID", qid - 1)
            _check_keyword(frame, qid, "CCD_ID", name.ccdid)
        with open(path, "rb") as file:
            # Rows of a file that had to be unpacked are in memory only.
            if file.read(len(FITS_START)) == FITS_START:
                frame.rice.update(_rice_images(path, file.fileno()))
            yield frame


def _rice_images(path: str | Path, descriptor: int) -> Iterator[tuple[int, RiceImage]]:
    with damage_named(path), fits.open(path, disable_image_compression=True) as tables:
        for index, table in enumerate(tables):
            image = open_rice(table, descriptor)
            if image is not None:
                yield index, image


def _check_structure(frame: RawFrame) -> None:
    path, hdus = frame.path, frame.hdus
    if len(hdus) != N_HDUS:
        raise InputError(
            f"{path}: holds {len(hdus)} HDUs instead of {N_HDUS}: it lacks an amplifier image or "
            f"overscan; {FETCH}."
        )
    ny, nx = frame.shape
    for index, hdu in enumerate(hdus[1:], start=1):
        if (bits := get_number(hdu.header, "BITPIX")) not in FLOAT_BITS:
            raise InputError(
                f"{path}: HDU {index} has BITPIX = {bits:g}; expected -32, floats, whose rounding "
                "does not hide the read noise: give a raw frame as ZTF's archive has it."
            )
    for qid in QUADRANTS:
        image, strip = hdus[qid].shape, hdus[qid + len(QUADRANTS)].shape
        if image != frame.shape or len(strip) != 2 or strip[0] != ny or not 0 < strip[1] < nx:
            raise InputError(
                f"{path}: quadrant {qid} has shape {image} and overscan {strip}; expected "
                f"{frame.shape} and ({ny}, n): correct quadrant_shape or the file."
            )


def _check_keyword(frame: RawFrame, qid: int, key: str, expected: int) -> None:
    """The header may leave out who it is, but must not contradict name and order."""
    found = get_value(frame.header(qid), key)
    if found not in (None, expected):
        raise InputError(
            f"{frame.path}: HDU {qid} has {key} = {found} instead of {expected}; "
            "rename or repair the file."
        )
