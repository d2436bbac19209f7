"""What the measurements leave open, settled by convention.

- The star flat of each period has mean 0; its size is in the zero points.
- The mean colour term of the quadrants is 0; it is in the magnitudes of the stars.
- The mean zero point of a component is 0, unless it hangs on a reference catalogue.
"""

import numpy as np

from ztfpsf.survey.assembly import Groups
from ztfpsf.survey.coarse import Space
from ztfpsf.survey.terms import N_QUADRANTS, Layout


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
    constants = np.arange(space.n_common, space.size, layout.n_coefficients)
    if space.n_squares:
        n = space.n_squares // layout.n_periods
        for start in range(0, space.n_squares, n):
            where = np.arange(start, start + n)
            _shift(matrix, constants, where, 1.0 / (n * layout.n_periods))
            _shift(matrix, where, where, -1.0 / n)
    if layout.counts["colour"]:
        quadrants = space.n_squares + np.arange(N_QUADRANTS)
        target = space.n_squares + np.arange(layout.counts["colour"])
        _shift(matrix, target, quadrants, -1.0 / N_QUADRANTS)
    n_units = np.bincount(groups.group[groups.group >= 0], minlength=groups.n)
    for name in np.unique(groups.component[groups.component >= 0]):
        members = np.flatnonzero(groups.component == name)
        share = n_units[members] / n_units[members].sum()
        _shift(matrix, constants[members], constants[members], -share)


def _shift(
    matrix: np.ndarray, target: np.ndarray, source: np.ndarray, factor: np.ndarray | float
) -> None:
    """Covariance after `factor . x[source]` is added to each of x[target], in place."""
    weight = np.broadcast_to(factor, len(source))
    matrix[target] += weight @ matrix[source]
    matrix[:, target] += (matrix[:, source] @ weight)[:, None]
