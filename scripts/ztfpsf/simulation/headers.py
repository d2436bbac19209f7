"""Header keywords of ZTF frames, as far as programs read them."""

from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.time import Time

FILTERS = {"zg": (1, "ZTF_g"), "zr": (2, "ZTF_r"), "zi": (3, "ZTF_i")}


class Exposure(NamedTuple):
    """What all files of one shutter opening share."""

    filefracday: str  # UT date and 6 digits of the day's fraction
    field: int
    filtercode: str  # zg, zr or zi; bi for a bias
    exptime_s: float
    ra_deg: float
    dec_deg: float

    @property
    def mjd(self) -> float:
        day = Time(
            f"{self.filefracday[:4]}-{self.filefracday[4:6]}-{self.filefracday[6:8]}", scale="utc"
        )
        return float(day.mjd + int(self.filefracday[8:]) / 1e6)

    @property
    def exposure_id(self) -> int:
        """ZTF's EXPID: hundred-thousandths of days since 2017-01-01."""
        return round((self.mjd - 57754.0) * 100000)


def exposure_cards(exposure: Exposure) -> fits.Header:
    """Cards about the exposure: time, pointing, filter."""
    header = fits.Header()
    filter_id, name = FILTERS.get(exposure.filtercode, (0, "none"))
    cards = [
        ("EXPTIME", exposure.exptime_s, "exposure time (s)"),
        ("PIXSCALE", 1.012, "pixel scale (arcsec/px)"),
        ("FIELDID", exposure.field, "ZTF field"),
        ("FILTERID", filter_id, "1 = g, 2 = r, 3 = i"),
        ("FILTER", name, "filter"),
        ("OBSJD", exposure.mjd + 2400000.5, "Julian day of the start (day)"),
        ("OBSMJD", exposure.mjd, "modified Julian day of the start (day)"),
        ("EXPID", exposure.exposure_id, "exposure"),
        ("RA", _sexagesimal(exposure.ra_deg / 15), "requested right ascension"),
        ("DEC", f"{exposure.dec_deg:+.6f}", "requested declination (deg)"),
        ("RAD", exposure.ra_deg, "requested right ascension (deg)"),
        ("DECD", exposure.dec_deg, "requested declination (deg)"),
        ("TELRAD", exposure.ra_deg, "telescope right ascension (deg)"),
        ("TELDECD", exposure.dec_deg, "telescope declination (deg)"),
        ("INST_ROT", 0.0, "rotation about the optical axis (deg)"),
    ]
    header.extend(fits.Card(*card) for card in cards)
    header["DEC"] = _sexagesimal(exposure.dec_deg, "+")
    return header


def _sexagesimal(value: float, sign: str = "") -> str:
    hundredths = round(abs(value) * 360000)
    minutes, seconds = divmod(hundredths, 6000)
    prefix = "-" if value < 0 else sign
    return f"{prefix}{minutes // 60:02d}:{minutes % 60:02d}:{seconds / 100:05.2f}"


class Photometry(NamedTuple):
    """What the science header says about a quadrant's pixels."""

    gain: float  # e-/ADU
    read_noise_electron: float
    saturation_adu: float
    zeropoint_mag: float
    seeing_px: float
    sky_adu: float


def science_cards(
    exposure: Exposure, ccdid: int, qid: int, photometry: Photometry, wcs: fits.Header
) -> fits.Header:
    """Header of a quadrant's science image."""
    header = exposure_cards(exposure)
    header["IMGTYPE"] = ("object", "image type")
    header["BUNIT"] = ("ADU", "data number")
    cards = [
        ("CCDID", ccdid, "CCD, 1 to 16"),
        ("QID", qid, "quadrant, 1 to 4"),
        ("RCID", 4 * (ccdid - 1) + qid - 1, "readout channel, 0 to 63"),
        ("GAIN", photometry.gain, "gain (e-/ADU)"),
        ("READNOI", photometry.read_noise_electron, "read noise (e-)"),
        ("SATURATE", photometry.saturation_adu, "saturation (ADU)"),
        ("MAGZP", photometry.zeropoint_mag, "magnitude of 1 ADU per exposure"),
        ("MAGZPUNC", 0.0, "its uncertainty (mag)"),
        ("SEEING", photometry.seeing_px, "FWHM of stars (px)"),
        ("GLOBMED", photometry.sky_adu, "median of the image (ADU)"),
        ("INFOBITS", 0, "quality bits"),
        ("STATUS", 1, "1 = usable"),
    ]
    header.extend(fits.Card(*card) for card in cards)
    header.extend(wcs)
    return header


def noise_adu(photometry: Photometry) -> float:
    """Noise of a sky pixel, ADU."""
    electrons = photometry.sky_adu * photometry.gain + photometry.read_noise_electron**2
    return float(np.sqrt(electrons) / photometry.gain)
