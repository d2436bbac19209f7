"""Robust solution: fit, estimate the scatter beyond the errors, leave out what is off, repeat."""

import logging
from functools import partial
from typing import NamedTuple

import numpy as np

from ztfpsf.survey import gradients
from ztfpsf.survey.block import Block, centre, make_diagonal, predict, project
from ztfpsf.survey.coarse import Coarse, make_coarse
from ztfpsf.survey.components import find_groups
from ztfpsf.survey.gauge import settle
from ztfpsf.survey.judgement import Robust, judge
from ztfpsf.survey.normal import Normal, Problem, clear, make_normal
from ztfpsf.survey.terms import Layout
from ztfpsf.survey.weights import (
    Kept,
    Weights,
    find_variance,
    map_blocks,
    start_weights,
    unpack,
)

logger = logging.getLogger("ztfpsf")

SMALLEST_POLYNOMIAL_MAG = 1e-5
# Outliers are found as well with zero points that are not final, in units of their tolerance.
EARLY = 10.0
PATIENCE = 8  # iterations before the coarse matrix is made anew


class Fit(NamedTuple):
    """Solution, with the equations that it came from."""

    unknowns: np.ndarray  # (size,)
    normal: Normal
    coarse: Coarse
    inverse: np.ndarray  # (U, K, K), inverse of normal.diagonal, 0 where not fitted
    polynomial_mag: np.ndarray  # (K - 1,), prior width of the slopes, from the units themselves
    bad_units: np.ndarray  # (U,) bool: left out because their stars scatter
    iterations: list[int]
    change_mag: float

    @property
    def weights(self) -> Weights:
        return self.normal.weights


def fit_survey(problem: Problem, robust: Robust) -> Fit:
    """Fit all unknowns; measurements, stars and units that are off are left out."""
    layout = problem.layout
    weights = start_weights(problem.blocks, problem.executor, robust.start_scatter_mag)
    polynomial = np.full(layout.n_coefficients - 1, layout.terms.polynomial_mag)
    unknowns, bad = np.zeros(layout.size), np.zeros(layout.n_units, bool)
    iterations: list[int] = []
    known: Coarse | None = None
    for number in range(1, robust.rounds + 1):
        normal = make_normal(problem, weights, polynomial, unknowns)
        inverse = _invert(normal)
        if number == robust.rounds:  # its errors are those of the last weights
            known = None
        clear(normal, unknowns)
        tolerance = robust.tolerance_mag * (1.0 if number == robust.rounds else EARLY)
        solved, known = _solve_round(normal, inverse, known, unknowns, tolerance, robust)
        unknowns = solved.unknowns
        settle(layout, known.space.groups, problem.period, unknowns)
        iterations.append(solved.iterations)
        logger.info("round %d: %d iterations", number, solved.iterations)
        fit = Fit(unknowns, normal, known, inverse, polynomial, bad, iterations, solved.change_mag)
        if number < robust.rounds:
            polynomial = find_polynomial_width(normal, inverse, unknowns)
            weights, bad = judge(problem, weights, unknowns, bad, robust)
            del fit  # and with it a coarse matrix that the last round makes anew
    return fit._replace(unknowns=place_bad_units(fit))


def place_bad_units(fit: Fit) -> np.ndarray:
    """The solution, with units that were left out placed by the stars of the rest."""
    problem, unknowns = fit.normal.problem, fit.unknowns.copy()
    k = problem.layout.n_coefficients
    matrix, right = np.zeros((problem.layout.n_units, k, k)), np.zeros((problem.layout.n_units, k))
    for units, part, side in map_blocks(
        _weigh_bad_units,
        problem.blocks,
        fit.weights,
        problem.executor,
        problem.layout,
        unknowns,
        fit.bad_units,
    ):
        matrix[units] += part
        right[units] += side
    matrix[:, range(1, k), range(1, k)] += fit.polynomial_mag**-2.0
    placed = np.flatnonzero(fit.bad_units & (matrix[:, 0, 0] > 0))
    solution = np.linalg.solve(matrix[placed], right[placed, :, None])[..., 0]
    problem.layout.split(unknowns)[0][placed] = solution
    return unknowns


def _weigh_bad_units(
    block: Block,
    kept: Kept,
    scatter_mag: np.ndarray,
    layout: Layout,
    unknowns: np.ndarray,
    bad_units: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal equations of the bad units with the stars' magnitudes held."""
    variance = find_variance(block, kept, scatter_mag)
    weight = unpack(block, kept) / variance
    difference = block.mag - predict(block, layout, unknowns)
    _, magnitude = centre(block, weight, difference)
    has_magnitude = block.of_stars(block.sum_stars(weight) > 0)
    weight = np.where(bad_units[block.units][block.unit] & has_magnitude, 1.0 / variance, 0.0)
    right = project(block, layout, weight * (difference - block.of_stars(magnitude))).units
    return block.units, make_diagonal(block, layout, weight), right


def _invert(normal: Normal) -> np.ndarray:
    is_fitted = normal.is_fitted
    inverse = np.zeros_like(normal.diagonal)
    inverse[is_fitted] = np.linalg.inv(normal.diagonal[is_fitted])
    return inverse


def _solve_round(
    normal: Normal,
    inverse: np.ndarray,
    coarse: Coarse | None,
    start: np.ndarray,
    tolerance_mag: float,
    robust: Robust,
) -> tuple[gradients.Solved, Coarse]:
    """Solution, and the coarse matrix that it was found with.

    That of an earlier round may do, it only speeds up the solution; else it is made anew.
    """

    def solve(matrix: Coarse, first: gradients.Solved, limit: int) -> gradients.Solved:
        precondition = partial(_precondition, normal, inverse, matrix)
        solved = gradients.solve(
            normal.multiply, precondition, first.residual, first.unknowns, tolerance_mag, limit
        )
        return solved._replace(iterations=first.iterations + solved.iterations)

    solved = gradients.Solved(start, normal.residual, 0, np.inf)
    if coarse is not None:
        solved = solve(coarse, solved, PATIENCE)
        if solved.change_mag <= tolerance_mag:
            return solved, coarse
    coarse = make_coarse(normal, find_groups(normal))
    return solve(coarse, solved, robust.max_iterations), coarse


def _precondition(
    normal: Normal, inverse: np.ndarray, coarse: Coarse, residual: np.ndarray
) -> np.ndarray:
    layout = normal.problem.layout
    out = coarse.correct(residual)
    layout.split(out)[0][...] += np.einsum("ukl,ul->uk", inverse, layout.split(residual)[0])
    # The coarse matrix may know units that were left out since.
    return clear(normal, out)


def find_polynomial_width(normal: Normal, inverse: np.ndarray, unknowns: np.ndarray) -> np.ndarray:
    """Width of the distribution of each slope over the units, their errors taken out (K - 1,).

    The evidence's fixed point: mean square of a coefficient and of its error (MacKay 1992). A
    slope that no exposure needs is drawn to 0 in all of them.
    """
    is_fitted = normal.is_fitted
    if not is_fitted.any():
        return np.full(normal.problem.layout.n_coefficients - 1, SMALLEST_POLYNOMIAL_MAG)
    units = normal.problem.layout.split(unknowns)[0][is_fitted, 1:]
    variance = np.diagonal(inverse[is_fitted], axis1=1, axis2=2)[:, 1:]
    return np.maximum(np.sqrt(np.mean(units**2 + variance, axis=0)), SMALLEST_POLYNOMIAL_MAG)
