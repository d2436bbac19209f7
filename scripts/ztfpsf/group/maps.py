"""Maps from the sky to the pixels of each exposure, from the positions of its stars.

    (x, y) = sum_k (c_xk, c_yk) B_k(east / scale, north / scale)

with the powers B_k of the tangent plane up to a degree of 1, 2 or 3, which the stars of the
exposure decide (Bayesian information criterion). The header's world coordinates found the stars;
they play no part beyond that.

Refraction moves a star towards the zenith by more the bluer it is,

    shift = c (colour - mean colour) tan(zenith distance) ,

with one coefficient c for all exposures of a group. It is taken out where it is significant.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.robust import ClippedFit, fit_clipped

OK = "ok"
DEGREES = (1, 2, 3)
N_TERMS = {1: 3, 2: 6, 3: 10}
POWERS = tuple((i - j, j) for i in range(4) for j in range(i + 1))  # of east, of north
# Stars needed for each term of a polynomial.
STARS_PER_TERM = 3
REFRACTION_SIGMA = 5.0
# Each leaves a part of the error of the one before: terms of a map over stars of an exposure.
N_REFRACTION_ROUNDS = 3


class Refraction(NamedTuple):
    """Chromatic refraction of a group; 0 where it is not significant."""

    arcsec_per_mag: float
    error: float  # NaN where colours say nothing
    mean_colour_mag: float

    def shift(
        self, colour_mag: np.ndarray, airmass: np.ndarray, parallactic_deg: np.ndarray
    ) -> np.ndarray:
        """Shift to the East and North, arcsec, (n, 2); 0 for an unknown colour."""
        size = self.arcsec_per_mag * np.nan_to_num(colour_mag - self.mean_colour_mag)
        return size[:, None] * to_zenith(airmass, parallactic_deg)


class Map(NamedTuple):
    """The map of one exposure."""

    degree: int  # 0: none
    coefficients: np.ndarray  # (2, 10) px, of x and y; 0 above the degree
    covariance: np.ndarray  # (2, 10, 10) px^2
    rms_px: float  # of the stars around it, mean of both axes
    n_stars: int
    status: str  # ok, or one sentence


class GroupMaps(NamedTuple):
    """The maps of a group and what they refer to."""

    maps: list[Map]
    centre: tuple[float, float]  # RA, Dec of the tangent point, deg
    scale_arcsec: float
    refraction: Refraction


class Places(NamedTuple):
    """Where the maps of E exposures put an object; NaN without a map."""

    position_px: np.ndarray  # (E, 2)
    error_px: np.ndarray  # (E,) of each axis
    jacobian: np.ndarray  # (E, 2, 2) d(x, y) / d(east, north), px/arcsec


def to_zenith(airmass: np.ndarray, parallactic_deg: np.ndarray) -> np.ndarray:
    """tan(zenith distance) towards the zenith, East and North, (n, 2)."""
    angle = np.radians(parallactic_deg)
    tangent = np.sqrt(np.maximum(airmass**2 - 1.0, 0.0))
    return tangent[..., None] * np.stack([np.sin(angle), np.cos(angle)], axis=-1)


def fit_maps(
    measurements: pd.DataFrame, plane: np.ndarray, scale_arcsec: float, n_exposures: int
) -> list[Map]:
    """The map of each exposure.

    `measurements`: exposure, x_px, y_px, x_error_px, y_error_px; `plane`: (n, 2) arcsec where their
    stars are, refraction included.
    """
    exposure = measurements["exposure"].to_numpy()
    position, error = (
        measurements[[f"{axis}{end}" for axis in "xy"]].to_numpy(float)
        for end in ("_px", "_error_px")
    )
    return [
        _fit_map(plane[rows] / scale_arcsec, position[rows], error[rows])
        for rows in (np.flatnonzero(exposure == number) for number in range(n_exposures))
    ]


def _fit_map(plane: np.ndarray, position: np.ndarray, error: np.ndarray) -> Map:
    """The polynomial of most evidence through the stars of an exposure, (n, 2) each."""
    n = int((np.isfinite(error).all(axis=1) & np.isfinite(plane).all(axis=1)).sum())
    allowed = [degree for degree in DEGREES if n >= STARS_PER_TERM * N_TERMS[degree]]
    if not allowed:
        return Map(
            0, np.zeros((2, 10)), np.full((2, 10, 10), np.nan), np.nan, n,
            f"{n} stars with a fitted position; a map needs {STARS_PER_TERM * N_TERMS[1]}.",
        )  # fmt: skip
    design = make_design(plane)
    fits = {
        degree: [
            fit_clipped(design[:, : N_TERMS[degree]], position[:, axis], error[:, axis], 2)
            for axis in (0, 1)
        ]
        for degree in allowed
    }
    # All degrees are judged by the same stars: those that the highest one keeps.
    kept = np.all([fit.kept for fit in fits[allowed[-1]]], axis=0)
    score = {
        degree: _score(design[kept], position[kept], error[kept], fits[degree])
        + 2 * N_TERMS[degree] * np.log(max(kept.sum(), 1))
        for degree in allowed
    }
    degree = min(score, key=lambda one: score[one])
    k, found = N_TERMS[degree], fits[degree]
    coefficients, covariance = np.zeros((2, 10)), np.zeros((2, 10, 10))
    for axis, fit in enumerate(found):
        coefficients[axis, :k], covariance[axis, :k, :k] = fit.coefficients, fit.covariance
    rms_px = float(np.mean([fit.rms for fit in found]))
    return Map(degree, coefficients, covariance, rms_px, int(found[0].kept.sum()), OK)


def _score(
    design: np.ndarray, position: np.ndarray, error: np.ndarray, fits: list[ClippedFit]
) -> float:
    """-2 ln(likelihood) of the stars, without constants."""
    total = 0.0
    for axis, fit in enumerate(fits):
        residual = position[:, axis] - design[:, : len(fit.coefficients)] @ fit.coefficients
        variance = error[:, axis] ** 2 + fit.scatter**2
        total += float(np.sum(residual**2 / variance + np.log(variance)))
    return total


def make_design(plane: np.ndarray) -> np.ndarray:
    """Powers of scaled coordinates (n, 2) up to degree 3, (n, 10)."""
    return np.stack([plane[:, 0] ** i * plane[:, 1] ** j for i, j in POWERS], axis=1)


def locate(found: GroupMaps, plane: np.ndarray) -> Places:
    """Where the maps put an object that is at `plane` (E, 2), arcsec, in the E exposures."""
    maps = found.maps
    coefficients = np.array([one.coefficients for one in maps])
    covariance = np.array([one.covariance for one in maps])
    scaled = plane / found.scale_arcsec
    east, north = scaled.T
    basis = make_design(scaled)
    zero = np.zeros(len(scaled))
    slopes = np.stack(
        [
            np.stack([i * east ** (i - 1) * north**j if i else zero for i, j in POWERS], axis=1),
            np.stack([j * east**i * north ** (j - 1) if j else zero for i, j in POWERS], axis=1),
        ],
        axis=-1,
    )
    variance = np.einsum("ek,eakl,el->ea", basis, covariance, basis).mean(axis=1)
    position = np.einsum("eak,ek->ea", coefficients, basis)
    position[[one.degree == 0 for one in maps]] = np.nan
    return Places(
        position,
        np.sqrt(np.maximum(variance, 0.0)),
        np.einsum("eak,ekb->eab", coefficients, slopes) / found.scale_arcsec,
    )


def fit_group(
    measurements: pd.DataFrame,
    plane: np.ndarray,
    colour_mag: np.ndarray,
    centre: tuple[float, float],
    n_exposures: int,
) -> GroupMaps:
    """Maps of all exposures and the refraction, in turns: maps take a part of it for their own.

    `measurements` as in fit_maps, with `star_id`, `airmass`, `parallactic_deg`; `plane`: (n, 2)
    arcsec, where their stars are; `colour_mag`: (n,) of their stars, NaN where unknown.
    """
    scale_arcsec = float(np.abs(plane).max(initial=1.0))
    where = [measurements[name].to_numpy(float) for name in ("airmass", "parallactic_deg")]
    star = measurements["star_id"].to_numpy()
    mean = float(np.nanmedian(colour_mag)) if np.isfinite(colour_mag).any() else np.nan
    refraction = Refraction(0.0, np.nan, mean)
    maps = fit_maps(measurements, plane, scale_arcsec, n_exposures)
    for _ in range(N_REFRACTION_ROUNDS):
        moved = plane + less_mean(refraction.shift(colour_mag, *where), star)
        step = _fit_refraction(measurements, moved, scale_arcsec, maps, colour_mag - mean)
        found = refraction.arcsec_per_mag + step.coefficients[0]
        refraction = Refraction(float(found), float(step.errors[0]), mean)
        if not abs(found) > REFRACTION_SIGMA * refraction.error:
            return GroupMaps(maps, centre, scale_arcsec, refraction._replace(arcsec_per_mag=0.0))
        moved = plane + less_mean(refraction.shift(colour_mag, *where), star)
        maps = fit_maps(measurements, moved, scale_arcsec, n_exposures)
    return GroupMaps(maps, centre, scale_arcsec, refraction)


def _fit_refraction(
    measurements: pd.DataFrame,
    plane: np.ndarray,
    scale_arcsec: float,
    maps: list[Map],
    colour_mag: np.ndarray,
) -> ClippedFit:
    """The coefficient of refraction in what the maps leave over; `colour_mag`: less the mean.

    What a star shows in all its exposures is in its place: only the change from one exposure to the
    other counts.
    """
    exposure = measurements["exposure"].to_numpy()
    coefficients = np.array([one.coefficients for one in maps])[exposure]
    position, error = (
        measurements[[f"{axis}{end}" for axis in "xy"]].to_numpy(float)
        for end in ("_px", "_error_px")
    )
    residual = position - np.einsum("nak,nk->na", coefficients, make_design(plane / scale_arcsec))
    residual[np.array([one.degree == 0 for one in maps])[exposure]] = np.nan
    # Slopes of the maps at the middle: a hundredth of them changes over the field.
    jacobian = coefficients[:, :, 1:3] / scale_arcsec
    zenith = to_zenith(*(measurements[n].to_numpy(float) for n in ("airmass", "parallactic_deg")))
    design = colour_mag[:, None] * np.einsum("nab,nb->na", jacobian, zenith)
    star = measurements["star_id"].to_numpy()
    design, residual = less_mean(design, star), less_mean(residual, star)
    return fit_clipped(design.reshape(-1, 1), residual.ravel(), error.ravel(), min_values=20)


def less_mean(values: np.ndarray, star: np.ndarray) -> np.ndarray:
    """Values (n, 2) less the mean of those of the same star; NaN stay and do not count."""
    table = pd.DataFrame(values)
    return (table - table.groupby(star).transform("mean")).to_numpy()
