"""All quadrants of a raw CCD frame, calibrated and written one after the other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits

from ztfpsf.calibration.detector import Detector, prepare_quadrant
from ztfpsf.calibration.header import (
    identity_cards,
    ipac_cards,
    make_header,
    pointing_cards,
    raw_cards,
)
from ztfpsf.calibration.mask import BITS, DTYPE
from ztfpsf.calibration.products import OK, Cards, card_text
from ztfpsf.calibration.raw import QUADRANTS, RawFrame
from ztfpsf.calibration.science import (
    Calibrated,
    Masters,
    Science,
    add_ipac_mask,
    calibrate_quadrant,
)
from ztfpsf.cards import repair_cards
from ztfpsf.errors import InputError
from ztfpsf.fits_files import open_fits, read_image
from ztfpsf.io import big_endian, write_fits
from ztfpsf.jobs import in_work, log_failure

# Lossless for masks; the noise of an image is kept to 1/16 of its standard deviation by rice.
COMPRESSIONS = {
    "rice": {"compression_type": "RICE_1", "quantize_level": 16.0},
    "gzip": {"compression_type": "GZIP_2", "quantize_level": 0.0},
}

# Files whose header has IPAC's world coordinates; a header alone will do.
IPAC_HEADERS = ("sciimg", "header")


class ProductPaths(NamedTuple):
    """Files of one quadrant."""

    sciimg: str
    varimg: str
    mskimg: str


class Ccd(NamedTuple):
    """A raw frame with all that its calibration needs."""

    raw: RawFrame
    masters: Masters
    paths_to_ipac: Sequence[str]  # sciimg (or header) and mskimg files, recognised by name
    detector: Detector
    science: Science
    compress: str  # none, rice or gzip
    provenance: Mapping[str, Any]

    def ipac(self, qid: int, *kinds: str) -> str | None:
        """Path of the first of IPAC's files of a quadrant, None if none was given."""
        stems = [f"{self.raw.name.quadrant(qid)}_{kind}.fits" for kind in kinds]
        return next(
            (p for stem in stems for p in self.paths_to_ipac if Path(p).name.startswith(stem)), None
        )


def calibrate_ccd(ccd: Ccd, products: Sequence[ProductPaths]) -> dict[str, str]:
    """Write the products of quadrants 1 to 4; returns 'ok' or the reason, by image name.

    A quadrant that fails is written as NaN, all masked, with the reason in STATUS. Raises
    InputError with the first reason, and writes nothing, when all four fail.
    """
    statuses = {qid: _write_quadrant(ccd, qid, products[qid - 1]) for qid in QUADRANTS}
    if OK not in statuses.values():
        raise InputError(f"no quadrant could be calibrated: {statuses[QUADRANTS[0]]}")
    for qid, status in statuses.items():
        if status != OK:
            header = make_header([("STATUS", card_text(status), "")])
            _write(ccd, _nothing(ccd.raw.shape), header, products[qid - 1])
    return {str(ccd.raw.name.quadrant(qid)): status for qid, status in statuses.items()}


def _write_quadrant(ccd: Ccd, qid: int, paths: ProductPaths) -> str:
    """Its status; written when ok. Nothing of a quadrant stays in memory when the next begins."""
    try:
        with in_work(str(ccd.raw.name.quadrant(qid))):
            calibrated, cards = _calibrate(ccd, qid)
    except InputError as error:
        log_failure(error)
        return str(error)
    _write(ccd, calibrated, make_header(cards, calibrated.cards, [("STATUS", OK, "")]), paths)
    return OK


def _calibrate(ccd: Ccd, qid: int) -> tuple[Calibrated, Cards]:
    cards = [*raw_cards(ccd.raw, qid), *identity_cards(ccd.raw, qid)]
    path_to_header, path_to_mask = ccd.ipac(qid, *IPAC_HEADERS), ccd.ipac(qid, "mskimg")
    if path_to_header:
        cards += ipac_cards(_image_header(path_to_header), path_to_header)
    else:
        cards += pointing_cards(ccd.raw, qid)
    quadrant = prepare_quadrant(ccd.raw, qid, ccd.detector)
    calibrated = calibrate_quadrant(quadrant, ccd.masters, ccd.science)
    if path_to_mask:
        ipac, _ = read_image(path_to_mask)
        calibrated = calibrated._replace(mask=add_ipac_mask(calibrated.mask, ipac, path_to_mask))
    cards.append(("IPACMASK", path_to_mask is not None, "mask includes that of IPAC"))
    return calibrated, cards


def _image_header(path: str) -> fits.Header:
    """Header of the first HDU that describes an image, with or without its pixels."""
    with open_fits(path) as hdus:
        headers = [hdu.header for hdu in hdus]
    for header in headers:
        repair_cards(header)
    return next((header for header in headers if "CRVAL1" in header), headers[0])


def _nothing(shape: tuple[int, int]) -> Calibrated:
    """NaN pixels, all masked."""
    image, variance = np.full((2, *shape), np.nan, np.float32)
    return Calibrated(image, variance, np.full(shape, BITS["nan"] | BITS["dead"], DTYPE), [])


def _write(ccd: Ccd, calibrated: Calibrated, header: fits.Header, paths: ProductPaths) -> None:
    units = {"sciimg": ("adu", calibrated.image), "varimg": ("adu2", calibrated.variance)}
    for kind, (unit, data) in units.items():
        header["BUNIT"] = (unit, "unit of the pixels")
        write_fits(_hdus(data, header, ccd.compress), getattr(paths, kind), ccd.provenance)
    del header["BUNIT"]
    for name, value in BITS.items():
        header[f"HIERARCH MASK {name.upper()}"] = (value, "bit of the mask")
    write_fits(_hdus(calibrated.mask, header, ccd.compress), paths.mskimg, ccd.provenance)


def _hdus(data: np.ndarray, header: fits.Header, compress: str) -> fits.HDUList:
    """An image in the primary HDU as ZTF stores it, or compressed in the first extension."""
    if compress == "none":
        return fits.HDUList([fits.PrimaryHDU(big_endian(data), header)])
    options = dict(COMPRESSIONS[compress])
    if data.dtype.kind == "i":
        options["quantize_level"] = 0.0
    return fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, header, **options)])
