"""Which exposures hang together: only their differences are measured, and only through stars."""

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from ztfpsf.survey.block import Block
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
    star = np.repeat(np.arange(block.n_stars), block.n_per_star)
    is_used = unpack(block, kept) > 0
    n_units, n = len(block.units), len(block.units) + block.n_stars
    ends = (block.unit[is_used], n_units + star[is_used])
    graph = sparse.coo_array((np.ones(len(ends[0]), np.uint8), ends), (n, n))
    _, label = connected_components(graph, directed=False)
    label = label[:n_units]
    _, first = np.unique(label, return_index=True)
    return block.units, block.units[first[np.searchsorted(label[first], label)]]
