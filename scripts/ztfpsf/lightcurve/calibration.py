"""From the common scale of a light curve to magnitudes: zero point and colour term.

    mag = zero_point + colour_term (colour - mean colour) - 2.5 log10(flux / ADU)

from stars of a reference catalogue or of a survey that solve_survey calibrated, measured by the
same estimator as the target; or, where these are fewer than MIN_STARS, the mean of the headers'
MAGZP, and no colour term.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.io import read_table
from ztfpsf.robust import clipped_mean, fit_clipped
from ztfpsf.survey.matching import find_nearest

MIN_STARS = 5
MICROJANSKY_MAG = 23.9  # AB magnitude of 1 microjansky
# Beyond this significance a colour term counts.
COLOUR_SIGMA = 3.0
SURVEY_COLUMNS = ("ra_deg", "dec_deg", "mag", "mag_error", "is_variable", "is_anchored")
CATALOGUE, SURVEY, HEADER = "catalogue", "survey", "header"


class ZeroPoint(NamedTuple):
    """How fluxes become magnitudes."""

    zero_point_mag: float
    error_mag: float
    colour_term: float  # 0 where it is not significant
    colour_term_error: float  # NaN: not fitted
    mean_colour_mag: float
    n_stars: int
    rms_mag: float  # of the stars around it
    source: str  # CATALOGUE, SURVEY or HEADER

    def correct_colour(self, colour_mag: float) -> tuple[float, float]:
        """From magnitudes at the mean colour to the catalogue's of an object, and their error.

        The error is that of zero point and colour term together; NaN for an unknown colour.
        """
        redder = colour_mag - self.mean_colour_mag
        error = np.hypot(self.error_mag, np.nan_to_num(self.colour_term_error) * redder)
        return self.colour_term * redder, float(error)


def take_survey(stars: pd.DataFrame, path: str | Path, radius_arcsec: float) -> pd.DataFrame:
    """Stars (ra_deg, dec_deg) with the magnitudes of solve_survey as those of the reference.

    NaN for stars that vary or that nothing ties to the survey's own reference catalogue. Raises
    InputError for a file that is not there or no table of solve_survey.
    """
    margin = radius_arcsec / 3600
    where = [
        ("dec_deg", ">=", float(stars["dec_deg"].min()) - margin),
        ("dec_deg", "<=", float(stars["dec_deg"].max()) + margin),
    ]
    survey = read_table(path, "solve_survey", SURVEY_COLUMNS, where)
    usable = survey[survey["is_anchored"] & ~survey["is_variable"]].reset_index(drop=True)
    ra_deg, dec_deg = stars["ra_deg"].to_numpy(), stars["dec_deg"].to_numpy()
    row = find_nearest(ra_deg, dec_deg, usable, radius_arcsec)
    mag, error = (np.append(usable[name], np.nan)[row] for name in ("mag", "mag_error"))
    return stars.assign(reference_mag=mag, reference_error_mag=error)


def find_zero_point(
    stars: pd.DataFrame, exposures: pd.DataFrame, source: str = CATALOGUE
) -> ZeroPoint:
    """By the stars (mean_flux_adu and error, colour_mag, reference_mag and error), or the headers.

    `exposures`: magzp_mag, ratio_mag; `source`: of the stars' magnitudes. What errors of stars of a
    survey have in common is not above the smallest of them, and counts as that. NaN where neither
    tells.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        instrumental = -2.5 * np.log10(stars["mean_flux_adu"].to_numpy(float))
        own = 1.0857 * (stars["mean_flux_error_adu"] / stars["mean_flux_adu"]).to_numpy(float)
    values = stars["reference_mag"].to_numpy(float) - instrumental
    error = np.hypot(np.nan_to_num(stars["reference_error_mag"].to_numpy(float)), own)
    if np.count_nonzero(np.isfinite(values) & np.isfinite(error) & (error > 0)) < MIN_STARS:
        magzp = (exposures["magzp_mag"] + exposures["ratio_mag"]).to_numpy(float)
        found = clipped_mean(magzp, np.where(np.isfinite(magzp), 0.01, np.nan))
        return ZeroPoint(found.value, found.error, 0.0, np.nan, np.nan, found.n, found.rms, HEADER)
    shared = float(np.nanmin(stars["reference_error_mag"])) if source == SURVEY else 0.0
    colour = stars["colour_mag"].to_numpy(float)
    mean = float(np.nanmedian(colour)) if np.isfinite(colour).any() else np.nan
    design = np.stack([np.ones(len(values)), colour - mean], axis=1)
    fit = fit_clipped(design, values, error, MIN_STARS)
    if np.isfinite(fit.coefficients).all() and abs(fit.sigmas[1]) > COLOUR_SIGMA:
        return ZeroPoint(
            *_first(fit.coefficients, fit.errors, shared), float(fit.coefficients[1]),
            float(fit.errors[1]), mean, int(fit.kept.sum()), fit.rms, source,
        )  # fmt: skip
    flat = fit_clipped(np.ones((len(values), 1)), values, error, MIN_STARS)
    return ZeroPoint(
        *_first(flat.coefficients, flat.errors, shared), 0.0,
        float(fit.errors[1]), mean, int(flat.kept.sum()), flat.rms, source,
    )  # fmt: skip


def _first(coefficients: np.ndarray, errors: np.ndarray, shared_mag: float) -> tuple[float, float]:
    return float(coefficients[0]), float(np.hypot(errors[0], shared_mag))


def to_microjansky(flux_adu: np.ndarray, zero_point: ZeroPoint) -> np.ndarray:
    """Fluxes in microjansky, without the colour term."""
    return flux_adu * 10.0 ** (0.4 * (MICROJANSKY_MAG - zero_point.zero_point_mag))
