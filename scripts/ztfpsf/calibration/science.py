"""A raw quadrant to a science image: S = (R - B) / f with its variance and mask, in ADU.

R is the overscan- and linearity-corrected signal, B the master bias, f = F FLTNORM / N_FP the flat
normalised to the focal plane, times the response of the survey's star flat where one is given. With
gain g (electron/ADU) and read noise r (ADU)

    var(S) = (max(R - B, 0) / g + r^2 + sigma_B^2) / f^2 + (S sigma_f / f)^2.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ztfpsf.calibration.cosmics import Cosmics, find_cosmics
from ztfpsf.calibration.detector import RawQuadrant
from ztfpsf.calibration.frames import sample
from ztfpsf.calibration.mask import BITS, COSMIC_RAY, grow
from ztfpsf.calibration.masters import row_ranges
from ztfpsf.calibration.products import OK, Cards, Master
from ztfpsf.errors import InputError
from ztfpsf.noise import NO_SKY, model_variance
from ztfpsf.star_flat import draw_response


@dataclass(frozen=True)
class Science:
    """Settings of the calibration of a science frame."""

    saturation_grow_px: int = 1  # around saturated pixels
    cosmics: Cosmics | None = field(default_factory=Cosmics)  # None: no search


class Masters(NamedTuple):
    """What a science frame is calibrated with."""

    bias: Master
    flat: Master
    flat_scale: float  # FLTNORM / N_FP
    star_flat: np.ndarray | None = None  # (64, n, n) mag, what the flat leaves


class Calibrated(NamedTuple):
    """A science quadrant in stored order, (ny, nx)."""

    image: np.ndarray  # float32 ADU
    variance: np.ndarray  # float32 ADU^2
    mask: np.ndarray  # int16
    cards: Cards


def divide_flat(signal_adu: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Signal over flat, NaN where the flat is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        image = signal_adu / flat
    image[~(flat > 0)] = np.nan
    return image


def image_variance(
    signal_adu: np.ndarray,
    image_adu: np.ndarray,
    flat: np.ndarray,
    flat_sigma: np.ndarray,
    constant_adu2: np.ndarray,
    gain: float,
) -> np.ndarray:
    """Variance of an image pixel in ADU^2; `constant_adu2` = read noise^2 + sigma_B^2."""
    variance = model_variance(signal_adu, NO_SKY, gain, constant_adu2)
    relative = image_adu * flat_sigma
    relative *= relative
    variance += relative
    with np.errstate(divide="ignore", invalid="ignore"):
        variance /= flat * flat
    return variance


def calibrate_quadrant(quadrant: RawQuadrant, masters: Masters, settings: Science) -> Calibrated:
    """Image, variance and mask of one quadrant. Raises InputError when it cannot be made."""
    qid, shape = quadrant.qid, quadrant.frame.shape
    _check_masters(quadrant, masters)
    sample(quadrant)  # complains about a dead or saturated amplifier
    read_noise_adu = float(masters.bias.hdus[f"Q{qid}"].header["NOISEADU"])
    mask = masters.bias.mask(qid)
    mask |= masters.flat.mask(qid)
    image, variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    saturated = np.empty(shape, bool)
    read_noise2 = np.float32(read_noise_adu**2)
    for limits in row_ranges(shape[0]):
        rows = np.s_[limits[0] : limits[1]]
        raw = quadrant.raw_rows(*limits)
        np.greater_equal(raw, quadrant.settings.saturation_adu, out=saturated[rows])
        signal = quadrant.correct(raw, limits[0])
        signal -= masters.bias.rows(qid, *limits)
        scale = _flat_scale(quadrant, masters, limits)
        flat = masters.flat.rows(qid, *limits) * scale
        image[rows] = divide_flat(signal, flat)
        flat_sigma = masters.flat.sigma_rows(qid, *limits) * scale
        constant = masters.bias.sigma_rows(qid, *limits) ** 2 + read_noise2
        variance[rows] = image_variance(
            signal, image[rows], flat, flat_sigma, constant, quadrant.gain
        )
        # A pixel without a value has no variance.
        lost = ~np.isfinite(variance[rows])
        if lost.any():
            mask[rows][lost] |= BITS["nan"]
    if saturated.any():
        mask[grow(saturated, settings.saturation_grow_px)] |= BITS["saturated"]
    n_cosmics = _flag_cosmics(image, variance, mask, settings)
    cards = [
        *quadrant.cards(),
        *_calibration_cards(quadrant, masters, settings, read_noise_adu),
        ("NSATUR", int(saturated.sum()), "saturated pixels"),
        ("NCOSMIC", n_cosmics, "pixels hit by cosmic rays"),
    ]
    return Calibrated(image, variance, mask, cards)


def _flat_scale(
    quadrant: RawQuadrant, masters: Masters, limits: tuple[int, int]
) -> np.ndarray | np.float32:
    """What some rows of the master flat are multiplied by: scale of the CCD, star flat."""
    scale = np.float32(masters.flat_scale)
    if masters.star_flat is None:
        return scale
    rcid = quadrant.frame.name.quadrant(quadrant.qid).rcid
    return scale * draw_response(masters.star_flat, rcid, limits, quadrant.frame.shape)


def add_ipac_mask(mask: np.ndarray, ipac: np.ndarray, path: str) -> np.ndarray:
    """Our mask OR that of IPAC for the same exposure, both in stored order. Raises InputError."""
    if ipac.shape != mask.shape or ipac.dtype.kind not in "iu":
        raise InputError(
            f"{path}: a mask of shape {ipac.shape} and type {ipac.dtype}; expected integers of "
            f"shape {mask.shape}: give the mskimg of this quadrant."
        )
    return mask | ipac.astype(mask.dtype)


def _check_masters(quadrant: RawQuadrant, masters: Masters) -> None:
    for master in (masters.bias, masters.flat):
        status = master.status(quadrant.qid)
        if status != OK:
            raise InputError(f"{master.path}, quadrant {quadrant.qid}: {status}")
        if master.shape(quadrant.qid) != quadrant.frame.shape:
            raise InputError(
                f"{master.path}: quadrants of shape {master.shape(quadrant.qid)}, the raw frame "
                f"has {quadrant.frame.shape}; make the master again."
            )
    found, wanted = masters.flat.primary()["FILTCODE"], quadrant.frame.name.filtercode
    if found != wanted:
        raise InputError(f"{masters.flat.path}: a {found} flat for a {wanted} frame; give another.")


def _flag_cosmics(
    image: np.ndarray, variance: np.ndarray, mask: np.ndarray, settings: Science
) -> int:
    """Set the bits of cosmic rays in `mask`; returns the number of pixels."""
    if settings.cosmics is None:
        return 0
    hits = find_cosmics(image, variance, mask != 0, settings.cosmics)
    mask[hits] |= COSMIC_RAY
    return int(hits.sum())


def _calibration_cards(
    quadrant: RawQuadrant, masters: Masters, settings: Science, read_noise_adu: float
) -> Cards:
    flat_header = masters.flat.primary()
    return [
        ("GAIN", quadrant.gain, "gain (electron/ADU)"),
        ("READNOI", read_noise_adu * quadrant.gain, "read noise, measured (electron)"),
        (
            "SATURATE",
            quadrant.saturation_linear_adu / masters.flat_scale,
            "typical saturation (ADU)",
        ),
        ("SATRAW", quadrant.settings.saturation_adu, "raw saturation (ADU)"),
        ("SATGROW", settings.saturation_grow_px, "growth of saturated areas (px)"),
        ("COSMICS", settings.cosmics is not None, "cosmic rays searched"),
        ("BIASNGHT", masters.bias.primary()["NIGHT"], "night of the master bias"),
        ("FLATNGHT", flat_header["NIGHT"], "night of the master flat"),
        ("FLATLEDS", flat_header["LEDS"], "LEDs of the master flat"),
        ("FLTSCALE", masters.flat_scale, "CCD response over that of the focal plane"),
        ("STARFLAT", masters.star_flat is not None, "star flat of the survey applied"),
    ]
