"""Which stars are shown: typical ones of each magnitude, reserved ones where there are some."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ztfpsf.quality import Bin, magnitude_bins

STACK_BINS = 2  # magnitudes below the brightest star that are stacked
STACK_STARS = 300
MOST_REASONS = 3


def explain_no_star(images: pd.DataFrame) -> str:
    """Why there is nothing to draw. `images`: the images table of the fit."""
    reasons = images["status"].unique()
    return "No star was fitted. " + " ".join(str(reason) for reason in reasons[:MOST_REASONS])


def name_drawn(fit_settings: Mapping[str, Any]) -> str:
    """What is drawn, where it is not what was fitted."""
    if fit_settings.get("strategy") != "per_star":
        return ""
    return " (PSF of the image, not each star's own)"


def typical(stars: pd.DataFrame, n: int) -> pd.DataFrame:
    """The n stars nearest to the middles of n equal parts of the core chi2, smallest first."""
    ordered = stars.sort_values(["core_chi2", "star_id"])
    n = min(n, len(ordered))
    return ordered.iloc[[int((k + 0.5) / n * len(ordered)) for k in range(n)]]


def of_each_bin(stars: pd.DataFrame, n: int) -> dict[Bin, pd.DataFrame]:
    """At most n typical stars of each bin, reserved ones first, then fitted ones."""
    shown = {}
    for one in magnitude_bins(stars["mag"]):
        mine = stars[one.holds(stars["mag"])]
        reserved = typical(mine[mine["is_reserved"]], n)
        fitted = typical(mine[mine["is_fitted"]], n - len(reserved))
        shown[one] = pd.concat([reserved, fitted])
    return shown


def bright(stars: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The stars `is_reserved` or `is_fitted` that are stacked, brightest first."""
    bins = magnitude_bins(stars["mag"])
    mine = stars[stars[kind]]
    if not bins:
        return mine
    mine = mine[mine["mag"] < bins[0].low + STACK_BINS]
    return mine.sort_values(["mag", "star_id"]).head(STACK_STARS)
