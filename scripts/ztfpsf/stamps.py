"""Stamps, the pixels around every selected star with variance and mask, and their file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from astropy.io import fits

from ztfpsf.fits_files import damage_named
from ztfpsf.io import make_again, open_product, write_fits

RULE = "cut_stamps"

# IPAC's aperture corrections of an image, the header's FIXAPERS, APCOR1..6 and APCORUN1..6.
N_APCOR = 6
APCOR_COLUMNS = {
    f"{name}{n}_{unit}": float
    for n in range(1, N_APCOR + 1)
    for name, unit in (("aperture", "px"), ("apcor", "mag"), ("apcor_error", "mag"))
}
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
    "ipac_status": float,  # STATUS of IPAC's images, 0: failed; NaN without it
    "infobits": float,  # INFOBITS of IPAC's images, what its quality control saw; NaN without it
    "nx": int,
    "ny": int,
    "sky_adu": float,
    "sky_rms_adu": float,
    # Of ztfpsf.stars.sky_noise
    "sky_variance_adu2": float,
    "sky_correlation_x": float,
    "sky_correlation_y": float,
    # Part of the stars, good but for it, that the configured magnitude limits leave out
    "limited_fraction": float,
    **APCOR_COLUMNS,
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
    "sky_error_adu": float,  # NaN: not measured around the star
    "is_reserved": bool,
}


CUBES = {"DATA": "f4", "VARIANCE": "f4", "MASK": "u1"}


class Stamps(NamedTuple):
    """Stamps of n stars of one or more images; pixel [i, 0, 0] is (x0_px, y0_px) of star i."""

    images: pd.DataFrame  # IMAGE_COLUMNS, one row per image
    stars: pd.DataFrame  # STAR_COLUMNS, n rows
    data: np.ndarray  # (n, size, size) float32 ADU, sky not subtracted, finite everywhere
    variance: np.ndarray  # (n, size, size) float32 ADU^2, positive
    mask: np.ndarray  # (n, size, size) uint8, 1 = do not use


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
    with open_product(path, RULE) as hdus, damage_named(path, make_again(RULE)):
        header = hdus["DATA"].header
        shape = tuple(header[f"NAXIS{axis}"] for axis in (3, 2, 1))
        cubes = [_to_native(hdus[name].data, dtype, shape) for name, dtype in CUBES.items()]
        images = _to_frame(hdus["IMAGES"].data, IMAGE_COLUMNS)
        return Stamps(images, _to_frame(hdus["STARS"].data, STAR_COLUMNS), *cubes)


class StampsFile(NamedTuple):
    """The tables of a stamps file; pixels are read image by image."""

    path: str
    images: pd.DataFrame  # IMAGE_COLUMNS
    stars: pd.DataFrame  # STAR_COLUMNS
    size_px: int

    def read(self, image: str) -> Stamps:
        """The stamps of one image. Raises InputError when its pixels are not there."""
        rows = np.flatnonzero((self.stars["image"] == image).to_numpy())
        # Stars of an image are neighbours.
        first, last = (rows.min(), rows.max() + 1) if len(rows) else (0, 0)
        # The file was checked when its tables were read.
        with damage_named(self.path, make_again(RULE)), fits.open(self.path, memmap=False) as hdus:
            cubes = [
                np.zeros((0, self.size_px, self.size_px), dtype)
                if first == last
                else np.ascontiguousarray(hdus[name].section[first:last], dtype)[rows - first]
                for name, dtype in CUBES.items()
            ]
        table = self.images[self.images["image"] == image]
        return Stamps(table, self.stars.iloc[rows], *cubes)

    def take(self, rows: np.ndarray) -> Stamps:
        """The stamps of some rows of `stars`, in that order; `images` are all.

        Of many images a few stamps each. Raises InputError when their pixels are not there.
        """
        with damage_named(self.path, make_again(RULE)), fits.open(self.path, memmap=True) as hdus:
            cubes = [
                np.ascontiguousarray(hdus[name].data[rows], dtype)
                if len(rows)
                else np.zeros((0, self.size_px, self.size_px), dtype)
                for name, dtype in CUBES.items()
            ]
        return Stamps(self.images, self.stars.iloc[rows], *cubes)


def open_stamps(path: str | Path, rule: str = RULE) -> StampsFile:
    """Read the tables of a file of write_stamps, by `rule`. Raises InputError as read_stamps."""
    with open_product(path, rule) as hdus, damage_named(path, make_again(rule)):
        images = _to_frame(hdus["IMAGES"].data, IMAGE_COLUMNS)
        stars = _to_frame(hdus["STARS"].data, STAR_COLUMNS)
        return StampsFile(str(path), images, stars, int(hdus["DATA"].header["NAXIS1"]))


def read_image_table(path: str | Path) -> pd.DataFrame:
    """The table IMAGES of a stamps file; its pixels are not looked at. Raises InputError."""
    with open_product(path, RULE, ["IMAGES"]) as hdus, damage_named(path, make_again(RULE)):
        return _to_frame(hdus["IMAGES"].data, IMAGE_COLUMNS)


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
