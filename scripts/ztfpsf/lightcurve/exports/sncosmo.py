"""For sncosmo and SALT: ECSV with time, band, flux, fluxerr, zp, zpsys and fluxcov.

Exposures between the dates of the target, in ADU of the common scale. `fluxcov` is a column of
vectors, the covariance of each flux with all others, as sncosmo takes it: fluxes of one light curve
share the error of the host under them.
"""

from pathlib import Path

import numpy as np
from astropy.table import Table

from ztfpsf.io import atomic_path
from ztfpsf.lightcurve.exports import BANDS, Curve, is_fitted

SUFFIX = "sncosmo.ecsv"


def write(curve: Curve, path: str | Path) -> None:
    """Write the exposures with light of the target."""
    used = np.flatnonzero(is_fitted(curve.rows) & ~curve.rows["in_baseline"].to_numpy())
    rows = curve.rows.iloc[used]
    table = Table(
        {
            "time": rows["mjd"].to_numpy(),
            "band": [BANDS[name] for name in rows["filtercode"]],
            "flux": rows["flux_adu"].to_numpy(),
            "fluxerr": rows["flux_error_adu"].to_numpy(),
            "zp": rows["zero_point_mag"].to_numpy(),
            "zpsys": ["ab"] * len(rows),
        },
        meta={"software": f"ztfpsf {curve.version}", "time": "MJD (UTC), middle of the exposure"},
    )
    # astropy does not read vectors of no length back.
    if len(rows):
        table["fluxcov"] = curve.covariance_adu2[np.ix_(used, used)]
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
