"""Small simulated surveys, solved."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
from ztfpsf.survey.design import EXPOSURE, Units, make_block
from ztfpsf.survey.errors import Covariance, find_unit_covariance, invert
from ztfpsf.survey.judgement import Robust
from ztfpsf.survey.normal import Problem
from ztfpsf.survey.rounds import Fit, fit_survey
from ztfpsf.survey.simulation import MEAN_COLOUR_MAG, Cell, simulate_cells
from ztfpsf.survey.terms import Terms
from ztfpsf.survey.truth import Simulation, Truth, simulate_truth

CELLS_PER_BLOCK = 20
PATCH = {"ra_deg": (100.0, 125.0), "dec_deg": (10.0, 35.0), "visits": 12.0, "superpixels": 3}
NO_INSTRUMENT = {"star_flat_mag": 0.0, "colour_mag": 0.0, "airmass_mag": 0.0}


class Solved(NamedTuple):
    truth: Truth
    units: Units
    problem: Problem
    fit: Fit
    covariance: Covariance

    @property
    def is_fitted(self) -> np.ndarray:
        return self.fit.normal.is_fitted[:-1]

    @property
    def zero_point_mag(self) -> np.ndarray:
        """Zero points of the units that are fitted."""
        return self.units.layout.split(self.fit.unknowns)[0][:-1, 0][self.is_fitted]

    @property
    def difference_mag(self) -> np.ndarray:
        """From the truth, where exposures are the units; the mean is not known, and 0."""
        difference = self.zero_point_mag - self.truth.exposures["zero_point_mag"][self.is_fitted]
        return (difference - difference.mean()).to_numpy()

    @property
    def error_mag(self) -> np.ndarray:
        covariance = find_unit_covariance(self.fit, self.covariance)[:-1][self.is_fitted]
        return np.sqrt(covariance[:, 0, 0])

    @property
    def group(self) -> np.ndarray:
        return self.fit.coarse.space.groups.group[:-1][self.is_fitted]


def make_problem(
    truth: Truth, cells: list[Cell], terms: Terms, kind: str = EXPOSURE
) -> tuple[Units, Problem]:
    """Blocks of some cells each; stars have no reference magnitude unless the cells have one."""
    exposures = truth.exposures
    units = Units(
        kind,
        terms,
        np.zeros(len(exposures), int),
        1,
        exposures["field"].to_numpy(),
        exposures["airmass_to_east"].to_numpy(),
        exposures["airmass_to_north"].to_numpy(),
        MEAN_COLOUR_MAG,
    )
    blocks = []
    for first in range(0, len(cells), CELLS_PER_BLOCK):
        some = cells[first : first + CELLS_PER_BLOCK]
        measurements = pd.concat([cell.measurements for cell in some], ignore_index=True)
        order = np.lexsort((measurements["exposure"], measurements["star_id"]))
        stars = pd.concat([cell.stars for cell in some], ignore_index=True)
        for name in ("reference_mag", "reference_error_mag"):
            stars[name] = stars.get(name, np.nan)
        blocks.append(make_block(measurements.iloc[order], stars, units))
    executor = ThreadPoolExecutor(1)
    problem = Problem(blocks, units.layout, units.fields, units.periods, units.is_held, executor)
    return units, problem


def solve(
    simulation: Simulation, terms: Terms, kind: str = EXPOSURE, robust: Robust | None = None
) -> Solved:
    """Simulate and solve."""
    truth = simulate_truth(simulation)
    cells = list(simulate_cells(simulation, truth))
    return solve_cells(truth, cells, terms, kind, robust)


def solve_cells(
    truth: Truth,
    cells: list[Cell],
    terms: Terms,
    kind: str = EXPOSURE,
    robust: Robust | None = None,
) -> Solved:
    """Solve cells of a simulation."""
    units, problem = make_problem(truth, cells, terms, kind)
    fit = fit_survey(problem, robust or Robust())
    return Solved(truth, units, problem, fit, invert(fit))
