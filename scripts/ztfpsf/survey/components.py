"""Which exposures hang together: only their differences are measured, and only through stars."""

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from ztfpsf.survey.block import Block
from ztfpsf.survey.loops import compiled
from ztfpsf.survey.normal import Normal
from ztfpsf.survey.space import Groups
from ztfpsf.survey.weights import Kept, map_blocks, unpack


def find_groups(normal: Normal) -> Groups:
    """Fields, cut where their units are not connected by any chain of stars."""
    problem = normal.problem
    n_units = problem.layout.n_units
    pairs = list(map_blocks(_connect, problem.blocks, normal.weights, problem.executor))
    a, b = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    graph = sparse.coo_array((np.ones(len(a), np.uint8), (a, b)), (n_units, n_units))
    _, component = connected_components(graph, directed=False)
    # What hangs on a unit whose zero point is held has no freedom left.
    component[np.isin(component, component[problem.is_held])] = -1
    group = np.full(n_units, -1)
    fitted = np.flatnonzero(normal.is_fitted)
    keys, inverse = np.unique(
        np.stack([component[fitted], problem.field[fitted]]), axis=1, return_inverse=True
    )
    group[fitted] = inverse
    # Components are numbered as they come, the largest first.
    names, counts = np.unique(component[fitted], return_counts=True)
    order = {name: rank for rank, name in enumerate(names[np.argsort(-counts)][:])}
    rank = {name: r for r, name in enumerate(name for name in order if name >= 0)}
    return Groups(group, keys[1], np.array([rank.get(name, -1) for name in keys[0]], int))


def _connect(block: Block, kept: Kept, scatter_mag: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of units that have the block's connections and no more."""
    is_used = unpack(block, kept) > 0
    first = _find_first(block.star_start, block.unit, is_used, len(block.units))
    return block.units, block.units[first]


@compiled
def _find_first(
    star_start: np.ndarray, unit: np.ndarray, used: np.ndarray, n_units: int
) -> np.ndarray:
    """For each unit the first one that it hangs together with, (n_units,)."""
    first = np.arange(n_units)
    for star in range(len(star_start) - 1):
        one = -1
        for i in range(star_start[star], star_start[star + 1]):
            if not used[i]:
                continue
            other = _follow(first, unit[i])
            if one < 0:
                one = other
            elif other != one:
                one, other = min(one, other), max(one, other)
                first[other] = one
    for number in range(n_units):
        first[number] = _follow(first, number)
    return first


@compiled
def _follow(first: np.ndarray, number: int) -> int:
    while first[number] != number:
        first[number] = first[first[number]]
        number = first[number]
    return number
