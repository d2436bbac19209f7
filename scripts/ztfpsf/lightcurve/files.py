"""FITS files beside a light curve: covariance, host and residuals."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from ztfpsf.fits_files import damage_named
from ztfpsf.io import make_again, open_product, write_fits
from ztfpsf.lightcurve.scene import LightCurve

RULE = "extract_lightcurve"


def write_covariance(curve: LightCurve, path: str | Path, provenance: Mapping[str, Any]) -> None:
    """Write COVARIANCE (E, E) float32 ADU^2, NaN for exposures that were not fitted."""
    hdu = fits.ImageHDU(curve.covariance_adu2.astype(np.float32), name="COVARIANCE")
    hdu.header["BUNIT"] = "adu**2"
    write_fits(fits.HDUList([fits.PrimaryHDU(), hdu]), path, provenance)


def read_covariance(path: str | Path) -> np.ndarray:
    """Covariance of the fluxes (E, E), ADU^2. Raises InputError."""
    with open_product(path, RULE) as hdus, damage_named(path, make_again(RULE)):
        return np.asarray(hdus["COVARIANCE"].data, float)


def write_host(curve: LightCurve, path: str | Path, provenance: Mapping[str, Any]) -> None:
    """Write the host, GALAXY and ERROR (ADU a point, NaN beyond), and RESIDUAL, the mean of all
    exposures in units of their noise times the root of their number.
    """
    blank = np.full((1, 1), np.nan)
    galaxy, error = (
        (blank, blank) if curve.host is None else (curve.host.flux_adu, curve.host.error_adu)
    )
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(galaxy.astype(np.float32), name="GALAXY"),
        fits.ImageHDU(error.astype(np.float32), name="ERROR"),
        fits.ImageHDU(stack_residuals(curve.residuals).astype(np.float32), name="RESIDUAL"),
    ]
    write_fits(fits.HDUList(hdus), path, provenance)


def stack_residuals(residuals: np.ndarray) -> np.ndarray:
    """Sum of normalised residuals (E, S, S) over the root of their number, (S, S): 1 for noise."""
    n = np.isfinite(residuals).sum(axis=0)
    total = np.nansum(residuals, axis=0)
    return np.divide(total, np.sqrt(n), out=np.full(total.shape, np.nan), where=n > 0)


def read_host(path: str | Path) -> dict[str, np.ndarray]:
    """Pictures of write_host by name. Raises InputError."""
    with open_product(path, RULE) as hdus, damage_named(path, make_again(RULE)):
        names = ("GALAXY", "ERROR", "RESIDUAL")
        return {name: np.asarray(hdus[name].data, float) for name in names}
