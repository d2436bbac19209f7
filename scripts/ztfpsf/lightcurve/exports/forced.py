"""Columns named as by IPAC's forced photometry service (Masci et al. 2023, arXiv 2305.16279).

Programs that read its files read this one: a line of names with commas, then rows of white space,
`null` for what is not there. Fluxes need no correction of a baseline, errors no scaling. `jd` is
the start of the exposure; procstatus 0, or 255 where there is no flux.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ztfpsf.io import write_text
from ztfpsf.lightcurve.exports import Curve, is_fitted

SUFFIX = "forced.txt"
FILTERS = {"zg": "ZTF_g", "zr": "ZTF_r", "zi": "ZTF_i"}
JD_OF_MJD = 2400000.5
SECONDS_PER_DAY = 86400.0


def write(curve: Curve, path: str | Path) -> None:
    """Write all exposures."""
    rows = curve.rows
    flux, error = (rows[f"probe_flux{name}_adu"].to_numpy() for name in ("", "_error"))
    start = rows["mjd"] - rows["exptime_s"].fillna(0.0) / 2 / SECONDS_PER_DAY
    limit = rows["zero_point_mag"].to_numpy() - 2.5 * np.log10(5.0 * error)
    table = pd.DataFrame(
        {
            "index": np.arange(len(rows)),
            "field": rows["field"].to_numpy(),
            "ccdid": rows["ccdid"].to_numpy(),
            "qid": rows["qid"].to_numpy(),
            "filter": [FILTERS[name] for name in rows["filtercode"]],
            "infobitssci": rows["infobits"].fillna(0).to_numpy(int),
            "sciinpseeing": rows["fwhm_px"].to_numpy(),
            "scibckgnd": rows["sky_adu"].to_numpy(),
            "zpmaginpsci": rows["magzp_mag"].to_numpy(),
            "exptime": rows["exptime_s"].to_numpy(),
            "diffmaglim": limit,
            "zpdiff": rows["zero_point_mag"].to_numpy(),
            "jd": start.to_numpy() + JD_OF_MJD,
            "forcediffimflux": flux,
            "forcediffimfluxunc": error,
            "forcediffimsnr": flux / error,
            "forcediffimchisq": (rows["chi2"] / rows["dof"]).to_numpy(),
            "procstatus": np.where(is_fitted(rows), 0, 255),
        }
    )
    head = f"# ztfpsf {curve.version}: scene model, not a difference image\n"
    names = ", ".join(table.columns)
    body = table.to_csv(sep=" ", index=False, header=False, na_rep="null", float_format="%.15g")
    write_text(f"{head}{names}\n{body}", path)
