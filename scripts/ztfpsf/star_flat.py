"""The star flat on disk, and on the pixels of a quadrant.

A star measured in a superpixel is `STARFLAT` magnitudes too faint, after all else is taken out; an
image divided by 10^(-0.4 STARFLAT) measures the same everywhere.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from ztfpsf.errors import InputError
from ztfpsf.fits_files import damage_named
from ztfpsf.focal_plane import SHAPE
from ztfpsf.io import make_again, open_product, write_fits

RULE = "solve_survey"
N_QUADRANTS = 64


def write_star_flat(
    path: str | Path,
    flat_mag: np.ndarray,
    error_mag: np.ndarray,
    residual_mag: np.ndarray,
    starts_mjd: Sequence[float],
    provenance: Mapping[str, Any],
) -> None:
    """Write star flats and errors (P, 64, n, n) of P periods, and residuals (64, n, n)."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for name, values in (("STARFLAT", flat_mag), ("ERROR", error_mag), ("RESIDUAL", residual_mag)):
        hdu = fits.ImageHDU(values.astype(np.float32), name=name)
        hdu.header["BUNIT"] = "mag"
        hdus.append(hdu)
    for number, start in enumerate(starts_mjd):
        hdus["STARFLAT"].header[f"MJD{number}"] = (start, f"start of period {number}")
    write_fits(hdus, path, provenance)


def read_star_flat(path: str | Path, mjd: float) -> np.ndarray:
    """Star flat of a day, (64, n, n) mag. Raises InputError where there is none."""
    with open_product(path, RULE, ["STARFLAT"]) as hdus, damage_named(path, make_again(RULE)):
        hdu = hdus["STARFLAT"]
        flats = np.asarray(hdu.data, float)
        starts = [hdu.header[f"MJD{number}"] for number in range(len(flats))]
    period = np.searchsorted(starts, mjd, side="right") - 1
    if period < 0:
        raise InputError(
            f"{path}: has no star flat of MJD {mjd:.3f}, the first starts at {starts[0]:.3f}; add "
            "a period to solve_survey.periods_mjd, or set calibrate_science.star_flat to null."
        )
    return flats[period]


def find_superpixel(rcid: np.ndarray, x_px: np.ndarray, y_px: np.ndarray, n: int) -> np.ndarray:
    """Number of the superpixel, (n x n) of each quadrant: quadrant, row, column."""
    ny, nx = SHAPE
    column = np.clip((x_px + 0.5) * (n / nx), 0, n - 1).astype(np.int32)
    row = np.clip((y_px + 0.5) * (n / ny), 0, n - 1).astype(np.int32)
    return (rcid.astype(np.int32) * n + row) * n + column


def draw_response(
    flat_mag: np.ndarray, rcid: int, rows: tuple[int, int], shape: tuple[int, int] = SHAPE
) -> np.ndarray:
    """Response 10^(-0.4 star flat) of some rows of a quadrant, stored order, float32.

    `flat_mag` (64, n, n); rows from, to, of a quadrant of `shape` (ny, nx).
    """
    ny, nx = shape
    y = (np.arange(*rows) + 0.5) * (SHAPE[0] / ny) - 0.5
    x = (np.arange(nx) + 0.5) * (SHAPE[1] / nx) - 0.5
    place = find_superpixel(np.array([[rcid]]), x[None, :], y[:, None], flat_mag.shape[-1])
    return (10.0 ** (-0.4 * flat_mag)).ravel()[place].astype(np.float32)
