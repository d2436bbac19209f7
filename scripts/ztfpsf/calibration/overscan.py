"""Bias level of each row from the serial overscan.

The level of a row is the median (or mean) of the late overscan columns, free of deferred charge;
over the rows it is smoothed by a Legendre polynomial fitted in closed form. Rows keep the stored
order of the pixels, so a tilt cannot be subtracted upside down.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre

from ztfpsf.calibration.orientation import overscan_columns
from ztfpsf.errors import InputError

N_FITS = 3
STATISTICS: dict[str, Callable[..., np.ndarray]] = {"median": np.nanmedian, "mean": np.nanmean}


@dataclass(frozen=True)
class Overscan:
    """Settings of the overscan step."""

    first_column: int = 25  # in the order of reading, 0-based
    stop_column: int = 30  # one past the last
    statistic: str = "median"
    clip_mad: float = 3.0  # rows further off, in unscaled MAD, are left out
    order: int = 2  # of the polynomial over the rows

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS:
            raise InputError(
                f"overscan statistic '{self.statistic}' is unknown; use one of "
                f"{', '.join(STATISTICS)}."
            )
        if not 0 <= self.first_column < self.stop_column or self.order < 0:
            raise InputError(
                f"overscan columns {self.first_column} to {self.stop_column} of order {self.order} "
                "make no model; give 0 <= first_column < stop_column and order >= 0."
            )


def row_levels(strip_adu: np.ndarray, qid: int, settings: Overscan) -> np.ndarray:
    """Level of each row, shape (ny,), float64 ADU, of a stored strip (ny, n_columns)."""
    n_columns = strip_adu.shape[1]
    if settings.stop_column > n_columns:
        raise InputError(
            f"the overscan has {n_columns} columns but overscan stop_column is "
            f"{settings.stop_column}; lower it in the configuration."
        )
    columns = overscan_columns(qid, n_columns, settings.first_column, settings.stop_column)
    chosen = strip_adu[:, columns].astype(np.float64)
    levels = np.full(len(chosen), np.nan)
    filled = np.isfinite(chosen).any(axis=1)
    levels[filled] = STATISTICS[settings.statistic](chosen[filled], axis=1)
    return levels


def smooth_levels(levels_adu: np.ndarray, settings: Overscan) -> np.ndarray:
    """Legendre polynomial through the levels of the rows; shapes (ny,), float64 ADU.

    Rows further than `clip_mad` median absolute deviations from the median row are left out of a
    first fit, rows that far from the fit of the final ones: a steep tilt then loses no end.
    Raises InputError when fewer rows remain than terms.
    """
    x = np.linspace(-1.0, 1.0, len(levels_adu))
    finite = np.isfinite(levels_adu)
    model: np.ndarray = np.full_like(x, np.median(levels_adu[finite]) if finite.any() else 0.0)
    for _ in range(N_FITS):
        distance = np.where(finite, np.abs(levels_adu - model), np.inf)
        # A noiseless strip has no deviation at all and must keep its rows.
        limit = settings.clip_mad * np.median(distance[finite]) if finite.any() else 0.0
        good = finite & (distance <= limit + 1e-6)
        if good.sum() <= settings.order:
            raise InputError(
                f"only {good.sum()} of {len(levels_adu)} overscan rows are usable; "
                "the amplifier gave no signal, so leave this frame out."
            )
        model = legendre.legval(x, legendre.legfit(x[good], levels_adu[good], settings.order))
    return model


def overscan_model(strip_adu: np.ndarray, qid: int, settings: Overscan) -> np.ndarray:
    """Bias level to subtract from each stored row, shape (ny,), float64 ADU."""
    return smooth_levels(row_levels(strip_adu, qid, settings), settings)


def cards(settings: Overscan) -> list[tuple[str, object, str]]:
    """Header cards of the step."""
    return [
        ("OVSCOLS", f"{settings.first_column}:{settings.stop_column}", "overscan columns, as read"),
        ("OVSSTAT", settings.statistic, "overscan statistic along a row"),
        ("OVSCLIP", settings.clip_mad, "overscan rows kept within so many MAD"),
        ("OVSORDER", settings.order, "order of the overscan polynomial"),
    ]
