"""Light curves in the formats of other programs, one module each.

A module has `SUFFIX`, the end of its files' names, and `write(curve, path)`.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

BANDS = {"zg": "ztfg", "zr": "ztfr", "zi": "ztfi"}


class Curve(NamedTuple):
    """What is exported: the rows of extract_lightcurve and their covariance."""

    rows: pd.DataFrame  # E rows
    covariance_adu2: np.ndarray  # (E, E)
    has_baseline: bool
    version: str  # of ztfpsf


def is_fitted(rows: pd.DataFrame) -> np.ndarray:
    """Exposures with a flux, (E,) bool."""
    return np.isfinite(rows["probe_flux_adu"].to_numpy())
