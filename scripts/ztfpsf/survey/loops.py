"""Loops over measurements, compiled: what a pass over the survey is made of.

A block's measurements stand star by star: each loop takes one star after the other, and what it
needs stays in the processor's cache. Numba compiles them once and keeps the result. Loops let go
of Python's lock, so that threads run them side by side. They call loops of their own file only:
what Numba keeps of a file is not made anew when another one changes.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

from ztfpsf.star_flat import N_QUADRANTS
from ztfpsf.survey.terms import Common

PEELS = 3
INNOCENT = 0.25  # of the worst t^2 of the star

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")


class Places(NamedTuple):
    """Where n measurements stand in the design; arrays of terms that are not fitted are empty."""

    star_start: np.ndarray  # (S + 1,) int64
    unit: np.ndarray  # (n,) int32
    basis: np.ndarray  # (K - 1, n) float32
    superpixel: np.ndarray  # (n,) int
    quadrant: np.ndarray  # (n,) uint8; 64: the reference catalogue, without star flat and knots
    colour: np.ndarray  # (S,) float32
    airmass: np.ndarray  # (n,) float32
    knot: np.ndarray  # (n,) float32, place among the knots of the linearity, 1.5: between 1 and 2


@compiled
def predict(places: Places, units: np.ndarray, common: Common) -> np.ndarray:
    """All terms but the stars' magnitudes, (n,), of coefficients (U, K) and common terms."""
    out = np.empty(len(places.unit))
    for star in range(len(places.star_start) - 1):
        for i in range(places.star_start[star], places.star_start[star + 1]):
            unit, quadrant = places.unit[i], places.quadrant[i]
            value = units[unit, 0]
            for k in range(len(places.basis)):
                value += places.basis[k, i] * units[unit, k + 1]
            if quadrant < N_QUADRANTS:
                if len(common.star_flat):
                    value += common.star_flat[places.superpixel[i]]
                if len(common.linearity):
                    lower = min(int(places.knot[i]), len(common.linearity) - 2)
                    part = places.knot[i] - lower
                    value += (1.0 - part) * common.linearity[lower]
                    value += part * common.linearity[lower + 1]
            if len(common.colour):
                value += places.colour[star] * common.colour[quadrant]
            if len(common.airmass):
                value += places.airmass[i] * common.airmass[0]
            out[i] = value
    return out


@compiled
def project(places: Places, weighted: np.ndarray, units: np.ndarray, common: Common) -> None:
    """The transpose of `predict`: values (n,) are added to sums (U, K) and common terms."""
    for star in range(len(places.star_start) - 1):
        for i in range(places.star_start[star], places.star_start[star + 1]):
            unit, quadrant, value = places.unit[i], places.quadrant[i], weighted[i]
            units[unit, 0] += value
            for k in range(len(places.basis)):
                units[unit, k + 1] += places.basis[k, i] * value
            if quadrant < N_QUADRANTS:
                if len(common.star_flat):
                    common.star_flat[places.superpixel[i]] += value
                if len(common.linearity):
                    lower = min(int(places.knot[i]), len(common.linearity) - 2)
                    part = places.knot[i] - lower
                    common.linearity[lower] += (1.0 - part) * value
                    common.linearity[lower + 1] += part * value
            if len(common.colour):
                common.colour[quadrant] += places.colour[star] * value
            if len(common.airmass):
                common.airmass[0] += places.airmass[i] * value


@compiled
def centre(
    star_start: np.ndarray, weight: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values (n,) less their weighted mean over the star; the means (S,), 0 without any weight."""
    out, mean = np.empty(len(value)), np.zeros(len(star_start) - 1)
    for star in range(len(mean)):
        first, end = star_start[star], star_start[star + 1]
        total = 0.0
        for i in range(first, end):
            total += weight[i]
            mean[star] += weight[i] * value[i]
        mean[star] = mean[star] / total if total > 0 else 0.0
        for i in range(first, end):
            out[i] = value[i] - mean[star]
    return out, mean


@compiled
def weigh(
    star_start: np.ndarray, bits: np.ndarray, variance: np.ndarray, extra: np.ndarray
) -> np.ndarray:
    """1 / (variance (n,) + extra (S,)) of measurements whose bit is set, else 0, (n,) float32."""
    out = np.zeros(len(variance), np.float32)
    for star in range(len(star_start) - 1):
        for i in range(star_start[star], star_start[star + 1]):
            if bits[i >> 3] >> (7 - (i & 7)) & 1:
                out[i] = 1.0 / (variance[i] + extra[star])
    return out


@compiled
def compare(
    difference: np.ndarray, variance: np.ndarray, used: np.ndarray, t: np.ndarray
) -> tuple[float, float]:
    """One star: mean and weight of measurements (n,) that are used, all n where none is.

    Fills `t`: differences from the mean in units of their errors, that of the mean included; NaN
    where there is nothing to compare with.
    """
    none = not used.any()
    total, mean = 0.0, 0.0
    for i in range(len(used)):
        if used[i] or none:
            total += 1.0 / variance[i]
            mean += difference[i] / variance[i]
    mean /= total
    for i in range(len(used)):
        # A star's mean follows its own measurements, not those that are left out.
        own = 1.0 / total
        square = variance[i] - own if used[i] or none else variance[i] + own
        t[i] = (difference[i] - mean) / np.sqrt(square) if square > 1e-6 * variance[i] else np.nan
    return mean, total


@compiled
def compare_all(
    star_start: np.ndarray, difference: np.ndarray, variance: np.ndarray, used: np.ndarray
) -> Any:
    """`compare` of all stars: t (n,), means and weights (S,)."""
    n = len(star_start) - 1
    t, mean, weight = np.empty(len(used)), np.empty(n), np.empty(n)
    for star in range(n):
        own = slice(star_start[star], star_start[star + 1])
        mean[star], weight[star] = compare(difference[own], variance[own], used[own], t[own])
    return t, mean, weight


@compiled
def count_t(
    star_start: np.ndarray,
    magnitude_bin: np.ndarray,
    used: np.ndarray,
    t: np.ndarray,
    variance: np.ndarray,
    per_t: float,
    histogram: np.ndarray,
    variances: np.ndarray,
) -> None:
    """Adds |t| of what is used to a histogram (bins, N), 1 / `per_t` wide, and sums variances."""
    last = histogram.shape[1] - 1
    for star in range(len(star_start) - 1):
        row = magnitude_bin[star]
        for i in range(star_start[star], star_start[star + 1]):
            if used[i] and np.isfinite(t[i]):
                histogram[row, min(int(abs(t[i]) * per_t), last)] += 1
                variances[row] += variance[i]


@compiled
def find_outliers(t: np.ndarray, used: np.ndarray, candidate: np.ndarray, limit: float) -> None:
    """One star: what is not beyond t^2 = `limit`, into `used`, of the candidates.

    The worst one draws the star's mean to itself: lesser ones may be innocent, and wait.
    """
    none, worst = not used.any(), 0.0
    for i in range(len(t)):
        if (used[i] or none) and t[i] ** 2 > worst:
            worst = t[i] ** 2
    for i in range(len(t)):
        innocent = (used[i] or none) and t[i] ** 2 < INNOCENT * worst
        used[i] = candidate[i] and not (t[i] ** 2 > limit and not innocent)


@compiled
def is_variable(t: np.ndarray, candidate: np.ndarray, limit: float, max_chi2: float) -> bool:
    """One star: whether its mean t^2, cut at `limit`, is too large without the largest.

    One wrong measurement does not make a variable star; the scatter of a few says little.
    """
    total, largest, n = 0.0, 0.0, -1.0
    for i in range(len(t)):
        if candidate[i]:
            square = min(t[i] ** 2, limit) if np.isfinite(t[i]) else 0.0
            total += square
            largest = max(largest, square)
            n += 1.0
    n = max(n, 1.0)
    return (total - largest) / n > max_chi2 * (1.0 + 3.0 / n)


@compiled
def judge_all(
    star_start: np.ndarray,
    unit: np.ndarray,
    difference: np.ndarray,
    variance: np.ndarray,
    used: np.ndarray,
    candidate: np.ndarray,
    limit: float,
    max_chi2: float,
    n_units: int,
) -> Any:
    """What to keep, into `used` (n,); means of the stars; sum of t^2, and number, of each unit."""
    n = len(star_start) - 1
    mean, squares, counts = np.empty(n), np.zeros(n_units), np.zeros(n_units)
    for star in range(n):
        own = slice(star_start[star], star_start[star + 1])
        keep, candidates, units = used[own], candidate[own], unit[own]
        t = np.empty(len(keep))
        for _ in range(PEELS):
            mean[star], _ = compare(difference[own], variance[own], keep, t)
            find_outliers(t, keep, candidates, limit)
        if is_variable(t, candidates, limit, max_chi2):
            keep[:] = False
            continue
        for i in range(len(t)):
            if np.isfinite(t[i]):
                squares[units[i]] += min(t[i] ** 2, limit)
                counts[units[i]] += 1.0
    return mean, squares, counts
