"""Passes over the measurements when the fit is done: stars, and what the residuals look like."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.star_flat import N_QUADRANTS
from ztfpsf.survey.block import Block
from ztfpsf.survey.design import Units
from ztfpsf.survey.errors import Covariance, find_star_variance
from ztfpsf.survey.judgement import find_residuals
from ztfpsf.survey.rounds import Fit
from ztfpsf.survey.terms import Layout
from ztfpsf.survey.weights import N_BINS, Kept, map_blocks, unpack

COLOUR_BINS = np.linspace(-2.0, 2.0, 21)


class UnitSums(NamedTuple):
    """Of the residuals of each unit, (U,)."""

    chi2: np.ndarray
    n: np.ndarray
    n_rejected: np.ndarray


class Residues(NamedTuple):
    """Sums over all measurements that are used."""

    units: UnitSums
    superpixel_weight: np.ndarray  # (64, n, n) 1 / mag^2
    superpixel_residual: np.ndarray  # (64, n, n) times mag
    chi2_magnitude: np.ndarray  # (2, N_BINS): chi2, and measurements
    chi2_colour: np.ndarray  # (2, len(COLOUR_BINS) - 1)


def describe_stars(
    block: Block, kept: Kept, scatter_mag: np.ndarray, fit: "StarFit"
) -> pd.DataFrame:
    """Rows of the stars of a block, without their positions."""
    found = find_residuals(block, kept, scatter_mag, fit.units.layout, fit.unknowns)
    is_used = unpack(block, kept) > 0
    n = block.sum_stars(is_used)
    variance = find_star_variance(block, kept, scatter_mag, fit.covariance, fit.own_variance)
    counted = found.is_used & np.isfinite(found.t)
    squares = block.sum_stars(np.where(found.is_used, found.residual**2, 0.0))
    n_compared = block.sum_stars(found.is_used)
    with np.errstate(invalid="ignore", divide="ignore"):
        rms = np.where(n_compared > 1, np.sqrt(squares / (n_compared - 1)), np.nan)
        chi2 = block.sum_stars(np.where(counted, found.t**2, 0.0)) / block.sum_stars(counted)
    anchored = fit.is_anchored[block.units]
    return pd.DataFrame(
        {
            "star_id": block.star_id,
            "mag": found.magnitude,
            "mag_error": np.sqrt(variance),
            "mag_rms": rms,
            "chi2_per_dof": chi2,
            "n_used": n.astype(np.int32),
            "n_rejected": (block.n_per_star - n).astype(np.int32),
            "is_variable": (n == 0) & (n_compared > 1),
            "is_anchored": block.sum_stars(is_used & anchored[block.unit]) > 0,
        }
    )


class StarFit(NamedTuple):
    """What the stars of a block need to know of the solution."""

    units: Units
    unknowns: np.ndarray
    covariance: Covariance
    own_variance: np.ndarray  # (U,) of each unit's zero point, by itself
    is_anchored: np.ndarray  # (U,) bool, stars tie it to the reference catalogue


def iterate_stars(fit: Fit, covariance: Covariance, units: Units) -> Iterator[pd.DataFrame]:
    """Rows of the stars, block by block, in the order of the blocks."""
    is_anchored = fit.coarse.space.groups.is_anchored
    arguments = StarFit(units, fit.unknowns, covariance, fit.inverse[:, 0, 0], is_anchored)
    problem = fit.normal.problem
    yield from map_blocks(describe_stars, problem.blocks, fit.weights, problem.executor, arguments)


def sum_residuals(fit: Fit) -> Residues:
    """One pass over all measurements."""
    problem = fit.normal.problem
    n_units, side = problem.layout.n_units, problem.layout.terms.superpixels
    units = UnitSums(*(np.zeros(n_units) for _ in UnitSums._fields))
    shape = (N_QUADRANTS, side, side)
    total = Residues(
        units,
        np.zeros(shape),
        np.zeros(shape),
        np.zeros((2, N_BINS)),
        np.zeros((2, len(COLOUR_BINS) - 1)),
    )
    for touched, part in map_blocks(
        _sum_residuals, problem.blocks, fit.weights, problem.executor, problem.layout, fit.unknowns
    ):
        for sums, values in zip(total.units, part.units, strict=True):
            sums[touched] += values
        for sums, values in zip(total[1:], part[1:], strict=True):
            sums += values
    return total


def _sum_residuals(
    block: Block, kept: Kept, scatter_mag: np.ndarray, layout: Layout, unknowns: np.ndarray
) -> tuple[np.ndarray, Residues]:
    found = find_residuals(block, kept, scatter_mag, layout, unknowns)
    is_used = unpack(block, kept) > 0
    use = is_used & np.isfinite(found.t)
    t2 = np.where(use, found.t, 0.0) ** 2
    n = len(block.units)
    units = UnitSums(
        np.bincount(block.unit, t2, n),
        np.bincount(block.unit, use, n),
        np.bincount(block.unit, ~is_used, n),
    )
    magnitude = block.of_stars(kept.magnitude_bin)
    colour = block.of_stars(np.digitize(block.colour, COLOUR_BINS[1:-1]))
    image = use & (block.quadrant < N_QUADRANTS)
    shape = (N_QUADRANTS, layout.terms.superpixels, layout.terms.superpixels)
    n_cells = int(np.prod(shape))
    cell = block.superpixel[image] % n_cells
    weight = (found.t[image] / found.residual[image]) ** 2
    weight = np.nan_to_num(weight, nan=0.0, posinf=0.0)
    n_colours = len(COLOUR_BINS) - 1
    return block.units, Residues(
        units,
        np.bincount(cell, weight, n_cells).reshape(shape),
        np.bincount(cell, weight * found.residual[image], n_cells).reshape(shape),
        np.stack([np.bincount(magnitude, x, N_BINS) for x in (t2, use)]),
        np.stack([np.bincount(colour, x, n_colours) for x in (t2, use)]),
    )
