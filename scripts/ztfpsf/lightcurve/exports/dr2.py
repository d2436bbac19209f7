"""Columns of the light curves of ZTF's SN Ia DR2, `<name>_LC.csv`: white space, comments with #.

mjd flux flux_err ZP mag mag_err filter field_id rcid flag in_baseline; of the bits of `flag` that
of the moon (128) is never set.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ztfpsf.footprints import PIXEL_ARCSEC
from ztfpsf.io import write_text
from ztfpsf.lightcurve.exports import BANDS, Curve, is_fitted
from ztfpsf.lightcurve.flags import Flag
from ztfpsf.lightcurve.sights import MAG_PER_LN
from ztfpsf.names import parse_quadrant

SUFFIX = "LC.csv"
N_SIGMA = 5.0


def write(curve: Curve, path: str | Path) -> None:
    """Write the exposures that were fitted; before and after the dates what was measured there."""
    rows = curve.rows[is_fitted(curve.rows)]
    flux, error = (rows[f"probe_flux{name}_adu"].to_numpy() for name in ("", "_error"))
    zero_point = rows["zero_point_mag"].to_numpy()
    positive = np.where(flux > 0, flux, np.nan)
    table = pd.DataFrame(
        {
            "mjd": rows["mjd"].to_numpy(),
            "flux": flux,
            "flux_err": error,
            "ZP": zero_point,
            "mag": zero_point - 2.5 * np.log10(positive),
            "mag_err": MAG_PER_LN * error / positive,
            "filter": [BANDS[name] for name in rows["filtercode"]],
            "field_id": rows["field"].to_numpy(),
            "rcid": [parse_quadrant(image).rcid for image in rows["image"]],
            "flag": find_flags(curve, rows),
            "in_baseline": rows["in_baseline"].to_numpy().astype(int),
        }
    )
    head = f"# ztfpsf {curve.version}; flux in ADU of ZP, mjd UTC, middle of the exposure\n"
    write_text(head + table.to_csv(sep=" ", index=False, na_rep="nan"), path)


def find_flags(curve: Curve, rows: pd.DataFrame) -> np.ndarray:
    """The bits of DR2."""
    flux, error = (rows[f"probe_flux{name}_adu"].to_numpy() for name in ("", "_error"))
    flags = rows["flags"].to_numpy()
    limit_mag = rows["zero_point_mag"].to_numpy() - 2.5 * np.log10(N_SIGMA * error)
    found = {
        1: ~(error > 0),
        2: rows["chi2"].to_numpy() > 3.0 * rows["dof"].to_numpy(),
        4: (flags & Flag.CLOUDY) > 0,
        8: (flags & Flag.INFOBITS) > 0,
        16: limit_mag < 19.3,
        32: rows["fwhm_px"].to_numpy() * PIXEL_ARCSEC > 3.0,
        64: rows["field"].to_numpy() > 879,
        256: np.full(len(rows), curve.has_baseline),
        512: rows["airmass"].to_numpy() > 2.0,
        1024: flux >= N_SIGMA * error,
    }
    total = np.zeros(len(rows), int)
    for bit, is_set in found.items():
        total += bit * is_set.astype(int)
    return total
