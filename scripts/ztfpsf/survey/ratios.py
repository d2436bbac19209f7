"""Photometric ratios of the exposures of a group: one field, filter, CCD and quadrant.

The survey's solver on a survey of one quadrant. A ratio is a polynomial of the position, up to
quadratic; how much of it, the exposures themselves decide (`find_polynomial_width`).
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ztfpsf.errors import InputError
from ztfpsf.focal_plane import SHAPE
from ztfpsf.survey.block import Block
from ztfpsf.survey.judgement import Robust, find_residuals
from ztfpsf.survey.normal import Problem
from ztfpsf.survey.rounds import Fit, fit_survey
from ztfpsf.survey.space import Groups
from ztfpsf.survey.terms import Layout, Terms, make_basis
from ztfpsf.survey.weights import unpack

MIN_STARS = 5
Size = int | np.ndarray


class Measurements(NamedTuple):
    """Of stars in exposures, in any order; all (n,)."""

    star: np.ndarray  # any integers
    exposure: np.ndarray  # 0 .. n_exposures - 1
    mag: np.ndarray  # instrumental
    mag_error: np.ndarray
    x_px: np.ndarray
    y_px: np.ndarray


class Ratios(NamedTuple):
    """m = M(star) + ratio(exposure, x, y); the mean of each coefficient over the exposures is 0."""

    coefficients: np.ndarray  # (E, 6) mag, of 1 and make_basis(u, v, 2); NaN: not measured
    covariance: np.ndarray  # (E, 6, 6) mag^2; NaN: not measured, or left out as bad
    chi2: np.ndarray  # (E,) of the stars that are used
    n_stars: np.ndarray  # (E,) used
    n_rejected: np.ndarray  # (E,)
    status: list[str]  # "ok", or a sentence
    stars: np.ndarray  # (S,) the numbers given
    star_mag: np.ndarray  # (S,) mean
    star_rms_mag: np.ndarray  # (S,) of what is used, NaN for less than two
    star_chi2: (
        np.ndarray
    )  # (S,) per degree of freedom, with the scatter of stars of their magnitude
    star_n: np.ndarray  # (S,) measurements that are used
    scatter_mag: np.ndarray  # (S,) that was added to the errors

    def at(
        self, exposure: np.ndarray, u: np.ndarray, v: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ratio and its error, mag, at u, v (-1 .. 1 over the quadrant); all arguments (n,)."""
        return evaluate(self.coefficients[exposure], self.covariance[exposure], u, v)


def evaluate(
    coefficients: np.ndarray, covariance: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ratios and errors, mag, at u, v (n,) of coefficients (n, 6) and covariances (n, 6, 6)."""
    basis = np.stack([np.ones(np.shape(u)), *make_basis(u, v, 2)], axis=-1)
    value = np.sum(basis * coefficients, axis=-1)
    variance = np.einsum("nk,nkl,nl->n", basis, covariance, basis)
    return value, np.sqrt(np.maximum(variance, 0.0))


def scale(
    x_px: np.ndarray, y_px: np.ndarray, shape: tuple[Size, Size] = SHAPE
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels as u, v: -1 .. 1 over an image of `shape` (ny, nx), or of many (n,)."""
    ny, nx = shape
    return (2.0 * x_px + 1.0) / nx - 1.0, (2.0 * y_px + 1.0) / ny - 1.0


def solve_ratios(
    measured: Measurements,
    n_exposures: int,
    shape: tuple[int, int] = SHAPE,
    degree: int = 2,
    robust: Robust | None = None,
) -> Ratios:
    """Ratios of the exposures of a group to their mean.

    Measurements without a finite magnitude and a positive error are left out. Raises InputError
    where no star is on two exposures.
    """
    layout = Layout(Terms(degree=degree), n_exposures, 1)
    block = _make_block(measured, shape)
    none = np.zeros(n_exposures, int)
    with ThreadPoolExecutor(1) as executor:
        problem = Problem([block], layout, none, none, none.astype(bool), executor)
        fit = fit_survey(problem, robust or Robust())
    return _report(fit, block)


def make_no_ratios(n_exposures: int, status: str) -> Ratios:
    """Of exposures that nothing is known of; `status` says why."""
    unknown, none = np.full((n_exposures, 6), np.nan), np.zeros(n_exposures, int)
    no = np.zeros(0)
    return Ratios(
        unknown,
        np.full((n_exposures, 6, 6), np.nan),
        none.astype(float),
        none,
        none,
        [status] * n_exposures,
        no.astype(np.int64), no, no, no, no.astype(int), no,
    )  # fmt: skip


def _make_block(measured: Measurements, shape: tuple[int, int]) -> Block:
    good = np.isfinite(measured.mag) & np.isfinite(measured.mag_error) & (measured.mag_error > 0)
    order = np.flatnonzero(good)[np.argsort(measured.star[good], kind="stable")]
    star, exposure, mag, error, x, y = (np.asarray(column)[order] for column in measured)
    names, start, counts = np.unique(star, return_index=True, return_counts=True)
    if not (counts > 1).any():
        raise InputError(
            f"none of {len(names)} stars is on two exposures; ratios need stars in common: see "
            "that the exposures are of one field, and that their stars were matched."
        )
    u, v = scale(x, y, shape)
    units, unit = np.unique(exposure, return_inverse=True)
    no, single = np.zeros(0, np.float32), np.float32
    return Block(
        names, np.append(start, len(star)), units, unit.astype(np.uint16), mag.astype(single),
        np.square(error).astype(single), u.astype(single), v.astype(single),
        np.zeros(0, np.uint16), np.zeros(len(star), np.uint8), np.zeros(len(names), single), no,
    )  # fmt: skip


def _report(fit: Fit, block: Block) -> Ratios:
    layout, kept, scatter = fit.normal.problem.layout, fit.weights.kept[0], fit.weights.scatter_mag
    found = find_residuals(block, kept, scatter, layout, fit.unknowns)
    is_used = unpack(block, kept) > 0
    n_units = layout.n_units
    unit, used = block.units[block.unit], is_used & np.isfinite(found.t)
    n_used = np.bincount(unit[is_used], minlength=n_units)
    n_all = np.bincount(unit, minlength=n_units)
    units, _ = layout.split(fit.unknowns)
    k = layout.n_coefficients
    coefficients, covariance = np.zeros((n_units, 6)), np.zeros((n_units, 6, 6))
    is_known = fit.normal.is_fitted | fit.bad_units
    coefficients[:, :k] = np.where(is_known[:, None], units, np.nan)
    _settle(fit.coarse.space.groups, coefficients)
    covariance[:, :k, :k] = _find_covariance(fit.coarse.space.groups, fit.inverse)
    n_of_star = block.sum_stars(is_used)
    squares = block.sum_stars(np.where(is_used, found.residual**2, 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        rms = np.where(n_of_star > 1, np.sqrt(squares / (n_of_star - 1)), np.nan)
        chi2 = block.sum_stars(np.where(used, found.t**2, 0.0)) / block.sum_stars(used)
    return Ratios(
        coefficients,
        covariance,
        np.bincount(unit[used], found.t[used] ** 2, n_units),
        n_used,
        n_all - n_used,
        _describe(fit, n_all, n_used),
        block.star_id,
        found.magnitude,
        rms,
        chi2,
        n_of_star.astype(int),
        scatter[kept.magnitude_bin],
    )


def _settle(groups: Groups, coefficients: np.ndarray) -> None:
    """Mean 0 of the exposures that hang together, in place: what all share is the stars'."""
    for group in range(groups.n):
        members = groups.group == group
        coefficients[members] -= coefficients[members].mean(axis=0)


def _find_covariance(groups: Groups, inverse: np.ndarray) -> np.ndarray:
    """Covariance of coefficients less their mean, (E, K, K); exposures err independently."""
    covariance = np.full_like(inverse, np.nan)
    for group in range(groups.n):
        members = groups.group == group
        n = members.sum()
        own = inverse[members]
        covariance[members] = own * (1 - 2 / n) + own.sum(axis=0) / n**2
    return covariance


def _describe(fit: Fit, n_all: np.ndarray, n_used: np.ndarray) -> list[str]:
    """The status of each exposure."""
    statuses = ["ok"] * len(n_all)
    for unit in np.flatnonzero(n_used < MIN_STARS):
        statuses[unit] = (
            f"{n_used[unit]} of {n_all[unit]} stars can be used, {MIN_STARS} are needed."
        )
    for unit in np.flatnonzero(fit.bad_units):
        statuses[unit] = f"its {n_all[unit]} stars scatter too much; clouds, or a bad PSF."
    return statuses
