"""What is off: the scatter beyond the errors, outliers, variable stars, units under clouds."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ztfpsf.survey.block import Block, centre, predict
from ztfpsf.survey.normal import Problem
from ztfpsf.survey.terms import Layout
from ztfpsf.survey.weights import (
    N_BINS,
    Kept,
    Weights,
    find_bin,
    find_variance,
    map_blocks,
    pack,
    unpack,
)

MEDIAN_ABS = 0.6745  # of a normal deviate
WORST_FRACTION = 0.5
PEELS = 3
# Histograms of |t|, the residual in units of its error.
T_MAX, N_T = 20.0, 2000
# Few stars say little about their scatter.
MIN_IN_BIN = 100


@dataclass(frozen=True)
class Robust:
    """How the solution is found."""

    rounds: int = 5
    clip_sigma: float = 5.0
    max_chi2_star: float = 3.0  # mean of squares cut at clip_sigma^2; above: variable
    max_chi2_unit: float = 4.0  # mean of squares cut at clip_sigma^2; above: not averaged
    start_scatter_mag: float = 0.01
    tolerance_mag: float = 1e-5
    max_iterations: int = 50


def judge(
    problem: Problem,
    weights: Weights,
    unknowns: np.ndarray,
    bad_units: np.ndarray,
    robust: Robust,
) -> tuple[Weights, np.ndarray]:
    """Weights for the next round, and the units that are left out of it."""
    scatter = estimate_scatter(problem, weights, unknowns)
    weights = Weights(weights.kept, scatter)
    squares, counts = np.zeros(problem.layout.n_units), np.zeros(problem.layout.n_units)
    kept = []
    arguments = (problem.layout, unknowns, bad_units, robust)
    for part, units, square, count in map_blocks(
        _judge, problem.blocks, weights, problem.executor, *arguments
    ):
        kept.append(part)
        squares[units] += square
        counts[units] += count
    chi2 = squares / np.maximum(counts, 1.0)
    bad = (chi2 > robust.max_chi2_unit) & ~problem.is_held
    if (bad != bad_units).any():
        weights = Weights(kept, scatter)
        kept = list(map_blocks(_leave_out, problem.blocks, weights, problem.executor, bad))
    return Weights(kept, scatter), bad


def estimate_scatter(problem: Problem, weights: Weights, unknowns: np.ndarray) -> np.ndarray:
    """Scatter beyond the errors by the stars' magnitude, (N_BINS,), mag.

    It makes the median |residual| that of a normal deviate of the whole variance.
    """
    old = weights.scatter_mag
    histogram, variances, counts = np.zeros((N_BINS, N_T)), np.zeros(N_BINS), np.zeros(N_BINS)
    for part, variance, count in map_blocks(
        _histogram, problem.blocks, weights, problem.executor, problem.layout, unknowns
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
    t2 = np.minimum(np.nan_to_num(found.t, nan=0.0) ** 2, limit)
    # One wrong measurement does not make a variable star.
    of_star = np.where(is_candidate, t2, 0.0)
    rest = block.sum_stars(of_star) - np.maximum.reduceat(of_star, block.star_start[:-1])
    n_rest = np.maximum(block.sum_stars(is_candidate) - 1.0, 1.0)
    # The scatter of a few measurements says little.
    is_variable = rest / n_rest > robust.max_chi2_star * (1.0 + 3.0 / n_rest)
    keep &= ~block.of_stars(is_variable)
    use = np.isfinite(found.t) & ~block.of_stars(is_variable)
    n_units = len(block.units)
    square = np.bincount(block.unit[use], t2[use], n_units)
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
