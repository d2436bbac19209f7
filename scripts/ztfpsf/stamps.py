"""Stamps: the pixels around every selected star, with variance and mask; their file format."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from astropy.io import fits
from scipy.ndimage import convolve1d

from ztfpsf.errors import InputError
from ztfpsf.images import Quadrant, Sky
from ztfpsf.io import write_fits

# The local sky comes from a ring that begins where the stamp ends and is this wide: some 900
# pixels for a stamp of 25, so that its median is good to a twentieth of the noise of a pixel.
RING_WIDTH_PX = 9
N_CLIPS = 3
SMOOTHING = (0.25, 0.5, 0.25)

IMAGE_COLUMNS = {
    "image": str,
    "status": str,
    "gain": float,
    "read_noise_electron": float,
    "saturation_adu": float,
    "magzp_mag": float,
    "seeing_px": float,
    "obsmjd": float,
    "exptime_s": float,
    "nx": int,
    "ny": int,
    "sky_adu": float,
    "sky_rms_adu": float,
}
STAR_COLUMNS = {
    "image": str,
    "star_id": str,
    "ra_deg": float,
    "dec_deg": float,
    "mag": float,
    "x_px": float,
    "y_px": float,
    "x0_px": int,
    "y0_px": int,
    "sky_adu": float,
    "sky_rms_adu": float,
    "is_reserved": bool,
}


class Stamps(NamedTuple):
    """Stamps of n stars of one or more images; pixel [i, 0, 0] is (x0_px, y0_px) of star i."""

    images: pd.DataFrame  # IMAGE_COLUMNS, one row per image
    stars: pd.DataFrame  # STAR_COLUMNS, n rows
    data: np.ndarray  # (n, size, size) float32 ADU, sky not subtracted, finite everywhere
    variance: np.ndarray  # (n, size, size) float32 ADU^2, positive
    mask: np.ndarray  # (n, size, size) uint8, 1 = do not use


def cut_image(name: str, quadrant: Quadrant, sky: Sky, stars: pd.DataFrame, size_px: int) -> Stamps:
    """Stamps of the kept stars (rows of select_stars with an empty reason) of one image.

    The stamp is centred on the pixel nearest to the star. A pixel that is not finite holds the
    local sky, and mask 1. Variance = max(smoothed image, sky) / gain + (read noise / gain)^2:
    raw pixels as their own variance would favour low values. Raises InputError when a stamp
    reaches over the edge of the image.
    """
    if size_px < 3 or size_px % 2 == 0:
        raise InputError(f"cut_stamps: size_px is {size_px}; it must be odd and at least 3.")
    x0 = np.floor(stars["x_px"].to_numpy() + 0.5).astype(np.int32) - size_px // 2
    y0 = np.floor(stars["y_px"].to_numpy() + 0.5).astype(np.int32) - size_px // 2
    ny, nx = quadrant.data.shape
    if len(stars) and (
        min(x0.min(), y0.min()) < 0 or (x0 + size_px).max() > nx or (y0 + size_px).max() > ny
    ):
        raise InputError(
            f"{quadrant.path}: a stamp of {size_px} px reaches over the edge of the image; "
            "select the stars again with this cut_stamps: size_px."
        )
    steps = np.arange(size_px)
    cut = (y0[:, None, None] + steps[:, None], x0[:, None, None] + steps)
    data = quadrant.data[cut]
    mask = quadrant.bad[cut] | quadrant.saturated[cut]
    local_sky, local_rms = _measure_local_sky(quadrant, sky, x0, y0, size_px)
    data = np.where(np.isfinite(data), data, local_sky[:, None, None])
    variance = _make_variance(quadrant, data, mask, local_sky)
    table = stars.assign(image=name, x0_px=x0, y0_px=y0, sky_adu=local_sky, sky_rms_adu=local_rms)[
        list(STAR_COLUMNS)
    ]
    return Stamps(_describe(name, quadrant, sky), table, data, variance, mask.astype(np.uint8))


def _measure_local_sky(
    quadrant: Quadrant, sky: Sky, x0: np.ndarray, y0: np.ndarray, size_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """Clipped median and 1.4826 MAD in the ring around each stamp, (n,) float32 ADU.

    Where no pixel of the ring can be used, those of the image.
    """
    half = size_px // 2
    outer = half + RING_WIDTH_PX
    dy, dx = np.mgrid[-outer : outer + 1, -outer : outer + 1]
    ring = (np.hypot(dx, dy) > half) & (np.hypot(dx, dy) <= outer)
    ny, nx = quadrant.data.shape
    column = (x0 + half)[:, None] + dx[ring]
    row = (y0 + half)[:, None] + dy[ring]
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    cut = (row.clip(0, ny - 1), column.clip(0, nx - 1))
    usable = inside & ~(quadrant.bad[cut] | quadrant.saturated[cut])
    values = np.where(usable, quadrant.data[cut], np.nan)
    values[~usable.any(axis=1)] = sky.level_adu
    for _ in range(N_CLIPS):
        level = np.nanmedian(values, axis=1)
        rms = 1.4826 * np.nanmedian(np.abs(values - level[:, None]), axis=1)
        values[np.abs(values - level[:, None]) > 3 * rms[:, None]] = np.nan
    return level, np.where(rms > 0, rms, np.float32(sky.rms_adu))


def _make_variance(
    quadrant: Quadrant, data: np.ndarray, mask: np.ndarray, local_sky: np.ndarray
) -> np.ndarray:
    """Variance (n, size, size) float32 ADU^2 of sky, star and read-out."""
    floor = np.maximum(local_sky, 0)[:, None, None]
    smooth = np.where(mask, floor, data)
    for axis in (1, 2):
        smooth = convolve1d(smooth, SMOOTHING, axis=axis, mode="nearest")
    read_noise_adu = quadrant.read_noise_electron / quadrant.gain
    return (np.maximum(smooth, floor) / quadrant.gain + read_noise_adu**2).astype(np.float32)


def _describe(name: str, quadrant: Quadrant, sky: Sky) -> pd.DataFrame:
    """The image's row of IMAGES; what a header does not tell and no step needs is NaN."""
    header, (ny, nx) = quadrant.header, quadrant.data.shape
    optional = {"magzp_mag": "MAGZP", "seeing_px": "SEEING", "obsmjd": "OBSMJD"}
    row: dict[str, Any] = {key: header.get(word, np.nan) for key, word in optional.items()}
    row |= {
        "image": name,
        "status": "ok",
        "gain": quadrant.gain,
        "read_noise_electron": quadrant.read_noise_electron,
        "saturation_adu": quadrant.saturation_adu,
        "exptime_s": header.get("EXPTIME", np.nan),
        "nx": nx,
        "ny": ny,
        "sky_adu": sky.level_adu,
        "sky_rms_adu": sky.rms_adu,
    }
    return pd.DataFrame([row])[list(IMAGE_COLUMNS)]


def describe_failure(name: str, status: str) -> pd.DataFrame:
    """The row of IMAGES of an image that failed."""
    blank = {str: "", float: np.nan, int: 0}
    row = {key: blank[kind] for key, kind in IMAGE_COLUMNS.items()}
    return pd.DataFrame([row | {"image": name, "status": status}])


def concatenate(images: Sequence[pd.DataFrame], parts: Sequence[Stamps], size_px: int) -> Stamps:
    """The stamps of several images as one; `images` has a row for the failed ones, too."""
    blank = np.zeros((0, size_px, size_px))
    stars = pd.concat([part.stars for part in parts]) if parts else _make_empty(STAR_COLUMNS)
    return Stamps(
        pd.concat(images, ignore_index=True),
        stars.reset_index(drop=True),
        np.concatenate([blank.astype(np.float32), *(part.data for part in parts)]),
        np.concatenate([blank.astype(np.float32), *(part.variance for part in parts)]),
        np.concatenate([blank.astype(np.uint8), *(part.mask for part in parts)]),
    )


def _make_empty(columns: Mapping[str, type]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})


def write_stamps(stamps: Stamps, path: str | Path, provenance: Mapping[str, Any]) -> None:
    """Write HDUs IMAGES, STARS (tables), DATA, VARIANCE, MASK (cubes, star = first axis)."""
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(),
            _to_hdu(stamps.images, IMAGE_COLUMNS, "IMAGES"),
            _to_hdu(stamps.stars, STAR_COLUMNS, "STARS"),
            fits.ImageHDU(stamps.data, name="DATA"),
            fits.ImageHDU(stamps.variance, name="VARIANCE"),
            fits.ImageHDU(stamps.mask, name="MASK"),
        ]
    )
    hdus["DATA"].header["BUNIT"] = "adu"
    hdus["VARIANCE"].header["BUNIT"] = "adu**2"
    write_fits(hdus, path, provenance)


def read_stamps(path: str | Path) -> Stamps:
    """Read a file of write_stamps. Raises InputError when it is missing or not such a file."""
    try:
        with fits.open(path, memmap=False) as hdus:
            header = hdus["DATA"].header
            shape = tuple(header[f"NAXIS{axis}"] for axis in (3, 2, 1))
            cubes = [
                _to_native(hdus[name].data, dtype, shape)
                for name, dtype in (("DATA", "f4"), ("VARIANCE", "f4"), ("MASK", "u1"))
            ]
            images = _to_frame(hdus["IMAGES"].data, IMAGE_COLUMNS)
            return Stamps(images, _to_frame(hdus["STARS"].data, STAR_COLUMNS), *cubes)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; make it with the rule cut_stamps.") from None
    except (OSError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not a complete stamps file ({error}); make it again with cut_stamps."
        ) from None


def _to_native(data: np.ndarray | None, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape, dtype) if data is None else np.ascontiguousarray(data, dtype)


def _to_hdu(table: pd.DataFrame, columns: Mapping[str, type], name: str) -> fits.BinTableHDU:
    formats = {float: "D", int: "J", bool: "L"}
    out = []
    for key, kind in columns.items():
        values = table[key].to_numpy()
        if kind is str:
            values = np.array([str(v).encode("ascii", "replace") for v in values], dtype="S")
            out.append(fits.Column(key, f"{max(values.dtype.itemsize, 1)}A", array=values))
        else:
            out.append(fits.Column(key, formats[kind], array=values.astype(kind)))
    return fits.BinTableHDU.from_columns(out, name=name)


def _to_frame(data: np.ndarray, columns: Mapping[str, type]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            key: [str(v) for v in data[key]] if kind is str else data[key].astype(kind)
            for key, kind in columns.items()
        }
    )
