"""Normal equations of the survey, the stars eliminated: a weighted graph Laplacian of the units.

    N x = A^T W (A x - mean of A x over the star) + x / prior^2

never formed; a product is one pass over the measurements (Padmanabhan et al. 2008).
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np

from ztfpsf.survey import block as of_block
from ztfpsf.survey.block import Block, Sums
from ztfpsf.survey.terms import Layout
from ztfpsf.survey.weights import Kept, Weights, find_weight, map_blocks


class Problem(NamedTuple):
    """Measurements, what is fitted to them, and who computes."""

    blocks: Sequence[Block]
    layout: Layout
    field: np.ndarray  # (U,) int, any numbers
    period: np.ndarray  # (U,) int, of the star flat
    is_held: np.ndarray  # (U,) bool, unit whose zero point stays 0: a reference catalogue
    executor: Executor


class Normal(NamedTuple):
    """The equations of one round."""

    problem: Problem
    weights: Weights
    diagonal: np.ndarray  # (U, K, K), of each unit by itself, its prior included
    prior: np.ndarray  # (size,), 1 / mag^2
    residual: np.ndarray  # (size,), right-hand side less N times the start

    @property
    def is_fitted(self) -> np.ndarray:
        """Units with an unknown zero point and a measurement that is used, (U,)."""
        return (self.diagonal[:, 0, 0] > 0) & ~self.problem.is_held

    def multiply(self, unknowns: np.ndarray) -> np.ndarray:
        """N times a vector (size,), 0 for units that are not fitted."""
        problem, product = self.problem, self.prior * unknowns
        units = problem.layout.split(product)[0]
        for touched, sums in map_blocks(
            _multiply, problem.blocks, self.weights, problem.executor, problem.layout, unknowns
        ):
            units[touched] += sums.units
            product[problem.layout.n_of_units :] += sums.common
        return clear(self, product)


def make_normal(
    problem: Problem, weights: Weights, polynomial_mag: np.ndarray, start: np.ndarray
) -> Normal:
    """Equations with these weights, at a first solution (size,); one pass.

    `polynomial_mag`: prior widths (K - 1,) of a unit's slopes.
    """
    layout = problem.layout
    diagonal = np.zeros((layout.n_units, layout.n_coefficients, layout.n_coefficients))
    residual = np.zeros(layout.size)
    units = layout.split(residual)[0]
    for touched, own, sums in map_blocks(
        _start, problem.blocks, weights, problem.executor, layout, start
    ):
        diagonal[touched] += own
        units[touched] += sums.units
        residual[layout.n_of_units :] += sums.common
    of_unit = np.concatenate([[0.0], polynomial_mag**-2.0])
    diagonal += np.diag(of_unit)
    prior = np.concatenate([np.tile(of_unit, layout.n_units), layout.prior_weights()])
    normal = Normal(problem, weights, diagonal, prior, residual - prior * start)
    clear(normal, normal.residual)
    return normal


def clear(normal: Normal, vector: np.ndarray) -> np.ndarray:
    """The vector with 0 for units that are not fitted, in place."""
    normal.problem.layout.split(vector)[0][~normal.is_fitted] = 0.0
    return vector


def _multiply(
    block: Block, kept: Kept, scatter_mag: np.ndarray, layout: Layout, unknowns: np.ndarray
) -> tuple[np.ndarray, Sums]:
    weight = find_weight(block, kept, scatter_mag)
    return block.units, of_block.multiply(block, layout, weight, unknowns)


def _start(
    block: Block, kept: Kept, scatter_mag: np.ndarray, layout: Layout, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Sums]:
    weight = find_weight(block, kept, scatter_mag)
    diagonal = of_block.make_diagonal(block, layout, weight)
    return block.units, diagonal, of_block.find_gradient(block, layout, weight, start)
