"""What may be wrong with an exposure of a light curve: bits, beside the sentence of its status."""

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
import pandas as pd

from ztfpsf.lightcurve.scene import OK

# Arcsec: refraction by a colour that differs by 1 mag moves the place by a tenth of a pixel.
LARGE_REFRACTION_ARCSEC = 0.1


class Flag(IntFlag):
    """Bits of the column `flags`; 0: nothing is known against the exposure."""

    NOT_FITTED = 1  # see its status
    MASKED = 2  # a pixel of the fit is not used
    BAD_CHI2 = 4
    BAD_RATIO = 8  # its error is large
    CLOUDY = 16
    SEEING = 32
    AIRMASS = 64
    BAD_PSF = 128  # the verdict on its PSF
    NO_BASELINE = 256  # no exposure without the target: its zero is the host's
    DCR_LARGE = 512  # an unknown colour may have moved it
    INFOBITS = 1024  # IPAC's quality control saw something


BITS = {str(flag.name): int(flag) for flag in Flag}


@dataclass(frozen=True)
class Limits:
    """Beyond these an exposure carries the flag."""

    max_chi2_per_dof: float = 1.5
    max_ratio_error_mag: float = 0.02
    max_extinction_mag: float = 0.5
    max_fwhm_px: float = 4.0
    max_airmass: float = 2.0


def find_flags(rows: pd.DataFrame, limits: Limits, refraction_arcsec_mag: float) -> np.ndarray:
    """Sums of the bits of Flag, (E,); `rows`: of the light curve, without `flags`.

    `refraction_arcsec_mag`: 0 where the colour of the target is known.
    Extinction counts from the clearest tenth of the exposures.
    """
    ratio = rows["ratio_mag"].to_numpy(float)
    clear = np.nanquantile(ratio, 0.1) if np.isfinite(ratio).any() else np.nan
    tangent = np.sqrt(np.maximum(rows["airmass"].to_numpy(float) ** 2 - 1.0, 0.0))
    is_fitted = rows["status"] == OK
    found = {
        Flag.NOT_FITTED: ~is_fitted,
        Flag.MASKED: is_fitted & (rows["n_masked"] > 0),
        Flag.BAD_CHI2: rows["chi2"] > limits.max_chi2_per_dof * rows["dof"],
        Flag.BAD_RATIO: ~(rows["ratio_error_mag"] <= limits.max_ratio_error_mag),
        Flag.CLOUDY: ratio - clear > limits.max_extinction_mag,
        Flag.SEEING: rows["fwhm_px"] > limits.max_fwhm_px,
        Flag.AIRMASS: rows["airmass"] > limits.max_airmass,
        Flag.BAD_PSF: rows["verdict"] == "bad",
        Flag.NO_BASELINE: np.full(len(rows), not rows["in_baseline"].any()),
        Flag.DCR_LARGE: tangent * abs(refraction_arcsec_mag) > LARGE_REFRACTION_ARCSEC,
        Flag.INFOBITS: rows["infobits"].fillna(0) > 0,
    }
    flags = np.zeros(len(rows), int)
    for flag, is_set in found.items():
        flags += int(flag) * np.asarray(is_set, int)
    return flags
