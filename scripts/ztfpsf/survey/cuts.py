"""Which measurements of a photometry table calibrate: what is left out, by reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.errors import InputError

MAG_PER_LN = 2.5 / np.log(10.0)


@dataclass(frozen=True)
class Cuts:
    """Limits of the measurements that are collected."""

    verdicts: tuple[str, ...] = ("good", "usable")
    reject_flags: tuple[str, ...] = (
        "SATURATED", "CENTRE", "EDGE", "BLENDED", "NOT_CONVERGED", "NOT_MEASURED",
    )  # fmt: skip
    min_snr: float = 30.0
    max_neighbours: int | None = None


class Cut(NamedTuple):
    """Measurements that are kept, by their index; how many not, by the first reason that holds."""

    table: pd.DataFrame
    counts: dict[str, int]


def add_flags(names: Sequence[str], bits: Mapping[str, int]) -> int:
    """Sum of the bits of flags; `bits`: of each flag that the photometry knows."""
    unknown = sorted(set(names) - set(bits))
    if unknown:
        raise InputError(
            f"config key collect_survey.reject_flags: '{unknown[0]}' is no flag of the photometry; "
            f"expected some of {', '.join(bits)}."
        )
    return sum(bits[name] for name in names)


def cut_image(table: pd.DataFrame, verdict: str, rejected_bits: int, cuts: Cuts) -> Cut:
    """Measurements of one image that can be used: positions and instrumental magnitude."""
    flux, error = table["flux_adu"].to_numpy(), table["flux_error_adu"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        snr = flux / error
    neighbours = table["n_neighbours"].to_numpy()
    limit = np.inf if cuts.max_neighbours is None else cuts.max_neighbours
    reasons: Mapping[str, np.ndarray] = {
        "verdict": np.full(len(table), verdict not in cuts.verdicts),
        "no_flux": ~(np.isfinite(flux) & (flux > 0)),
        "no_error": ~(np.isfinite(error) & (error > 0)),
        "flags": (table["flags"].to_numpy() & rejected_bits) > 0,
        "snr": ~(snr >= cuts.min_snr),
        "neighbours": neighbours > limit,
    }
    left = np.ones(len(table), bool)
    counts = {}
    for name, is_cut in reasons.items():
        counts[f"n_rejected_{name}"] = int((left & is_cut).sum())
        left &= ~is_cut
    kept = table[left]
    return Cut(
        pd.DataFrame(
            {
                "ra_deg": kept["ra_deg"].to_numpy(),
                "dec_deg": kept["dec_deg"].to_numpy(),
                "x_px": kept["x_px"].to_numpy(),
                "y_px": kept["y_px"].to_numpy(),
                "mag": -2.5 * np.log10(flux[left]),
                "mag_error": MAG_PER_LN / snr[left],
            },
            index=kept.index,
        ),
        {"n_measured": len(table), "n_kept": int(left.sum()), **counts},
    )
