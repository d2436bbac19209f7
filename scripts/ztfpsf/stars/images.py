"""A science image with what is needed to judge its pixels."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sep
from astropy.io import fits

from ztfpsf.cards import require_keyword
from ztfpsf.errors import InputError
from ztfpsf.fits_files import read_image

SATURATED_BIT = 8  # of IPAC's masks
# Cells of the background map; ztfimg uses the same (16 x 14 cells in a quadrant).
BACKGROUND_CELL_PX = (192, 220)
# Level and noise that sep gives where no cell has half of its pixels usable.
NO_CELL = (0.0, 1.0)
# With fewer pixels the noise of the sky is known to no better than a tenth.
MIN_SKY_PIXELS = 50
# Beyond what a converter of 16 bits gives, by 10^4 for coadds and responses near zero.
MAX_PIXEL_ADU = 1e9
# Beyond any camera's, coadds included; nonsense in a header must not become an error of a star.
MAX_GAIN, MAX_READ_NOISE_ELECTRON, MAX_SATURATION_ADU = 1e6, 1e4, MAX_PIXEL_ADU
# Of a variance to the square of the sky's scatter. That of real images is up to 1.3 times what
# headers say, correlated noise makes it less; another quantity in its place is off by more.
VARIANCE_RATIO = (0.5, 4.0)


class ScienceImage(NamedTuple):
    """A science image. `bad` and `saturated` exclude each other: a pixel has one reason."""

    path: str
    data: np.ndarray  # (ny, nx) float32 ADU, sky not subtracted, may hold NaN
    header: fits.Header
    bad: np.ndarray  # (ny, nx) bool: not finite, or a bit of the mask says so
    saturated: np.ndarray  # (ny, nx) bool
    gain: float  # electron/ADU
    read_noise_electron: float
    saturation_adu: float


class Sky(NamedTuple):
    """The background of an image."""

    level_adu: float  # median of the map
    rms_adu: float  # noise of a pixel on blank sky
    subtracted: np.ndarray  # (ny, nx) float32 ADU: the image minus the map, 0 where not finite


def read_science_image(
    path_to_sciimg: str,
    path_to_mskimg: str,
    bad_mask_bits: Sequence[int],
    saturation_fraction: float,
    subtracted_sky: float | str | None = None,
) -> ScienceImage:
    """Read an image and its mask (none if `path_to_mskimg` is empty).

    `subtracted_sky`: what an image lacks, ADU, or the keyword of its header that says it; it is put
    back, for noise and the pocket effect depend on it.
    A pixel is saturated above `saturation_fraction` times SATURATE, or where the mask has bit 8
    and `bad_mask_bits` holds it; it is bad where it is not finite or has another of these bits.
    Raises InputError for a file that cannot be read, a missing or impossible GAIN, READNOI or
    SATURATE, an image that its calibration declares failed, one without a usable value or with
    several that no camera gives, and a mask of another shape.
    """
    data, header = read_image(path_to_sciimg)
    # Images of our own calibration say why they are empty; IPAC's STATUS is a number.
    status = header.get("STATUS")
    if isinstance(status, str) and status != "ok":
        raise InputError(f"{path_to_sciimg}: {status}")
    data = data.astype(np.float32, copy=False)
    if subtracted_sky is not None:
        data = data + np.float32(_find_subtracted(subtracted_sky, header, path_to_sciimg))
    gain = _require_positive(header, "GAIN", MAX_GAIN, path_to_sciimg)
    read_noise = require_keyword(header, "READNOI", path_to_sciimg)
    if not 0 <= read_noise <= MAX_READ_NOISE_ELECTRON:
        raise InputError(
            f"{path_to_sciimg}: READNOI is {read_noise}; expected 0 to "
            f"{MAX_READ_NOISE_ELECTRON:g} electron: correct the header."
        )
    saturation = _require_positive(header, "SATURATE", MAX_SATURATION_ADU, path_to_sciimg)
    bad = _find_impossible(data, path_to_sciimg)
    with np.errstate(invalid="ignore"):
        saturated = data > saturation_fraction * saturation
    if path_to_mskimg:
        bits = _read_mask(path_to_mskimg, data.shape)
        others = [bit for bit in bad_mask_bits if bit != SATURATED_BIT]
        bad |= (bits & _to_integer(others)) != 0
        if SATURATED_BIT in bad_mask_bits:
            saturated |= (bits & _to_integer([SATURATED_BIT])) != 0
    saturated &= ~bad
    return ScienceImage(path_to_sciimg, data, header, bad, saturated, gain, read_noise, saturation)


def _find_subtracted(sky: float | str, header: fits.Header, path: str) -> float:
    level = require_keyword(header, sky, path) if isinstance(sky, str) else sky
    if not 0 <= level <= MAX_SATURATION_ADU:
        raise InputError(
            f"{path}: {sky} says that {level} ADU of sky were subtracted; expected 0 to "
            f"{MAX_SATURATION_ADU:g} ADU: name another keyword or the number "
            "(config key select_stars.subtracted_sky)."
        )
    return level


def _find_impossible(data: np.ndarray, path: str) -> np.ndarray:
    """Pixels (ny, nx) without a value. One beyond MAX_PIXEL_ADU stands for none and becomes NaN.

    Raises InputError where all are NaN, or where several such values show that bytes were mixed
    up: what lies between them cannot be trusted either.
    """
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(data) <= MAX_PIXEL_ADU)
    if bad.any():
        values = data[bad]
        lost = np.unique(values[np.isfinite(values)])
        if len(lost) > 1:
            raise InputError(
                f"{path}: has pixels of {lost[0]:.3g} and {lost[-1]:.3g} ADU, which no camera "
                "gives: bytes were mixed up, as by a transfer in text mode; fetch it again."
            )
        data[bad] = np.nan
    if bad.all():
        raise InputError(f"{path}: all pixels are NaN; take it out of the image sheet.")
    return bad


def read_variance_plane(path: str, image: ScienceImage, sky: Sky) -> np.ndarray:
    """Variance of the pixels of an image, (ny, nx) float32 ADU^2, NaN where it is not positive.

    Raises InputError for a file that cannot be read, another shape, a plane without positive
    values on half of the usable pixels, and one whose median does not go with the scatter of the
    sky: an inverse variance, a map of standard deviations (rms), another unit.
    """
    variance, _ = read_image(path)
    _check_shape(path, "variance plane", variance.shape, image.data.shape)
    variance = variance.astype(np.float32, copy=False)
    with np.errstate(invalid="ignore"):
        is_positive = (variance > 0) & (variance < MAX_PIXEL_ADU**2)
    usable = ~(image.bad | image.saturated)
    advice = "give the variance in ADU^2, or leave 'varimg' empty"
    n_positive, n_usable = np.count_nonzero(is_positive & usable), np.count_nonzero(usable)
    if 2 * n_positive < n_usable:
        raise InputError(
            f"{path}: {n_usable - n_positive} of {n_usable} usable pixels have no positive finite "
            f"variance; {advice}."
        )
    # A million pixels tell the median as well.
    counted = (is_positive & usable).ravel()
    sampled = variance.ravel()[counted][:: max(1, n_positive // 10**6)]
    level, rms = float(np.median(sampled)), sky.rms_adu
    kinds = {"variance": rms**2, "standard deviation": rms, "inverse variance": rms**-2}
    nearest = min(kinds, key=lambda kind: abs(np.log(level / kinds[kind])))
    if not VARIANCE_RATIO[0] <= level / rms**2 <= VARIANCE_RATIO[1]:
        guess = "" if nearest == "variance" else f", it looks like the {nearest}"
        raise InputError(
            f"{path}: its median is {level:.3g} where the sky has a variance of {rms**2:.3g} "
            f"ADU^2{guess}; {advice}."
        )
    variance[~is_positive] = np.nan
    return variance


def _require_positive(header: fits.Header, key: str, limit: float, path: str) -> float:
    value = require_keyword(header, key, path)
    if not 0 < value <= limit:
        raise InputError(
            f"{path}: {key} is {value}; expected more than 0, at most {limit:g}: correct the "
            "header."
        )
    return value


def _read_mask(path: str, shape: tuple[int, int]) -> np.ndarray:
    bits, _ = read_image(path)
    _check_shape(path, "mask", bits.shape, shape)
    if bits.dtype.kind not in "iu":
        raise InputError(f"{path}: the mask holds {bits.dtype} values; expected integer bit masks.")
    return bits.astype(np.int32, copy=False)


def _check_shape(path: str, what: str, found: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if found != shape:
        raise InputError(
            f"{path}: the {what} has {found[1]} x {found[0]} pixels, its image "
            f"{shape[1]} x {shape[0]}; name the {what} of that image in the image sheet."
        )


def _to_integer(bits: Sequence[int]) -> int:
    return sum(1 << bit for bit in set(bits))


def measure_sky(image: ScienceImage) -> Sky:
    """Background map (sep: clipped mode in cells, median-filtered, interpolated) and noise.

    Where no cell has half of its pixels usable the map is one level, that of all usable pixels.
    Raises InputError for an image without usable pixels or without noise.
    """
    data, unusable = image.data, image.bad | image.saturated
    if unusable.all():
        raise InputError(
            f"{image.path}: all pixels are saturated or masked; check SATURATE in its header "
            "and its mask, or take it out of the image sheet."
        )
    values = data[~unusable]
    if len(values) < MIN_SKY_PIXELS:
        raise InputError(
            f"{image.path}: {len(values)} pixels are neither saturated nor masked, the sky needs "
            f"{MIN_SKY_PIXELS}; check its mask, or take it out of the image sheet."
        )
    low, middle, high = np.percentile(values[:: 1 + values.size // 100_000], [25, 50, 75])
    if low == high:
        raise InputError(
            f"{image.path}: constant image (half of the pixels or more are {middle:g}); "
            "take it out of the image sheet."
        )
    finite = np.isfinite(data)
    if not finite.all():
        data = np.where(finite, data, np.float32(0))
    width, height = BACKGROUND_CELL_PX
    background = sep.Background(data, mask=unusable, bw=width, bh=height)
    if (background.globalback, background.globalrms) == NO_CELL:
        background = _pack(values)
        subtracted = data - np.float32(background.globalback)
    else:
        subtracted = data - background.back(dtype=np.float32)
    subtracted[~finite] = 0
    return Sky(float(background.globalback), float(background.globalrms), subtracted)


def _pack(values: np.ndarray) -> sep.Background:
    """Background of pixels (n,) as if they lay in one cell, side by side."""
    side = math.isqrt(len(values))
    square = np.ascontiguousarray(values[: side**2].reshape(side, side))
    return sep.Background(square, bw=side, bh=side)
