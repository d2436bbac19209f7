"""Reading of raw CCD files: 1 primary HDU, 4 amplifier images, 4 overscan strips.

HDU k (1..4) is the image of quadrant k, HDU k + 4 its serial overscan. Pixels are read row range by
row range, so that many frames of a CCD fit in memory; every defect is an InputError with the path.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.io.fits.hdu.compressed._compression import CfitsioException
from astropy.utils.exceptions import AstropyUserWarning

from ztfpsf.calibration.rice import RiceImage, open_rice
from ztfpsf.cards import require_keyword
from ztfpsf.errors import InputError
from ztfpsf.names import RawName, parse_raw

QUADRANTS = (1, 2, 3, 4)
N_HDUS = 9
QUADRANT_SHAPE = (3080, 3072)  # (ny, nx) of ZTF

# What astropy raises on a damaged file, one kind per damaged part.
_DAMAGE = (OSError, ValueError, TypeError, IndexError, KeyError, EOFError, RuntimeError)
_READ_ERRORS = (*_DAMAGE, CfitsioException)


class DamagedFrame(InputError):
    """Pixels of the frame `path` that cannot be decoded: a master is made without it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
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
        """Stored rows first..stop-1 of a quadrant, float32 ADU, a writable copy."""
        return self._read(qid, np.s_[first:stop])

    def overscan(self, qid: int) -> np.ndarray:
        """Stored overscan strip (ny, n_columns), float32 ADU."""
        return self._read(qid + len(QUADRANTS), np.s_[:])

    def _read(self, index: int, key: slice) -> np.ndarray:
        try:
            if index in self.rice:
                return self.rice[index].rows(*key.indices(self.shape[0])[:2])
            return np.array(self.hdus[index].section[key], dtype=np.float32)
        except _READ_ERRORS as error:
            raise DamagedFrame(
                self.path,
                f"the pixels of HDU {index} cannot be decoded ({type(error).__name__}); fetch the "
                "file again.",
            ) from None

    def number(self, key: str, qid: int | None = None) -> float:
        """A keyword of the primary header, or of a quadrant's."""
        header = self.primary() if qid is None else self.header(qid)
        where = self.path if qid is None else f"{self.path}, quadrant {qid}"
        return require_keyword(header, key, where)


@contextmanager
def open_raw(path: str | Path, shape: tuple[int, int] = QUADRANT_SHAPE) -> Iterator[RawFrame]:
    """An open raw file whose structure was checked against `shape` (ny, nx) of a quadrant.

    Raises InputError when the name is not ZTF's, or the file is missing, truncated, lacks an HDU,
    has another shape or belongs to another CCD than its name says.
    """
    name = parse_raw(Path(path).name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # truncation is checked below
            hdus = fits.open(path, memmap=True, ignore_missing_simple=False)
            n_hdus = len(hdus)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; correct the list of raw frames.") from None
    except _READ_ERRORS as error:
        raise InputError(
            f"{path}: not a FITS file ({type(error).__name__}); fetch it again."
        ) from None
    frame = RawFrame(str(path), name, hdus, shape, {})
    with hdus, open(path, "rb") as file:
        _check_structure(frame, n_hdus)
        if not str(path).endswith(".gz"):
            frame.rice.update(_rice_images(path, file.fileno()))
        yield frame


def _rice_images(path: str | Path, descriptor: int) -> Iterator[tuple[int, RiceImage]]:
    with fits.open(path, disable_image_compression=True) as tables:
        for index, table in enumerate(tables):
            image = open_rice(table, descriptor)
            if image is not None:
                yield index, image


def _check_structure(frame: RawFrame, n_hdus: int) -> None:
    path, hdus = frame.path, frame.hdus
    if n_hdus != N_HDUS:
        raise InputError(
            f"{path}: holds {n_hdus} HDUs instead of {N_HDUS}: it is truncated or lacks an "
            "amplifier image or overscan; fetch it again."
        )
    last = hdus[-1].fileinfo()
    if not path.endswith(".gz") and last["datLoc"] + last["datSpan"] > os.path.getsize(path):
        raise InputError(f"{path}: the file is truncated; fetch it again.")
    for qid in QUADRANTS:
        image, strip = hdus[qid].shape, hdus[qid + len(QUADRANTS)].shape
        if image != frame.shape or len(strip) != 2 or strip[0] != frame.shape[0]:
            raise InputError(
                f"{path}: quadrant {qid} has shape {image} and overscan {strip}; expected "
                f"{frame.shape} and ({frame.shape[0]}, n): correct quadrant_shape or the file."
            )
        _check_keyword(frame, qid, "AMP_ID", qid - 1)
        _check_keyword(frame, qid, "CCD_ID", frame.name.ccdid)


def _check_keyword(frame: RawFrame, qid: int, key: str, expected: int) -> None:
    """The header may leave out who it is, but must not contradict name and order."""
    found = frame.header(qid).get(key, expected)
    if found != expected:
        raise InputError(
            f"{frame.path}: HDU {qid} has {key} = {found} instead of {expected}; "
            "rename or repair the file."
        )
