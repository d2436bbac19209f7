"""Header of a calibrated quadrant: raw keywords, world coordinates, and what remains true.

World coordinates come from IPAC's header of the same quadrant where it is given, else from the
telescope's pointing and the layout of the focal plane (WCSFROM = 'pointing', good to an arcmin).
IPAC's MAGZP and SATURATE belong to differently calibrated pixels and are not taken over; the zero
point is kept as IPACZP, for rough magnitudes.
"""

import math
import re
from pathlib import Path

from astropy.io import fits

from ztfpsf.calibration.products import Cards
from ztfpsf.calibration.raw import RawFrame
from ztfpsf.cards import require_keyword
from ztfpsf.focal_plane import quadrant_offset_px

PIXEL_SCALE_DEG = 1.0126 / 3600.0

_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|EXTNAME|EXTVER|BSCALE|BZERO|BLANK"
    r"|CHECKSUM|DATASUM|COMMENT|HISTORY|NFRAMES|FILENAME|ORIGNAME|ORIGIN|VERSION|INPUTS|SETTINGS|Z.*|"
)
_WCS = re.compile(
    r"WCSAXES|WCSNAME|RADESYS|EQUINOX|LONPOLE|LATPOLE"
    r"|CTYPE\d|CUNIT\d|CRVAL\d|CRPIX\d|CDELT\d|CROTA\d|CD\d_\d|PC\d_\d|PV\d_\d+"
)
# True for the exposure whatever is done to its pixels afterwards.
_IPAC_EXPOSURE = ("SEEING", "AIRMASS", "MOONILLF", "INFOBITS")
_FILTER_IDS = {"zg": 1, "zr": 2, "zi": 3}


def raw_cards(frame: RawFrame, qid: int) -> Cards:
    """Keywords of the raw primary and quadrant headers that describe the exposure."""
    kept = {}
    for header in (frame.primary(), frame.header(qid)):
        for card in header.cards:
            if not _STRUCTURE.fullmatch(card.keyword) and not _WCS.fullmatch(card.keyword):
                kept[card.keyword] = (card.keyword, card.value, card.comment)
    return list(kept.values())


def identity_cards(frame: RawFrame, qid: int) -> Cards:
    """Which quadrant, when, how long. Raises InputError without EXPTIME, OBSMJD or OBSJD."""
    name = frame.name.quadrant(qid)
    if "OBSMJD" in frame.primary():
        obsmjd = frame.number("OBSMJD")
    else:
        obsmjd = frame.number("OBSJD") - 2_400_000.5
    return [
        ("BUNIT", "adu", "unit of the pixels"),
        ("IMGTYPE", "object", "kind of frame"),
        ("CCDID", name.ccdid, "CCD, 1..16"),
        ("QID", qid, "quadrant, 1..4"),
        ("RCID", name.rcid, "readout channel, 0..63"),
        ("FILTERID", _FILTER_IDS[name.filtercode], "1 = g, 2 = r, 3 = i"),
        ("FIELDID", name.field, "field"),
        ("OBSMJD", obsmjd, "start of the exposure (MJD, UTC)"),
        ("EXPTIME", frame.number("EXPTIME"), "exposure time (s)"),
        ("RAWFILE", Path(frame.path).name, "raw frame"),
    ]


def pointing_cards(frame: RawFrame, qid: int) -> Cards:
    """Tangential world coordinates from the pointing RAD, DECD. Raises InputError."""
    ny, nx = frame.shape
    east, north = quadrant_offset_px(frame.name.ccdid, qid, frame.shape)
    # ASSUME: no rotation of the camera; ZTF's headers show less than a degree.
    return [
        ("WCSFROM", "pointing", "world coordinates: ipac or pointing"),
        ("CTYPE1", "RA---TAN", ""),
        ("CTYPE2", "DEC--TAN", ""),
        ("CUNIT1", "deg", ""),
        ("CUNIT2", "deg", ""),
        ("CRVAL1", frame.number("RAD"), "pointing"),
        ("CRVAL2", frame.number("DECD"), "pointing"),
        # Stored pixels grow to the west and south.
        ("CRPIX1", (nx + 1) / 2 + east, ""),
        ("CRPIX2", (ny + 1) / 2 + north, ""),
        ("CD1_1", -PIXEL_SCALE_DEG, ""),
        ("CD1_2", 0.0, ""),
        ("CD2_1", 0.0, ""),
        ("CD2_2", -PIXEL_SCALE_DEG, ""),
        ("RADESYS", "ICRS", ""),
    ]


def ipac_cards(header: fits.Header, path: str | Path) -> Cards:
    """World coordinates and the keywords of IPAC's header that stay true. Raises InputError."""
    for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CD1_1", "CD2_2"):
        require_keyword(header, key, path)
    cards: Cards = [("WCSFROM", "ipac", "world coordinates: ipac or pointing")]
    for card in header.cards:
        if _WCS.fullmatch(card.keyword) or card.keyword in _IPAC_EXPOSURE:
            cards.append((card.keyword, card.value, card.comment))
    if "MAGZP" in header:
        cards.append(("IPACZP", header["MAGZP"], "MAGZP of IPAC's image, not of this one (mag)"))
    return cards


def make_header(*groups: Cards) -> fits.Header:
    """Header of all cards; a later value replaces an earlier one of the same keyword."""
    header = fits.Header()
    for cards in groups:
        for keyword, value, comment in cards:
            # A raw header's 1e400 is infinite, which no card can hold.
            if not isinstance(value, float) or math.isfinite(value):
                header[keyword] = (value, comment)
    return header
