"""Magnitude bins, one magnitude wide, that quality figures are given in."""

from typing import NamedTuple

import numpy as np
import pandas as pd


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
