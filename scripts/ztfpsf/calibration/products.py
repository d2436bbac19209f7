"""Files of master frames: one per CCD, four planes per quadrant, written quadrant by quadrant.

HDUs `Q<n>` (the frame, float32), `Q<n>_SIGMA` (its standard error, float32), `Q<n>_NFRAMES` (frames
that count, uint8) and `Q<n>_MASK` (int16 bits), all in stored order. A quadrant that could not be
made is NaN and says why in STATUS of its first HDU.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits

from ztfpsf.calibration.mask import BITS, DTYPE
from ztfpsf.calibration.raw import QUADRANTS
from ztfpsf.cards import get_value
from ztfpsf.errors import InputError
from ztfpsf.fits_files import damage_named
from ztfpsf.io import atomic_path, big_endian, make_again, open_product, record_provenance

OK = "ok"
KINDS = {"bias": "ADU", "flat": "relative response"}
Cards = list[tuple[str, Any, str]]
_PLANES = {f"Q{qid}{plane}" for qid in QUADRANTS for plane in ("", "_SIGMA", "_NFRAMES", "_MASK")}


class MasterQuadrant(NamedTuple):
    """One quadrant of a master frame; arrays (ny, nx) in stored order."""

    data: np.ndarray  # float32
    sigma: np.ndarray  # float32, standard error of `data`
    n_frames: np.ndarray  # uint8
    mask: np.ndarray  # int16
    status: str = OK
    cards: Cards = []  # noqa: RUF012 (never changed)


def card_text(text: str) -> str:
    """A sentence as a header holds it, on one line of ASCII: paths have letters of all kinds."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()


def failed_quadrant(shape: tuple[int, int], reason: str) -> MasterQuadrant:
    """All-NaN planes with the reason in place of a result."""
    data, sigma = np.full((2, *shape), np.nan, np.float32)
    mask = np.full(shape, BITS["nan"] | BITS["dead"], DTYPE)
    return MasterQuadrant(data, sigma, np.zeros(shape, np.uint8), mask, reason)


@contextmanager
def master_writer(
    path: str | Path, cards: Cards, provenance: Mapping[str, Any]
) -> Iterator[Callable[[int, MasterQuadrant], str]]:
    """A function `write(qid, quadrant)`, whose arrays must not be used again; returns the status.

    The file appears under its name when the block ends.
    """
    primary = fits.PrimaryHDU()
    primary.header.extend(cards)
    record_provenance(primary.header, provenance)
    with atomic_path(path) as temporary:
        primary.writeto(temporary, overwrite=True, checksum=True)

        def write(qid: int, quadrant: MasterQuadrant) -> str:
            with fits.open(temporary, mode="append") as hdus:
                hdus.extend(_planes(qid, quadrant))
            return quadrant.status

        yield write


def _planes(qid: int, quadrant: MasterQuadrant) -> list[fits.hdu.base.ExtensionHDU]:
    data = fits.ImageHDU(big_endian(quadrant.data), name=f"Q{qid}")
    data.header["STATUS"] = card_text(quadrant.status)
    data.header.extend(quadrant.cards)
    # Nearly constant planes: lossless and 100 times smaller in tiles of many rows.
    tile = {"compression_type": "RICE_1", "tile_shape": (64, quadrant.data.shape[1])}
    return [
        data,
        fits.ImageHDU(big_endian(quadrant.sigma), name=f"Q{qid}_SIGMA"),
        fits.CompImageHDU(quadrant.n_frames, name=f"Q{qid}_NFRAMES", **tile),
        fits.CompImageHDU(quadrant.mask, name=f"Q{qid}_MASK", **tile),
    ]


class Master(NamedTuple):
    """An open file of a master frame."""

    path: str
    rule: str  # that makes it
    hdus: fits.HDUList
    sections: dict[str, fits.Section]  # by name of HDU: rows are read when asked for, and not kept

    def primary(self) -> fits.Header:
        return self.hdus[0].header

    def status(self, qid: int) -> str:
        return self.hdus[f"Q{qid}"].header["STATUS"]

    def reason(self) -> str:
        """Why the first quadrant that failed did; "" when none did."""
        failed = (self.status(qid) for qid in QUADRANTS if self.status(qid) != OK)
        return next(failed, "")

    def rows(self, qid: int, first: int, stop: int) -> np.ndarray:
        """Rows first..stop-1 of the frame, float32."""
        return self._read(f"Q{qid}", np.s_[first:stop]).astype(np.float32)

    def sigma_rows(self, qid: int, first: int, stop: int) -> np.ndarray:
        """Rows first..stop-1 of its standard error, float32."""
        return self._read(f"Q{qid}_SIGMA", np.s_[first:stop]).astype(np.float32)

    def n_frames(self, qid: int) -> np.ndarray:
        return self._read(f"Q{qid}_NFRAMES", np.s_[:])

    def mask(self, qid: int) -> np.ndarray:
        """Mask (ny, nx), int16, a copy."""
        return self._read(f"Q{qid}_MASK", np.s_[:]).astype(DTYPE, copy=False)

    def _read(self, name: str, rows: slice) -> np.ndarray:
        with damage_named(self.path, make_again(self.rule)):
            return self.sections[name][rows]

    def shape(self, qid: int) -> tuple[int, int]:
        return self.hdus[f"Q{qid}"].shape


@contextmanager
def open_master(path: str | Path, kind: str, ccdid: int) -> Iterator[Master]:
    """A master frame of `kind` ('bias' or 'flat') of a CCD. Raises InputError for anything else."""
    rule = f"make_master_{kind}"
    # Checksums of the planes are left out: they would take as long as the calibration.
    with open_product(path, rule, ["PRIMARY"]) as hdus:
        with damage_named(path, make_again(rule)):
            header, sections = hdus[0].header, {hdu.name: hdu.section for hdu in hdus[1:]}
        found = get_value(header, "IMGTYPE"), get_value(header, "CCDID")
        if found != (kind, ccdid) or not sections.keys() >= _PLANES:
            raise InputError(
                f"{path}: holds {found[0]} of CCD {found[1]}, not the master {kind} of CCD "
                f"{ccdid}; give the right file."
            )
        yield Master(str(path), rule, hdus, sections)
