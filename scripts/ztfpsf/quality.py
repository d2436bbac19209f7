"""How quality is told: core chi2 in magnitude bins, and the stars that tell it.

The core chi2 of a star is its mean squared residual within 4 px in units of the variance: 1 for
noise alone.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.errors import InputError

MAG_PER_LN = 2.5 / np.log(10.0)  # magnitudes of a change of ln(flux)
PIXEL_ARCSEC = 1.012  # ZTF: Bellm et al. 2019, PASP 131, 018002
OK, NOT_CONVERGED = "ok", "not converged"  # statuses of an image that has a PSF
# Columns of a fit's star table that tell quality; a unit whose images all failed has none of them.
STAR_COLUMNS = {
    "image": str,
    "star_id": str,
    "mag": float,
    "core_chi2": float,
    "is_reserved": bool,
    "is_fitted": bool,
    "status": str,
}


class Bin(NamedTuple):
    """Magnitudes from `low` up to but without `low` + 1."""

    low: int

    @property
    def label(self) -> str:
        return f"{self.low}-{self.low + 1}"

    def holds(self, mag: pd.Series) -> pd.Series:
        """Which magnitudes are in the bin, bool."""
        return (mag >= self.low) & (mag < self.low + 1)


def magnitude_bins(mag: pd.Series) -> list[Bin]:
    """The bins from the brightest to the faintest star; none for no star."""
    finite = np.asarray(mag, float)
    finite = np.floor(finite[np.isfinite(finite)])
    return (
        [Bin(low) for low in range(int(finite.min()), int(finite.max()) + 1)] if len(finite) else []
    )


def format_chi2(value: float) -> str:
    """Three digits or more, never a power of ten: 1.96, 13.0, 1074."""
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f}"


def measured(stars: pd.DataFrame) -> pd.DataFrame:
    """Stars of a fit with a figure of quality; none, with all columns, if all images failed."""
    if not set(STAR_COLUMNS) <= set(stars.columns):
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in STAR_COLUMNS.items()})
    return stars[stars["core_chi2"].notna()]


def require_fitted(image: str, fits: pd.DataFrame) -> None:
    """Raise InputError with the status of an image that has no PSF.

    `fits`: the images table of the rule fit_psf.
    """
    found = fits.loc[fits["image"] == image, "status"]
    status = str(found.iloc[0]) if len(found) else f"{image}: the rule fit_psf has left it out."
    if status not in (OK, NOT_CONVERGED):
        raise InputError(status)


def usable(stars: pd.DataFrame) -> pd.DataFrame:
    """Those that the fit did not reject."""
    return stars[stars["status"] == "ok"]
