"""Tables of a fit: one row per star, one per image, one per step of the optimiser."""

from typing import Any

import numpy as np
import pandas as pd

from ztfpsf.psf.grid import get_grid
from ztfpsf.psf.image import ImageStamps
from ztfpsf.psf.problem import N_STAR_PARAMETERS
from ztfpsf.psf.product import Psf, PsfGrid, describe_shapes
from ztfpsf.psf.results import ImageFit
from ztfpsf.stamps import Stamps

CATALOGUE_COLUMNS = ("image", "star_id", "ra_deg", "dec_deg", "mag")


def make_stamps(stamps: Stamps) -> ImageStamps:
    """The stamps of one image, as the fits see them."""
    (_, image), *_ = stamps.images.iterrows()
    stars = stamps.stars
    return ImageStamps(
        data=stamps.data.astype(float),
        variance=stamps.variance.astype(float),
        good=stamps.mask == 0,
        **{name: stars[name].to_numpy() for name in ("sky_adu", "x_px", "y_px", "x0_px", "y0_px")},
        is_reserved=stars["is_reserved"].to_numpy(bool),
        gain=float(image["gain"]),
        read_noise_electron=float(image["read_noise_electron"]),
        nx=int(image["nx"]),
        ny=int(image["ny"]),
    )


def make_psf(
    image: str, model: Any, stamps: ImageStamps, fit: ImageFit, flux_terms: tuple[str, ...]
) -> Psf:
    """The PSF product of one image; `flux_terms` of its grid, if it has one."""
    grid = fit.grid and PsfGrid(
        fit.grid.nodes,
        fit.grid.error,
        fit.grid.degree,
        flux_terms,
        fit.grid.flux_range,
        get_grid(model),
    )
    return Psf(
        image,
        model,
        fit.coefficients,
        fit.coefficients_covariance,
        fit.degree,
        stamps.nx,
        stamps.ny,
        grid,
    )


def make_star_table(
    stars: pd.DataFrame, model: Any, stamps: ImageStamps, fit: ImageFit
) -> pd.DataFrame:
    """One row per star: position, flux, background, shape, each with its error, and quality."""
    half = stamps.data.shape[-1] // 2
    error = np.sqrt(np.maximum(np.diagonal(fit.star_covariance, axis1=1, axis2=2), 0.0))
    n_free = N_STAR_PARAMETERS + (fit.shape.shape[1] if fit.n_problems > 1 else 0)
    values, errors = describe_shapes(model, fit.shape, fit.shape_covariance)
    shapes = {}
    for name, value in values.items():
        shapes[name] = value
        shapes[_error_name(name)] = errors[name]
    return pd.DataFrame(
        {
            **{name: stars[name].to_numpy() for name in CATALOGUE_COLUMNS},
            "x_px": fit.star[:, 0] + stamps.x0_px + half,
            "x_error_px": error[:, 0],
            "y_px": fit.star[:, 1] + stamps.y0_px + half,
            "y_error_px": error[:, 1],
            "flux_adu": fit.star[:, 2],
            "flux_error_adu": error[:, 2],
            "background_adu": fit.star[:, 3],
            "background_error_adu": error[:, 3],
            **shapes,
            "chi2": fit.chi2,
            "n_pix": fit.n_pix,
            "dof": np.maximum(fit.n_pix - np.where(fit.is_fitted, n_free, N_STAR_PARAMETERS), 0),
            "core_chi2": fit.core_chi2,
            "is_reserved": stamps.is_reserved,
            "is_fitted": fit.is_fitted,
            "status": fit.status,
        }
    )


def _error_name(name: str) -> str:
    """fwhm_px -> fwhm_error_px, alpha -> alpha_error."""
    stem, underscore, unit = name.rpartition("_")
    return f"{stem}_error_{unit}" if underscore and unit in ("px", "deg") else f"{name}_error"


def make_image_row(psf: Psf, stamps: ImageStamps, fit: ImageFit) -> dict[str, Any]:
    """One row per image: how the fit went, its quality, and the PSF at the image's centre."""
    row = {
        "image": psf.image,
        "status": "ok" if fit.n_not_converged == 0 else "not converged",
        "degree": fit.degree,
        "n_stars": len(fit.star),
        "n_fitted": int(fit.is_fitted.sum()),
        "n_reserved": int((stamps.is_reserved & (fit.status == "ok")).sum()),
        "n_rejected": int((fit.status != "ok").sum()),
        "clipped_fraction": float(1.0 - fit.good.sum() / max(stamps.good.sum(), 1)),
        "chi2": float(fit.chi2[fit.is_fitted].sum()),
        "dof": int(fit.n_pix[fit.is_fitted].sum()) - n_free_parameters(fit),
        "edm": fit.edm,
        "n_not_converged": fit.n_not_converged,
        "iterations": fit.iterations,
        "seconds": fit.clock.run_s,
    }
    if fit.grid is not None:
        row |= {
            "grid_degree": fit.grid.degree,
            "grid_spacing_px": psf.grid.geometry.spacing_px,
            "grid_radius_px": psf.grid.geometry.radius_px,
            "n_effective": float(fit.grid.n_effective.sum()),
        }
    for name, (value, error) in psf.describe(psf.nx / 2, psf.ny / 2).items():
        row[name] = value
        row[_error_name(name)] = error
    return row


def n_free_parameters(fit: ImageFit) -> int:
    """Free parameters of the fit: stars and shape."""
    n = int(fit.is_fitted.sum())
    n_shapes = n * fit.shape.shape[1] if fit.n_problems > 1 else fit.coefficients.size
    n_grid = 0 if fit.grid is None else round(float(fit.grid.n_effective.sum()))
    return N_STAR_PARAMETERS * n + n_shapes + n_grid


def make_history(image: str, fit: ImageFit) -> pd.DataFrame:
    """Loss (chi2 / 2) at the start and after every step; seconds shared evenly among the steps."""
    n = len(fit.loss_history)
    return pd.DataFrame(
        {
            "image": image,
            "iteration": np.arange(n),
            "seconds": fit.clock.run_s * np.arange(n) / max(n - 1, 1),
            "loss": fit.loss_history,
        }
    )
