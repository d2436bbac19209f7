"""How long the fits of a run took, by model, optimiser and device."""

import logging
from collections.abc import Sequence

import pandas as pd

from ztfpsf.errors import InputError
from ztfpsf.io import read_table

logger = logging.getLogger("ztfpsf")

COLUMNS = (
    "image",
    "model",
    "optimiser",
    "device",
    "status",
    "n_fitted",
    "chi2",
    "dof",
    "edm",
    "iterations",
    "seconds",
    "compile_seconds",
)


def make_fit_table(paths: Sequence[str]) -> pd.DataFrame:
    """One row per image and fit, from the images tables of the rule fit_psf; failed ones NaN.

    A damaged table is left out, and named in the log.
    """
    tables = []
    for path in paths:
        try:
            tables.append(read_table(path, "fit_psf").reindex(columns=COLUMNS))
        except InputError as error:
            logger.warning("%s", error)
    table = pd.concat([pd.DataFrame(columns=COLUMNS), *tables], ignore_index=True)
    return table.astype(dict.fromkeys(COLUMNS[5:], float))


def make_timing_table(fits: pd.DataFrame) -> pd.DataFrame:
    """A row per model, optimiser and device: medians over images, and sums, without failed fits."""
    groups = fits[fits["seconds"].notna()].groupby(["model", "optimiser", "device"], sort=False)
    return groups.agg(
        images=("image", "size"),
        converged_fraction=("status", lambda status: (status == "ok").mean()),
        stars=("n_fitted", "median"),
        steps=("iterations", "median"),
        seconds_per_image=("seconds", "median"),
        seconds=("seconds", "sum"),
        compile_seconds=("compile_seconds", "sum"),
    ).reset_index()
