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
from ztfpsf.focal_plane import SHAPE
from ztfpsf.io import open_product, write_fits
from ztfpsf.survey.design import find_superpixel
from ztfpsf.survey.terms import N_QUADRANTS

RULE = "solve_survey"


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
    with open_product(path, RULE, ["STARFLAT"]) as hdus:
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


def draw_response(flat_mag: np.ndarray, rcid: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Response of a quadrant, (ny, nx) float32, stored order: 10^(-0.4 star flat)."""
    ny, nx = shape
    y, x = np.arange(ny) * (SHAPE[0] / ny), np.arange(nx) * (SHAPE[1] / nx)
    place = find_superpixel(np.array([[rcid]]), x[None, :], y[:, None], flat_mag.shape[-1])
    return (10.0 ** (-0.4 * flat_mag.reshape(N_QUADRANTS, -1))).ravel()[place].astype(np.float32)
