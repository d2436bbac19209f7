"""Robust solution: fit, estimate the scatter beyond the errors, leave out what is off, repeat."""

import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ztfpsf.survey import gradients
from ztfpsf.survey.block import Block, centre, make_diagonal, predict, project
from ztfpsf.survey.coarse import Coarse, make_coarse
from ztfpsf.survey.components import find_groups
from ztfpsf.survey.gauge import settle
from ztfpsf.survey.normal import Normal, Problem, clear, make_normal
from ztfpsf.survey.terms import Layout
from ztfpsf.survey.weights import (
    N_BINS,
    Kept,
    Weights,
    find_bin,
    find_variance,
    map_blocks,
    pack,
    start_weights,
    unpack,
)

logger = logging.getLogger("ztfpsf")

MEDIAN_ABS = 0.6745  # of a normal deviate
WORST_FRACTION = 0.5
PEELS = 3
# Histograms of |t|, the residual in units of its error.
T_MAX, N_T = 20.0, 2000
# Few stars say little about their scatter.
MIN_IN_BIN = 100
SMALLEST_POLYNOMIAL_MAG = 1e-5


@dataclass(frozen=True)
class Robust:
    """How the solution is found."""

    rounds: int = 5
    clip_sigma: float = 5.0
    max_chi2_star: float = 3.0  # per degree of freedom; above: variable
    max_chi2_unit: float = 4.0  # mean of squares cut at clip_sigma^2; above: not averaged
    start_scatter_mag: float = 0.01
    tolerance_mag: float = 1e-5
    max_iterations: int = 50


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
    weights = start_weights(problem.blocks, robust.start_scatter_mag)
    polynomial = np.full(layout.n_coefficients - 1, layout.terms.polynomial_mag)
    unknowns, bad = np.zeros(layout.size), np.zeros(layout.n_units, bool)
    iterations: list[int] = []
    for number in range(1, robust.rounds + 1):
        normal = make_normal(problem, weights, polynomial)
        inverse = _invert(normal)
        coarse = make_coarse(normal, find_groups(normal))
        solved = gradients.solve(
            normal.multiply,
            lambda r, inverse=inverse, coarse=coarse: _precondition(layout, inverse, coarse, r),
            normal.right_side,
            clear(normal, unknowns),
            robust.tolerance_mag,
            robust.max_iterations,
        )
        unknowns = solved.unknowns
        settle(layout, coarse.groups, problem.period, unknowns)
        iterations.append(solved.iterations)
        fit = Fit(unknowns, normal, coarse, inverse, polynomial, bad, iterations, solved.change_mag)
        logger.info("round %d: %d iterations", number, solved.iterations)
        if number < robust.rounds:
            polynomial = find_polynomial_width(fit)
            weights, bad = judge(fit, robust)
    return fit._replace(unknowns=place_bad_units(fit))


def place_bad_units(fit: Fit) -> np.ndarray:
    """The solution with zero points also of units that were left out, from the stars of the rest."""
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


def _precondition(
    layout: Layout, inverse: np.ndarray, coarse: Coarse, residual: np.ndarray
) -> np.ndarray:
    units, _ = layout.split(residual)
    out = coarse.correct(residual)
    layout.split(out)[0][...] += np.einsum("ukl,ul->uk", inverse, units)
    return out


def find_polynomial_width(fit: Fit) -> np.ndarray:
    """Width of the distribution of each slope over the units, their errors taken out (K - 1,).

    The evidence's fixed point: mean square of a coefficient and of its error (MacKay 1992). A
    slope that no exposure needs is drawn to 0 in all of them.
    """
    is_fitted = fit.normal.is_fitted
    units = fit.normal.problem.layout.split(fit.unknowns)[0][is_fitted, 1:]
    variance = np.diagonal(fit.inverse[is_fitted], axis1=1, axis2=2)[:, 1:]
    if not is_fitted.any():
        return fit.polynomial_mag
    return np.maximum(np.sqrt(np.mean(units**2 + variance, axis=0)), SMALLEST_POLYNOMIAL_MAG)


def judge(fit: Fit, robust: Robust) -> tuple[Weights, np.ndarray]:
    """Weights for the next round, and the units that are left out of it."""
    problem, weights = fit.normal.problem, fit.weights
    scatter = estimate_scatter(fit)
    weights = Weights(weights.kept, scatter)
    squares, counts = np.zeros(problem.layout.n_units), np.zeros(problem.layout.n_units)
    kept = []
    arguments = (problem.layout, fit.unknowns, fit.bad_units, robust)
    for part, units, square, count in map_blocks(
        _judge, problem.blocks, weights, problem.executor, *arguments
    ):
        kept.append(part)
        squares[units] += square
        counts[units] += count
    chi2 = squares / np.maximum(counts, 1.0)
    bad = (chi2 > robust.max_chi2_unit) & ~problem.is_held
    if (bad != fit.bad_units).any():
        weights = Weights(kept, scatter)
        kept = list(map_blocks(_leave_out, problem.blocks, weights, problem.executor, bad))
    return Weights(kept, scatter), bad


def estimate_scatter(fit: Fit) -> np.ndarray:
    """Scatter beyond the errors by the stars' magnitude, (N_BINS,), mag.

    It makes the median |residual| that of a normal deviate of the whole variance.
    """
    problem, old = fit.normal.problem, fit.weights.scatter_mag
    histogram, variances, counts = np.zeros((N_BINS, N_T)), np.zeros(N_BINS), np.zeros(N_BINS)
    for part, variance, count in map_blocks(
        _histogram, problem.blocks, fit.weights, problem.executor, problem.layout, fit.unknowns
    ):
        histogram += part
        variances += variance
        counts += count
    total = histogram.sum(axis=1)
    cumulative = np.cumsum(histogram, axis=1)
    median = np.array(
        [
            np.interp(0.5 * n, c, (np.arange(N_T) + 1.0) * T_MAX / N_T) if n else np.nan
            for n, c in zip(total, cumulative, strict=True)
        ]
    )
    mean = variances / np.maximum(counts, 1.0)
    new = (median / MEDIAN_ABS) ** 2 * mean - (mean - old**2)
    known = total >= MIN_IN_BIN
    if not known.any():
        return old
    bins = np.arange(N_BINS)
    return np.interp(bins, bins[known], np.sqrt(np.maximum(new[known], 0.0)))


class Residuals(NamedTuple):
    """Of the measurements of a block."""

    is_used: np.ndarray  # (n,) bool
    residual: np.ndarray  # (n,) mag
    t: np.ndarray  # (n,) in units of its error, that of the star's mean included
    magnitude: np.ndarray  # (S,) mag
    star_weight: np.ndarray  # (S,) 1 / mag^2


def find_residuals(
    block: Block, kept: Kept, scatter_mag: np.ndarray, layout: Layout, unknowns: np.ndarray
) -> Residuals:
    """Measurements less model; t is NaN where the star has no other measurement to compare with."""
    variance = find_variance(block, kept, scatter_mag)
    is_used = unpack(block, kept) > 0
    # A star that is left out is compared with itself: it may come back.
    is_used |= block.of_stars(block.sum_stars(is_used) == 0)
    weight = is_used / variance
    residual, magnitude = centre(block, weight, block.mag - predict(block, layout, unknowns))
    star_weight = block.sum_stars(weight)
    with np.errstate(divide="ignore"):
        of_mean = block.of_stars(1.0 / star_weight)
    # A star's mean follows its own measurements, not those that are left out.
    square = np.where(is_used, variance - of_mean, variance + of_mean)
    known = (square > 1e-6 * variance) & np.isfinite(square)
    t = np.divide(residual, np.sqrt(square, where=known, out=np.ones_like(square)))
    t[~known] = np.nan
    return Residuals(is_used, residual, t, magnitude, star_weight)


def _histogram(
    block: Block, kept: Kept, scatter_mag: np.ndarray, layout: Layout, unknowns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = find_residuals(block, kept, scatter_mag, layout, unknowns)
    use = (unpack(block, kept) > 0) & np.isfinite(found.t)
    place = block.of_stars(kept.magnitude_bin)[use]
    column = np.minimum(np.abs(found.t[use]) * (N_T / T_MAX), N_T - 1).astype(int)
    histogram = np.bincount(place.astype(int) * N_T + column, minlength=N_BINS * N_T)
    variance = find_variance(block, kept, scatter_mag)[use]
    sums = np.bincount(place, variance, N_BINS), np.bincount(place, minlength=N_BINS)
    return histogram.reshape(N_BINS, N_T), *sums


def _judge(
    block: Block,
    kept: Kept,
    scatter_mag: np.ndarray,
    layout: Layout,
    unknowns: np.ndarray,
    bad_units: np.ndarray,
    robust: Robust,
) -> tuple[Kept, np.ndarray, np.ndarray, np.ndarray]:
    """What to keep, and squares and counts of the units it touches."""
    is_candidate = ~bad_units[block.units][block.unit]
    limit = robust.clip_sigma**2
    for _ in range(PEELS):
        found = find_residuals(block, kept, scatter_mag, layout, unknowns)
        keep = is_candidate & ~_find_outliers(block, found, limit)
        kept = kept._replace(bits=pack(keep))
    t2 = np.nan_to_num(found.t, nan=0.0) ** 2
    n_kept = np.maximum(block.sum_stars(keep), 1.0)
    chi2 = block.sum_stars(np.where(keep, np.minimum(t2, limit), 0.0)) / n_kept
    # The scatter of a few measurements says little.
    is_variable = chi2 > robust.max_chi2_star * (1.0 + 3.0 / n_kept)
    keep &= ~block.of_stars(is_variable)
    use = np.isfinite(found.t) & ~block.of_stars(is_variable)
    n_units = len(block.units)
    square = np.bincount(block.unit[use], np.minimum(t2, limit)[use], n_units)
    count = np.bincount(block.unit[use], minlength=n_units)
    return Kept(pack(keep), find_bin(found.magnitude)), block.units, square, count


def _find_outliers(block: Block, found: Residuals, limit: float) -> np.ndarray:
    """Measurements with t^2 above the limit, (n,) bool.

    The worst one draws the star's mean to itself: lesser ones may be innocent, and wait.
    """
    t2 = np.nan_to_num(found.t, nan=0.0) ** 2
    worst = np.maximum.reduceat(np.where(found.is_used, t2, 0.0), block.star_start[:-1])
    return (t2 > limit) & (~found.is_used | (t2 >= WORST_FRACTION**2 * block.of_stars(worst)))


def _leave_out(block: Block, kept: Kept, scatter_mag: np.ndarray, bad_units: np.ndarray) -> Kept:
    keep = unpack(block, kept).astype(bool) & ~bad_units[block.units][block.unit]
    return Kept(pack(keep), kept.magnitude_bin)
