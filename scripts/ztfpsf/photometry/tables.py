"""Tables of the photometry: one row per star, one per image."""

from typing import Any

import numpy as np
import pandas as pd

from ztfpsf.photometry.fit import Measured
from ztfpsf.photometry.flags import BLEND_ERROR, CORE_RADIUS_PX, Flag
from ztfpsf.photometry.frame import Frame

CATALOGUE_COLUMNS = ("image", "star_id", "ra_deg", "dec_deg", "mag")
MAG_PER_LN = 2.5 / np.log(10)


def make_star_table(
    stars: pd.DataFrame, frame: Frame, measured: Measured, zero_point_mag: float
) -> pd.DataFrame:
    """One row per star in the order of `stars`, the rows of select_stars of the image.

    NaN: the error of a position that was not fitted, the magnitude of a flux that is not positive
    or without a zero point (NaN), everything of a star without a pixel.
    """
    state, evaluation, stamps = measured.state, measured.evaluation, measured.stamps
    flags = find_flags(frame, measured)
    is_measured = (flags & int(Flag.NOT_MEASURED)) == 0
    variance = np.diagonal(measured.covariance, axis1=1, axis2=2)
    error = np.sqrt(np.maximum(variance, 0))
    error[~state.is_free, 1:] = np.nan
    flux = np.where(is_measured, state.flux, np.nan)
    flux_error = np.where(is_measured, error[:, 0], np.nan)
    positive = np.where(flux > 0, flux, np.nan)
    has_zero_point = np.isfinite(zero_point_mag)
    half = stamps.sky.shape[-1] // 2
    background = stamps.sky[:, half, half] + evaluation.background
    n_unknowns = np.where(state.is_free, 4, 2)  # flux and background, x and y
    return pd.DataFrame(
        {
            **{name: stars[name].to_numpy() for name in CATALOGUE_COLUMNS},
            "x_px": state.position_px[:, 0],
            "x_error_px": error[:, 1],
            "y_px": state.position_px[:, 1],
            "y_error_px": error[:, 2],
            "flux_adu": flux,
            "flux_error_adu": flux_error,
            "background_adu": np.where(is_measured, background.astype(float), np.nan),
            "mag_psf": zero_point_mag - 2.5 * np.log10(positive),
            "mag_psf_error": MAG_PER_LN * flux_error / np.where(has_zero_point, positive, np.nan),
            "chi2": np.where(is_measured, evaluation.chi2.astype(float), np.nan),
            "n_pix": evaluation.n_pix,
            "dof": np.maximum(evaluation.n_pix - n_unknowns, 0),
            "n_neighbours": measured.overlaps.n_neighbours,
            "flags": flags,
        }
    )


def find_flags(frame: Frame, measured: Measured) -> np.ndarray:
    """Sums of the bits of Flag, (n,) int."""
    state, stamps, light = measured.state, measured.stamps, measured.light
    ny, nx = frame.inner(frame.data).shape
    half = light.pixel.shape[-1] // 2
    column, row = (light.centre_px[:, i, None] + np.arange(-half, half + 1) for i in (0, 1))
    inside = ((row >= 0) & (row < ny))[:, :, None] & ((column >= 0) & (column < nx))[:, None]
    is_saturated = frame.is_saturated.ravel()[light.pixel]
    dx, dy = column - state.position_px[:, 0:1], row - state.position_px[:, 1:2]
    core = dx[:, None] ** 2 + dy[:, :, None] ** 2 <= CORE_RADIUS_PX**2
    error, alone = (c[:, 0, 0] for c in (measured.covariance, measured.covariance_alone))
    found = {
        Flag.SATURATED: is_saturated.any(axis=(1, 2)),
        Flag.MASKED: (inside & ~is_saturated & ~stamps.is_usable).any(axis=(1, 2)),
        Flag.CORE: (core & ~stamps.is_usable).any(axis=(1, 2)),
        Flag.EDGE: ~inside.all(axis=(1, 2)),
        Flag.POSITION_HELD: ~state.is_free,
        Flag.POSITION_LIMIT: state.is_at_limit,
        Flag.BLENDED: error > BLEND_ERROR**2 * alone,
        Flag.NOT_CONVERGED: ~measured.has_converged,
        Flag.NOT_MEASURED: measured.evaluation.normal.own[:, 0, 0] <= 0,
    }
    return sum(int(flag) * is_set for flag, is_set in found.items())


def make_image_row(
    image: str, table: pd.DataFrame, measured: Measured, zero_point_mag: float
) -> dict[str, Any]:
    """How it went."""
    flags = table["flags"].to_numpy()
    counts = {f"n_{flag.name.lower()}": int(((flags & int(flag)) > 0).sum()) for flag in Flag}
    return {
        "image": image,
        "status": "ok",
        "n_stars": len(table),
        **counts,
        "zero_point_mag": zero_point_mag,
        "shift_x_px": measured.state.shift_px[0],
        "shift_y_px": measured.state.shift_px[1],
        "passes": measured.n_passes,
    }
