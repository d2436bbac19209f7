"""Solving a dataset: from the settings to the products."""

from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.errors import InputError
from ztfpsf.survey.collection import read_exposures
from ztfpsf.survey.dataset import CellBlocks, list_cells, open_blocks, read_cells
from ztfpsf.survey.design import EXPOSURE, Units
from ztfpsf.survey.errors import Covariance, invert
from ztfpsf.survey.judgement import Robust
from ztfpsf.survey.normal import Problem
from ztfpsf.survey.rounds import Fit, fit_survey
from ztfpsf.survey.terms import Terms

SAMPLE = 100  # cells that tell the mean colour


@dataclass(frozen=True)
class Model:
    """What is fitted, and how."""

    unit: str = EXPOSURE
    terms: Terms = field(default_factory=Terms)
    periods_mjd: tuple[float, ...] = (0.0,)  # starts of the star flat's periods
    robust: Robust = field(default_factory=Robust)
    memory_gb: float = 2.0  # of measurements that are kept; the rest is read at each pass


class Solution(NamedTuple):
    units: Units
    exposures: pd.DataFrame
    blocks: CellBlocks
    fit: Fit
    covariance: Covariance
    notes: list[str]  # sentences about what the data do not hold


def solve_dataset(root: str, model: Model, executor: Executor) -> Solution:
    """Fit a dataset. Raises InputError for one without measurements."""
    exposures = read_exposures(root)
    if not len(exposures):
        raise InputError(f"{root}: holds no exposure; see what collect_survey left out, and why.")
    colour = find_mean_colour(root)
    terms, notes = model.terms, []
    if terms.colour_mag and np.isnan(colour):
        terms = replace(terms, colour_mag=0.0)
        notes.append("No star has a colour: no colour term is fitted; give collect_survey one.")
    starts = np.array(model.periods_mjd)
    period = np.maximum(np.searchsorted(starts, exposures["mjd"], side="right") - 1, 0)
    units = Units(
        model.unit,
        terms,
        period,
        len(starts),
        exposures["field"].to_numpy(),
        exposures["airmass_to_east"].to_numpy(),
        exposures["airmass_to_north"].to_numpy(),
        float(np.nan_to_num(colour)),
    )
    blocks = open_blocks(root, units, model.memory_gb)
    problem = Problem(blocks, units.layout, units.fields, units.periods, units.is_held, executor)
    fit = fit_survey(problem, model.robust)
    covariance = invert(fit)
    return Solution(
        units,
        exposures,
        blocks,
        fit,
        covariance,
        [*notes, *find_notes(fit, model.robust.tolerance_mag)],
    )


def find_mean_colour(root: str) -> float:
    """Median colour of the stars that have one, NaN without any; of a sample of the cells."""
    cells = list_cells(root)
    sample = cells[:: max(len(cells) // SAMPLE, 1)]
    known = read_cells(root, sample, "stars")["colour_mag"].dropna() if sample else np.zeros(0)
    return float(np.median(known)) if len(known) else np.nan


def find_notes(fit: Fit, tolerance_mag: float) -> list[str]:
    """What a user should know before taking the numbers."""
    notes = []
    groups = fit.coarse.space.groups
    n_loose = len(np.unique(groups.component[groups.component >= 0]))
    if not (groups.component < 0).any():
        notes.append(
            "No star has a magnitude and its error in a reference catalogue: the mean zero point "
            "is 0; give collect_survey.reference one."
        )
    if n_loose > 1 or (n_loose == 1 and (groups.component < 0).any()):
        notes.append(
            f"{n_loose} sets of fields are connected to nothing else by any star: each has a zero "
            "of its own, the mean of its exposures; see the column component."
        )
    if fit.bad_units.any():
        notes.append(
            f"{int(fit.bad_units.sum())} exposures scatter too much and are left out of the stars' "
            "magnitudes: clouds, or bad PSFs; see the column status."
        )
    if fit.change_mag > tolerance_mag:
        notes.append(
            f"After {fit.iterations[-1]} iterations zero points may still change by "
            f"{1e3 * fit.change_mag:.3f} mmag; raise solve_survey.max_iterations."
        )
    return notes
