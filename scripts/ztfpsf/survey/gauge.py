"""What the measurements leave open, settled by convention.

- The star flat of each period has mean 0; its size is in the zero points.
- The mean colour term of the quadrants is 0; it is in the magnitudes of the stars.
- The mean zero point of a component is 0, unless it hangs on a reference catalogue.
"""

import numpy as np

from ztfpsf.star_flat import N_QUADRANTS
from ztfpsf.survey.space import Groups, Space
from ztfpsf.survey.terms import Layout


def settle(layout: Layout, groups: Groups, period: np.ndarray, unknowns: np.ndarray) -> None:
    """Bring a solution to the convention, in place. `period`: of each unit, (U,)."""
    units, common = layout.split(unknowns)
    zero_point = units[:, 0]
    if len(common.star_flat):
        flats = common.star_flat.reshape(layout.n_periods, -1)
        mean = flats.mean(axis=1)
        flats -= mean[:, None]
        zero_point[groups.group >= 0] += mean[period[groups.group >= 0]]
    if len(common.colour):
        common.colour[...] -= common.colour[:N_QUADRANTS].mean()
    component = np.append(groups.component, -1)[groups.group]
    for name in np.unique(component[component >= 0]):
        zero_point[component == name] -= zero_point[component == name].mean()


def settle_covariance(space: Space, matrix: np.ndarray) -> None:
    """The same for the covariance of the coarse unknowns, in place."""
    layout, groups = space.layout, space.groups
    n = N_QUADRANTS * space.basis.shape[1]
    constant = np.tile(space.basis.sum(axis=0), N_QUADRANTS)
    for start in range(0, space.n_flat, n):
        mean = np.zeros(space.size)
        mean[start : start + n] = constant / (N_QUADRANTS * len(space.basis))
        change = np.zeros(space.size)
        change[start : start + n] = -constant
        change[space.constants] = 1.0 / layout.n_periods
        _shift(matrix, change, mean)
    if layout.counts["colour"]:
        mean, change = np.zeros(space.size), np.zeros(space.size)
        mean[space.n_flat : space.n_flat + N_QUADRANTS] = 1.0 / N_QUADRANTS
        change[space.n_flat : space.n_flat + layout.counts["colour"]] = -1.0
        _shift(matrix, change, mean)
    n_units = np.bincount(groups.group[groups.group >= 0], minlength=groups.n)
    for name in np.unique(groups.component[groups.component >= 0]):
        members = np.flatnonzero(groups.component == name)
        mean, change = np.zeros(space.size), np.zeros(space.size)
        mean[space.constants[members]] = n_units[members] / n_units[members].sum()
        change[space.constants[members]] = -1.0
        _shift(matrix, change, mean)


def _shift(matrix: np.ndarray, change: np.ndarray, mean: np.ndarray) -> None:
    """Covariance after `change` times (mean . x) is added to x, in place."""
    target, source = np.flatnonzero(change), np.flatnonzero(mean)
    matrix[target] += np.outer(change[target], mean[source] @ matrix[source])
    matrix[:, target] += np.outer(matrix[:, source] @ mean[source], change[target])
