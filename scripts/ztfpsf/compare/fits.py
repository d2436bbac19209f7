"""The fits that are compared, and how fast each one got to the minimum."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

# Where an optimiser counts as arrived: chi2 within this fraction of the smallest one found.
NEAR_MINIMUM = 1e-3
REFERENCE = "gauss_newton"


class Fit(NamedTuple):
    """Tables of the rule fit_psf for one model and one optimiser; a unit has several images."""

    model: str
    optimiser: str
    stars: pd.DataFrame
    images: pd.DataFrame
    history: pd.DataFrame

    @property
    def name(self) -> str:
        return f"{self.model}, {self.optimiser}"

    @property
    def done(self) -> pd.DataFrame:
        """Rows of the images that were fitted."""
        if "n_fitted" not in self.images:
            return self.images.iloc[:0]
        return self.images[self.images["n_fitted"].notna()]

    @property
    def failed(self) -> pd.DataFrame:
        """Rows of the images that were not."""
        return self.images[~self.images["image"].isin(self.done["image"])]

    @property
    def unconverged(self) -> pd.DataFrame:
        """Rows of the images whose fit stopped before the minimum."""
        return self.done[self.done["status"] != "ok"]


class Speed(NamedTuple):
    """One optimiser on the way to the minimum of its model."""

    seconds: float  # after compilation, to NEAR_MINIMUM in every image; NaN = never
    ratio: float  # to those of REFERENCE
    excess: float  # (chi2 at the end - smallest chi2 of the model) / smallest chi2


def group_by_model(fits: Iterable[Fit]) -> dict[str, list[Fit]]:
    """The fits of each model, in the order given."""
    groups: dict[str, list[Fit]] = {}
    for fit in fits:
        groups.setdefault(fit.model, []).append(fit)
    return groups


def find_common_images(fits: Sequence[Fit]) -> list[str]:
    """Images fitted by all of the fits that fitted any: only these can be compared."""
    sets = [set(fit.done["image"]) for fit in fits if len(fit.done)]
    return sorted(set.intersection(*sets)) if sets else []


def find_smallest_losses(fits: Sequence[Fit]) -> pd.Series:
    """Smallest loss of each common image over the fits of one model, indexed by image."""
    images = find_common_images(fits)
    losses = [_losses(fit, images).groupby("image")["loss"].min() for fit in fits if len(fit.done)]
    return pd.concat(losses, axis=1).min(axis=1) if losses else pd.Series(dtype=float)


def _losses(fit: Fit, images: Sequence[str]) -> pd.DataFrame:
    history = fit.history[fit.history["image"].isin(images)]
    return history[np.isfinite(history["loss"])]


def pool_history(fit: Fit, images: Sequence[str]) -> pd.DataFrame:
    """Loss and seconds summed over images, columns iteration, seconds, loss.

    An image that has ended keeps its last values.
    """
    if not len(fit.done) or not images:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in ("seconds", "loss")})
    table = _losses(fit, images).pivot(index="iteration", columns="image")
    table = table[["seconds", "loss"]].ffill()
    return table.T.groupby(level=0).sum().T.reset_index()


def measure_speeds(fits: Sequence[Fit]) -> list[Speed]:
    """Speed of each of the fits of one model, over the images that all of them fitted."""
    smallest = find_smallest_losses(fits)
    seconds = [_seconds_to(fit, smallest * (1 + NEAR_MINIMUM)) for fit in fits]
    reference = next(
        (s for fit, s in zip(fits, seconds, strict=True) if fit.optimiser == REFERENCE), np.nan
    )
    ratios = [s / reference if reference > 0 else np.nan for s in seconds]
    excesses = [_find_excess(fit, smallest) for fit in fits]
    return [Speed(*speed) for speed in zip(seconds, ratios, excesses, strict=True)]


def _seconds_to(fit: Fit, targets: pd.Series) -> float:
    """Seconds until each image's loss is at its target, summed; NaN where one never is."""
    if targets.empty or not len(fit.done):
        return np.nan
    history = _losses(fit, list(targets.index))
    arrived = history[history["loss"] <= history["image"].map(targets)]
    first = arrived.groupby("image")["seconds"].min()
    return float(first.sum()) if len(first) == len(targets) else np.nan


def _find_excess(fit: Fit, smallest: pd.Series) -> float:
    if smallest.empty or not len(fit.done):
        return np.nan
    history = _losses(fit, list(smallest.index)).sort_values("iteration")
    last = history.groupby("image")["loss"].last()
    return float(last.sum() / smallest.sum() - 1.0)
