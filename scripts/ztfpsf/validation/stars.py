"""Every star of a fit and its model, measured alike: one row per star."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ztfpsf.psf.product.drawn import Drawn
from ztfpsf.psf.profile.star import is_core
from ztfpsf.validation.apertures import measure_apertures
from ztfpsf.validation.moments import find_errors, measure_moments

FIT_COLUMNS = (
    "image",
    "star_id",
    "mag",
    "x_px",
    "y_px",
    "flux_adu",
    "is_reserved",
    "is_fitted",
    "core_chi2",
)
# Masked pixels hold the model: of a star with more of them it would be the model that is measured.
# Of core and stamp; the stars kept on two ZTF exposures have 0.94 and 0.82 of theirs, or more.
MIN_CORE_FRACTION, MIN_GOOD_FRACTION = 0.9, 0.5
PARAMETERS = ("flux_error_adu", "background_adu", "background_error_adu", "chi2", "dof")


def measure_stars(drawn: Drawn, diameters_px: Sequence[float]) -> pd.DataFrame:
    """Moments, misfit of the core and aperture magnitudes of n drawn stars.

    Columns: those of the fit; snr; chi2_per_dof; misfit2 and its error (see find_misfit); t_px2,
    g1, g2, their model's and errors, size_residual = (T - T_model) / T_model; fourth_moment;
    moments ("ok", or "failed", also where too many pixels are masked); and for each aperture
    psf_minus_ap, its value in the model and its error (mag).
    """
    # The table of a unit whose images all failed lacks most columns.
    stars = drawn.stars.reindex(columns=[*FIT_COLUMNS, *PARAMETERS])
    background = stars["background_adu"].to_numpy()[:, None, None]
    background_error = stars["background_error_adu"].to_numpy()
    flux = stars["flux_adu"].to_numpy()
    x, y = (stars[f"{axis}_px"].to_numpy() - getattr(drawn, f"{axis}0_px") for axis in "xy")
    good = np.isfinite(drawn.data)
    model = drawn.model - background
    data = np.where(good, drawn.data - background, model)
    table = stars[list(FIT_COLUMNS)].reset_index(drop=True)
    # By the noise alone: in a model that errs by more than the light no star has a signal.
    table["snr"] = np.sqrt(np.sum(np.where(good, model**2 / drawn.variance, 0.0), axis=(1, 2)))
    table["chi2_per_dof"] = (stars["chi2"] / stars["dof"].clip(lower=1)).to_numpy()
    half = data.shape[-1] // 2
    core = np.asarray(is_core(data.shape[-1], np.stack([x - half, y - half], axis=1)))
    is_seen = has_pixels(good, core)
    table["misfit2"], table["misfit2_error"] = find_misfit(
        data - model, model, drawn.variance, core & good
    )
    table.loc[~is_seen, ["misfit2", "misfit2_error"]] = np.nan
    found, expected = (measure_moments(stamps, x, y) for stamps in (data, model))
    errors = find_errors(model, expected, drawn.variance, background_error)
    has_moments = is_seen & np.isfinite(found.g1) & np.isfinite(expected.g1)
    table["moments"] = np.where(has_moments, "ok", "failed")
    table["t_px2"], table["t_model_px2"] = found.size_px2, expected.size_px2
    table["size_residual"] = found.size_px2 / expected.size_px2 - 1.0
    table["size_residual_error"] = errors.size
    for name in ("g1", "g2"):
        table[name], table[f"{name}_model"] = getattr(found, name), getattr(expected, name)
        table[f"{name}_error"] = getattr(errors, name)
    table["fourth_moment"] = found.fourth
    apertures = measure_apertures(
        data, model, drawn.variance, flux, background_error, x, y, diameters_px
    )
    for k, diameter in enumerate(diameters_px):
        table[f"psf_minus_ap_{diameter:g}px_mag"] = apertures.data[:, k]
        table[f"psf_minus_ap_model_{diameter:g}px_mag"] = apertures.model[:, k]
        table[f"psf_minus_ap_error_{diameter:g}px_mag"] = apertures.error[:, k]
    return table


def has_pixels(good: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Stars with enough pixels to be measured, (n,) bool. `good`, `core`: (n, S, S) bool."""
    n_core = core.sum(axis=(1, 2))
    is_whole = (core & good).sum(axis=(1, 2)) >= MIN_CORE_FRACTION * n_core
    return is_whole & (good.mean(axis=(1, 2)) >= MIN_GOOD_FRACTION)


def find_misfit(
    residual: np.ndarray, model: np.ndarray, variance: np.ndarray, core: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Squared relative error of the model in the core, noise taken off, and its standard error.

    (sum residual^2 - sum variance) / sum model^2 over the pixels `core`, all (n, S, S): what chi2
    says, but the same for bright and faint stars. Returns two arrays (n,).
    """
    own, noise, squared, fourth = (
        np.sum(part, axis=(1, 2), where=core)
        for part in (model**2, variance, residual**2, variance**2)
    )
    # The fit of position and flux has taken three degrees of freedom.
    noise *= 1.0 - 3.0 / np.maximum(core.sum(axis=(1, 2)), 4)
    own = np.where(own > 0, own, np.nan)
    return (squared - noise) / own, np.sqrt(2.0 * fourth) / own
