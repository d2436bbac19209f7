"""What is off: the scatter beyond the errors, outliers, variable stars, units under clouds."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ztfpsf.survey.block import Block, predict
from ztfpsf.survey.loops import compare_all, count_t, judge_all
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
    is_used = unpack(block, kept) > 0
    difference = block.mag - predict(block, layout, unknowns)
    variance = find_variance(block, kept, scatter_mag)
    t, magnitude, star_weight = compare_all(block.star_start, difference, variance, is_used)
    # A star that is left out is compared with itself: it may come back.
    is_used |= block.of_stars(block.sum_stars(is_used) == 0)
    residual = difference - block.of_stars(magnitude)
    return Residuals(is_used, residual, t, magnitude, star_weight)


def _histogram(
    block: Block, kept: Kept, scatter_mag: np.ndarray, layout: Layout, unknowns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    is_used = unpack(block, kept) > 0
    difference = block.mag - predict(block, layout, unknowns)
    variance = find_variance(block, kept, scatter_mag)
    t, _, _ = compare_all(block.star_start, difference, variance, is_used)
    histogram = np.zeros((N_BINS, N_T))
    variances = np.zeros(N_BINS)
    count_t(
        block.star_start,
        kept.magnitude_bin,
        is_used,
        t,
        variance,
        N_T / T_MAX,
        histogram,
        variances,
    )
    return histogram, variances, histogram.sum(axis=1)


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
    keep = unpack(block, kept) > 0
    magnitude, squares, counts = judge_all(
        block.star_start,
        block.unit,
        block.mag - predict(block, layout, unknowns),
        find_variance(block, kept, scatter_mag),
        keep,
        ~bad_units[block.units][block.unit],
        robust.clip_sigma**2,
        robust.max_chi2_star,
        len(block.units),
    )
    return Kept(pack(keep), find_bin(magnitude)), block.units, squares, counts


def _leave_out(block: Block, kept: Kept, scatter_mag: np.ndarray, bad_units: np.ndarray) -> Kept:
    keep = unpack(block, kept).astype(bool) & ~bad_units[block.units][block.unit]
    return Kept(pack(keep), kept.magnitude_bin)
