"""Raw CCD files: names, tree, headers, 4 amplifier images and 4 overscans."""

from pathlib import Path

from astropy.io import fits

from ztfpsf.io import write_fits
from ztfpsf.simulation.detector import Amplifier
from ztfpsf.simulation.headers import Exposure, exposure_cards
from ztfpsf.simulation.plan import QUADRANTS, PlannedFrame
from ztfpsf.simulation.readout import RawAmplifier
from ztfpsf.simulation.rice import compress

IMAGE_TYPES = {"b": "bias", "f": "domeflat", "o": "object"}
LED_NM = {
    2: 451.4,
    3: 479.8,
    4: 499.9,
    5: 525.9,
    7: 593.5,
    8: 620.7,
    9: 633.1,
    10: 652.9,
    11: 738.9,
    12: 833.6,
    13: 864.6,
}


def amplifier_name(ccdid: int, amp_id: int) -> str:
    """Letter in the headers: H, G, F, E, but F, E, H, G where the CCD is mounted rotated."""
    return ("FEHG" if (ccdid - 1) % 4 >= 2 else "HGFE")[amp_id]


def primary_header(exposure: Exposure, frame: PlannedFrame, ccdid: int) -> fits.Header:
    """Cards about the exposure and its kind."""
    header = exposure_cards(exposure)
    header["IMGTYPE"] = (IMAGE_TYPES[frame.kind], "image type")
    header["CCDID"] = (ccdid, "CCD, 1 to 16")
    header["NFRAMES"] = (8, "images in this file")
    header["ORIGNAME"] = frame.file_name(ccdid)
    if frame.led is not None:
        header["ILUM_LED"] = (frame.led, "LED of the flat-field lamp")
        header["ILUMWAVE"] = (LED_NM.get(frame.led, 0.0), "its wavelength (nm)")
        header["ILUMPOWR"] = (1.0, "its relative power")
    return header


def _amplifier_header(amplifier: Amplifier) -> fits.Header:
    header = fits.Header()
    amp_id = amplifier.qid - 1
    header["CCD_ID"] = (amplifier.ccdid, "ID value of CCD detector")
    header["AMP_ID"] = (amp_id, "ID value of CCD amplifier")
    header["AMP_NAME"] = (amplifier_name(amplifier.ccdid, amp_id), "name of CCD amplifier")
    header["GAIN"] = (round(amplifier.gain, 4), "gain (e-/ADU)")
    header["READNOI"] = (round(amplifier.read_noise_electron, 4), "read noise (e-)")
    header["DARKCUR"] = (0.0, "dark current (e-/s)")
    return header


def write_raw(
    path: str | Path,
    primary: fits.Header,
    amplifiers: list[Amplifier],
    frames: list[RawAmplifier],
    provenance: dict,
) -> None:
    """Write one CCD file: HDUs 1 to 4 are the quadrants q1 to q4, 5 to 8 their overscans."""
    assert [amplifier.qid for amplifier in amplifiers] == list(QUADRANTS)
    headers = [_amplifier_header(amplifier) for amplifier in amplifiers]
    hdus = fits.HDUList([fits.PrimaryHDU(header=primary)])
    for part in ("image", "overscan"):
        for header, frame in zip(headers, frames, strict=True):
            hdus.append(compress(getattr(frame, part), header))
    write_fits(hdus, path, provenance)
