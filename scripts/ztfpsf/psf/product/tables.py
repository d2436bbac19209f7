"""Tables of a fit: one row per star, one per image, one per step of the optimiser."""

from typing import Any

import numpy as np
import pandas as pd

from ztfpsf.noise import Noise, read_variance
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.psf.product.psf import Psf, describe_params
from ztfpsf.psf.profile.star import BACKGROUND, FLUX, N_STAR_PARAMETERS, X, Y
from ztfpsf.psf.solution.result import ImageFit

CATALOGUE_COLUMNS = ("image", "star_id", "ra_deg", "dec_deg", "mag")


def make_star_table(stars: pd.DataFrame, stamps: ImageStamps, fit: ImageFit) -> pd.DataFrame:
    """One row per star: position, flux, background, profile, each with its error, and quality."""
    value, centre_px = fit.stars.parameters, stamps.centre_px
    error = np.sqrt(np.maximum(np.diagonal(fit.stars.covariance, axis1=1, axis2=2), 0.0))
    described, errors = describe_params(
        fit.psf.model, fit.stars.params, fit.stars.params_covariance
    )
    profile = {}
    for name, values in described.items():
        profile[name] = values
        profile[_error_name(name)] = errors[name]
    n_free = np.where(fit.is_fitted, fit.n_own, N_STAR_PARAMETERS)
    return pd.DataFrame(
        {
            **{name: stars[name].to_numpy() for name in CATALOGUE_COLUMNS},
            "x_px": value[:, X] + centre_px[:, X],
            "x_error_px": error[:, X],
            "y_px": value[:, Y] + centre_px[:, Y],
            "y_error_px": error[:, Y],
            "flux_adu": value[:, FLUX],
            "flux_error_adu": error[:, FLUX],
            "flux_error_psf_adu": fit.quality.psf_flux_error_adu,
            "background_adu": value[:, BACKGROUND],
            "background_error_adu": error[:, BACKGROUND],
            **profile,
            "chi2": fit.quality.chi2,
            "n_pix": fit.quality.n_pix,
            "dof": np.maximum(fit.quality.n_pix - n_free, 0),
            "core_chi2": fit.quality.core_chi2,
            "is_reserved": stamps.is_reserved,
            "is_fitted": fit.is_fitted,
            "status": fit.status,
        }
    )


def _error_name(name: str) -> str:
    """fwhm_px -> fwhm_error_px, alpha -> alpha_error."""
    stem, underscore, unit = name.rpartition("_")
    return (
        f"{stem}_error_{unit}" if underscore and unit in ("px", "px2", "deg") else f"{name}_error"
    )


def make_image_row(stamps: ImageStamps, fit: ImageFit) -> dict[str, Any]:
    """One row per image: how the fit went, its quality, and the PSF at the image's centre."""
    psf, course, quality, is_fitted = fit.psf, fit.course, fit.quality, fit.is_fitted
    n_free = fit.n_own * int(is_fitted.sum()) + fit.n_shared
    row = {
        "image": psf.image,
        "status": "ok" if course.n_not_converged == 0 else "not converged",
        "degree": psf.degree,
        "n_stars": len(is_fitted),
        "n_fitted": int(is_fitted.sum()),
        "n_reserved": int((stamps.is_reserved & (fit.status == "ok")).sum()),
        "n_rejected": int((fit.status != "ok").sum()),
        "clipped_fraction": float(1.0 - fit.good.sum() / max(stamps.good.sum(), 1)),
        "chi2": float(quality.chi2[is_fitted].sum()),
        "dof": int(quality.n_pix[is_fitted].sum()) - n_free,
        **_describe_noise(stamps, psf),
        "edm": course.edm,
        "n_not_converged": course.n_not_converged,
        "iterations": course.iterations,
        "seconds": course.clock.run_s,
    }
    row["far_light"], row["far_light_error"] = psf.far_light(stamps.size_px / 2)
    if psf.grid is not None and psf.model.grid is not None:
        row |= {
            "grid_degree": psf.grid.degree,
            "grid_spacing_px": psf.model.grid.spacing_px,
            "grid_radius_px": psf.model.grid.radius_px,
            "n_effective": float(fit.n_effective.sum()),
        }
    for name, (value, error) in psf.describe(psf.nx / 2, psf.ny / 2).items():
        row[name] = value
        row[_error_name(name)] = error
    return row


def _describe_noise(stamps: ImageStamps, psf: Psf) -> dict[str, float]:
    """The noise that the fit used beside the header's, and what of the errors the PSF has."""
    header = Noise(stamps.gain, read_variance(stamps.read_noise_electron, stamps.gain))
    level = max(stamps.sky_level_adu, 0.0)
    used, expected = (level / noise.gain + noise.constant_adu2 for noise in (psf.noise, header))
    return {
        "header_gain": header.gain,
        "header_constant_adu2": header.constant_adu2,
        "noise_gain": psf.noise.gain,
        "noise_constant_adu2": psf.noise.constant_adu2,
        "noise_ratio": float(np.sqrt(used / expected)) if expected > 0 else np.nan,
        "model_error": psf.noise.model_error,
        "flux_error_psf": psf.flux_error,
    }


def make_history(fit: ImageFit) -> pd.DataFrame:
    """Loss (chi2 / 2) at the start and after every step; seconds shared evenly among the steps."""
    course = fit.course
    n = len(course.loss_history)
    return pd.DataFrame(
        {
            "image": fit.psf.image,
            "iteration": np.arange(n),
            "seconds": course.clock.run_s * np.arange(n) / max(n - 1, 1),
            "loss": course.loss_history,
        }
    )
