"""Tables of the photometry: one row per star, one per image."""

from collections.abc import Mapping
from enum import IntFlag
from typing import Any

import numpy as np
import pandas as pd

from ztfpsf.photometry.fit import FittedStars
from ztfpsf.photometry.planes import ImagePlanes
from ztfpsf.quality import MAG_PER_LN

CATALOGUE_COLUMNS = ("image", "star_id", "ra_deg", "dec_deg", "mag")
CENTRE_RADIUS_PX = 3.0  # more than the FWHM of ZTF, 1 to 2.5 px
BLEND_ERROR = 1.5  # more than half of the information on the flux is lost to them


class Flag(IntFlag):
    """Bits of the column `flags`; 0: nothing is known against the star."""

    SATURATED = 1  # a saturated pixel in the stamp
    MASKED = 2  # another pixel of the stamp is masked
    CENTRE = 4  # a pixel within CENTRE_RADIUS_PX of the star is not used
    EDGE = 8  # the stamp reaches over the edge of the image
    POSITION_HELD = 16  # at the catalogue's position: too faint, or too blended
    POSITION_LIMIT = 32  # as well, because the fit left it by more than MAX_SHIFT_PX
    BLENDED = 64  # neighbours make the error of the flux BLEND_ERROR times larger or more
    NOT_CONVERGED = 128  # still moving after the last pass
    NOT_MEASURED = 256  # no pixel to measure


BITS = {str(flag.name): int(flag) for flag in Flag}


def make_star_table(
    stars: pd.DataFrame,
    planes: ImagePlanes,
    fitted: FittedStars,
    psf_flux_error: float,
    zero_point_mag: float,
) -> pd.DataFrame:
    """One row per star in the order of `stars`, the rows of select_stars of the image.

    `psf_flux_error`: relative error of fluxes by that of the PSF. It is common to the stars of the
    image, `flux_error_common_adu`; the rest, `flux_error_own_adu`, is independent from star to
    star, and `flux_error_adu` holds both. Ratios of stars of an image have their own errors alone.
    NaN: the error of a position that was not fitted, the magnitude of a flux that is not positive
    or without a zero point (NaN), everything of a star without a pixel.
    """
    state, evaluation, pixels = fitted.state, fitted.evaluation, fitted.pixels
    flags = find_flags(planes, fitted)
    is_measured = (flags & int(Flag.NOT_MEASURED)) == 0
    variance = np.diagonal(fitted.covariance, axis1=1, axis2=2)
    error = np.sqrt(np.maximum(variance, 0))
    error[~state.is_free, 1:] = np.nan
    flux = np.where(is_measured, state.flux, np.nan)
    own_error = np.where(is_measured, error[:, 0], np.nan)
    common_error = psf_flux_error * np.abs(flux)
    flux_error = np.hypot(own_error, common_error)
    positive = np.where(flux > 0, flux, np.nan)
    to_mag = MAG_PER_LN / np.where(np.isfinite(zero_point_mag), positive, np.nan)
    half = pixels.sky.shape[-1] // 2
    background = pixels.sky[:, half, half] + evaluation.background
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
            "flux_error_own_adu": own_error,
            "flux_error_common_adu": common_error,
            "background_adu": np.where(is_measured, background.astype(float), np.nan),
            "mag_psf": zero_point_mag - 2.5 * np.log10(positive),
            "mag_psf_error": to_mag * flux_error,
            "mag_psf_error_own": to_mag * own_error,
            "chi2": np.where(is_measured, evaluation.chi2.astype(float), np.nan),
            "n_pix": evaluation.n_pix,
            "dof": np.maximum(evaluation.n_pix - n_unknowns, 0),
            "n_neighbours": fitted.overlaps.n_neighbours,
            "flags": flags,
        }
    )


def find_flags(planes: ImagePlanes, fitted: FittedStars) -> np.ndarray:
    """Sums of the bits of Flag, (n,) int."""
    state, pixels, light = fitted.state, fitted.pixels, fitted.light
    ny, nx = planes.inner(planes.data).shape
    half = light.pixel.shape[-1] // 2
    column, row = (light.centre_px[:, i, None] + np.arange(-half, half + 1) for i in (0, 1))
    inside = ((row >= 0) & (row < ny))[:, :, None] & ((column >= 0) & (column < nx))[:, None]
    is_saturated = planes.is_saturated.ravel()[light.pixel]
    dx, dy = column - state.position_px[:, 0:1], row - state.position_px[:, 1:2]
    centre = dx[:, None] ** 2 + dy[:, :, None] ** 2 <= CENTRE_RADIUS_PX**2
    error, alone = (c[:, 0, 0] for c in (fitted.covariance, fitted.covariance_alone))
    found = {
        Flag.SATURATED: is_saturated.any(axis=(1, 2)),
        Flag.MASKED: (inside & ~is_saturated & ~pixels.is_usable).any(axis=(1, 2)),
        Flag.CENTRE: (centre & ~pixels.is_usable).any(axis=(1, 2)),
        Flag.EDGE: ~inside.all(axis=(1, 2)),
        Flag.POSITION_HELD: ~state.is_free,
        Flag.POSITION_LIMIT: state.is_at_limit,
        Flag.BLENDED: error > BLEND_ERROR**2 * alone,
        Flag.NOT_CONVERGED: ~fitted.has_converged,
        Flag.NOT_MEASURED: fitted.evaluation.normal.own[:, 0, 0] <= 0,
    }
    return sum(int(flag) * is_set for flag, is_set in found.items())


def describe_row(row: Mapping[str, Any]) -> str:
    """A line for the log. `row`: of the table of images."""
    return (
        f"{row['image']}: {row['n_stars']} stars, {row['n_position_held']} at the catalogue's "
        f"position, {row['n_blended']} blended, {row['n_saturated']} with saturated pixels, "
        f"{row['n_not_converged']} not converged, {row['n_not_measured']} not measured; "
        f"{row['passes']} passes in {row['seconds']:.2f} s "
        f"(+ {row['compile_seconds']:.1f} s compiling)"
    )


def make_image_row(
    image: str, table: pd.DataFrame, fitted: FittedStars, zero_point_mag: float
) -> dict[str, Any]:
    """How it went."""
    flags = table["flags"].to_numpy()
    counts = {f"n_{name.lower()}": int(((flags & flag) > 0).sum()) for name, flag in BITS.items()}
    return {
        "image": image,
        "status": "ok",
        "n_stars": len(table),
        **counts,
        "zero_point_mag": zero_point_mag,
        "shift_x_px": fitted.state.shift_px[0],
        "shift_y_px": fitted.state.shift_px[1],
        "passes": fitted.n_passes,
    }
