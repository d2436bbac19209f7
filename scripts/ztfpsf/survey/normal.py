"""Normal equations of the survey, the stars eliminated: a weighted graph Laplacian of the units.

    N x = A^T W (A x - mean of A x over the star) + x / prior^2

never formed; a product is one pass over the measurements (Padmanabhan et al. 2008).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np

from ztfpsf.survey import block as of_block
from ztfpsf.survey.block import Block, Sums
from ztfpsf.survey.terms import Layout
from ztfpsf.survey.weights import Kept, Weights, find_weight, map_blocks

Part = tuple[np.ndarray, Sums]  # units of a block, and their sums


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
    right_side: np.ndarray  # (size,)

    @property
    def is_fitted(self) -> np.ndarray:
        """Units with an unknown zero point and a measurement that is used, (U,)."""
        return (self.diagonal[:, 0, 0] > 0) & ~self.problem.is_held

    def multiply(self, unknowns: np.ndarray) -> np.ndarray:
        """N times a vector (size,), 0 for units that are not fitted."""
        product = add_up(self.problem, self.weights, _multiply, unknowns)
        product += self.prior * unknowns
        return clear(self, product)


def make_normal(problem: Problem, weights: Weights, polynomial_mag: np.ndarray) -> Normal:
    """Equations with these weights; `polynomial_mag`: prior widths (K - 1,) of a unit's slopes."""
    layout = problem.layout
    diagonal = np.zeros((layout.n_units, layout.n_coefficients, layout.n_coefficients))
    for units, part in map_blocks(
        _make_diagonal, problem.blocks, weights, problem.executor, layout
    ):
        diagonal[units] += part
    own = np.concatenate([[0.0], polynomial_mag**-2.0])
    diagonal += np.diag(own)
    prior = np.concatenate([np.tile(own, layout.n_units), layout.prior_weights()])
    right_side = add_up(problem, weights, _make_right_side)
    normal = Normal(problem, weights, diagonal, prior, right_side)
    return normal._replace(right_side=clear(normal, right_side))


def clear(normal: Normal, vector: np.ndarray) -> np.ndarray:
    """The vector with 0 for units that are not fitted, in place."""
    normal.problem.layout.split(vector)[0][~normal.is_fitted] = 0.0
    return vector


def add_up(
    problem: Problem, weights: Weights, function: Callable[..., Part], *arguments: object
) -> np.ndarray:
    """Sum over the blocks of a function that gives (units, Sums), (size,)."""
    total = np.zeros(problem.layout.size)
    units = problem.layout.split(total)[0]
    common = total[problem.layout.n_of_units :]
    for touched, sums in map_blocks(
        function, problem.blocks, weights, problem.executor, problem.layout, *arguments
    ):
        units[touched] += sums.units
        common += sums.common
    return total


def _multiply(
    block: Block, kept: Kept, scatter_mag: np.ndarray, layout: Layout, unknowns: np.ndarray
) -> Part:
    weight = find_weight(block, kept, scatter_mag)
    return block.units, of_block.multiply(block, layout, weight, unknowns)


def _make_right_side(block: Block, kept: Kept, scatter_mag: np.ndarray, layout: Layout) -> Part:
    weight = find_weight(block, kept, scatter_mag)
    return block.units, of_block.make_right_side(block, layout, weight)


def _make_diagonal(
    block: Block, kept: Kept, scatter_mag: np.ndarray, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    weight = find_weight(block, kept, scatter_mag)
    return block.units, of_block.make_diagonal(block, layout, weight)
