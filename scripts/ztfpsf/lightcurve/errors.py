"""From a solution to a light curve: the covariance of the fluxes, and what goes with them.

With F_e = l_e d_e - t_e theta, theta the host and the motion,

    Cov(F_e, F_f) = delta_ef l V l - t_e S^-1 c_f - c_e S^-1 t_f + t_e Cov(theta) t_f ,
    Cov(theta) = S^-1 + S^-1 X S^-1 ,

V with the photons of the object, which the weights leave out, X and c what they add (the
"sandwich"). Relative errors of the ratio act on flux and host alike. An error sigma of the place in
one exposure loses on average a part of the flux, which is made good, and scatters as much.
"""

from typing import NamedTuple

import numpy as np

from ztfpsf.lightcurve.geometry import Geometry
from ztfpsf.lightcurve.host import Solution
from ztfpsf.lightcurve.measurement import Measured
from ztfpsf.lightcurve.model import Parameters
from ztfpsf.lightcurve.preparation import Prepared
from ztfpsf.lightcurve.scene import Host, LightCurve, Scene

N_POWERS = 30


class Covariances(NamedTuple):
    """Of the fluxes of n exposures."""

    fluxes: np.ndarray  # (n, n) of exposures with flux, 0 elsewhere
    probes: np.ndarray  # (n,) variance of the flux where it is known to be 0
    common_mode: np.ndarray  # (n,)


def find_covariances(
    measured: Measured, excess: np.ndarray, solution: Solution, is_on: np.ndarray
) -> Covariances:
    """`excess`: X, (K + 4, K + 4); `is_on`: (n,) bool."""
    inverse = solution.covariance
    theta = inverse + inverse @ excess @ inverse
    taken, mixed = measured.coupling[is_on], measured.correlation[is_on] @ inverse
    cross = taken @ mixed.T
    shared = taken @ theta @ taken.T - cross - cross.T
    own = measured.variance_adu2
    fluxes = np.zeros((len(is_on), len(is_on)))
    fluxes[np.ix_(is_on, is_on)] = shared + np.diag(own[is_on])
    off = measured.coupling[~is_on]
    probes = np.diagonal(fluxes).copy()
    probes[~is_on] = own[~is_on] - np.einsum("ek,kl,el->e", off, inverse, off, optimize=True)
    return Covariances(fluxes, np.maximum(probes, 0.0), _find_common_mode(taken, theta, is_on))


def _find_common_mode(taken: np.ndarray, theta: np.ndarray, is_on: np.ndarray) -> np.ndarray:
    """Strongest mode of t Cov(theta) t^T by the power method, (n,), of positive sum."""
    mode = np.ones(len(taken))
    strength = 0.0
    for _ in range(N_POWERS):
        mode = taken @ (theta @ (taken.T @ mode))
        strength = float(np.linalg.norm(mode))
        mode = mode / max(strength, 1e-300)
    common = np.zeros(len(is_on))
    common[is_on] = np.sqrt(strength) * mode * (np.sign(mode.sum()) or 1.0)
    return common


def make_light_curve(
    scene: Scene,
    prepared: Prepared,
    geometry: Geometry,
    parameters: Parameters,
    measured: Measured,
    excess: np.ndarray,
    solution: Solution,
) -> LightCurve:
    """Rows of all exposures of the scene, those that were not fitted NaN."""
    exposures, rows = prepared.exposures, prepared.rows
    is_on, k = exposures.is_on > 0, len(parameters.host_adu)
    found = find_covariances(measured, excess, solution, is_on)
    error_px, ratio_error = scene.position_error_px[rows], scene.ratio_error[rows]
    loss = np.minimum(measured.loss * error_px**2, 0.5)
    flux = measured.flux_adu / (1.0 - loss)
    gain = np.where(is_on, 1.0 / (1.0 - loss), 1.0)
    own = (ratio_error * (flux * is_on + measured.host_adu)) ** 2 + (loss * flux * is_on) ** 2
    covariance = found.fluxes * gain[:, None] * gain + np.diag(own * is_on)
    probe_error = np.sqrt(found.probes * gain**2 + own)
    moved = parameters.motion[:2] + exposures.time_yr[:, None] * parameters.motion[2:]
    position = prepared.position_px + np.einsum("eij,ej->ei", exposures.jacobian, moved)
    n_free = 1 + is_on + solution.n_effective * measured.information / measured.information.sum()
    n_motion = np.count_nonzero(np.diagonal(solution.covariance)[k:]) / len(rows)
    n_pixels = exposures.is_good.shape[1]
    shift = solution.covariance[k:, k:]
    host = None
    if k:
        host = Host(
            geometry.spread(geometry.sharing @ parameters.host_adu),
            geometry.spread(_find_errors(geometry.sharing, solution.covariance[:k, :k])),
            geometry.points_px,
            parameters.host_adu,
            prepared.reference,
            solution.precision,
            solution.n_effective,
        )
    n = len(scene.data)

    def fill(values: np.ndarray) -> np.ndarray:
        out = np.full((n, *values.shape[1:]), np.nan)
        out[rows] = values
        return out

    whole = np.full((n, n), np.nan)
    whole[np.ix_(rows, rows)] = covariance
    masked = np.full(n, n_pixels)
    masked[rows] = n_pixels - measured.n_pix
    return LightCurve(
        name=scene.name,
        flux_adu=fill(np.where(is_on, flux, 0.0)),
        flux_error_adu=fill(np.sqrt(np.diagonal(covariance))),
        covariance_adu2=whole,
        common_mode_adu=fill(found.common_mode * gain),
        probe_flux_adu=fill(np.where(is_on, flux, measured.flux_adu)),
        probe_error_adu=fill(probe_error),
        background_adu=fill(parameters.background_adu),
        background_error_adu=fill(np.sqrt(measured.background_variance_adu2)),
        host_adu=fill(measured.host_adu),
        position_px=fill(position),
        chi2=fill(measured.chi2),
        dof=fill(measured.n_pix - n_free - n_motion),
        n_masked=masked,
        residuals=_spread_rows(geometry, measured.residual, rows, n),
        shift_arcsec=parameters.motion[:2],
        shift_covariance=shift[:2, :2],
        motion_arcsec_yr=parameters.motion[2:],
        motion_covariance=shift[2:, 2:],
        host=host,
        has_baseline=bool((~is_on).any()),
        status=prepared.status,
    )


def _find_errors(sharing: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("pk,kl,pl->p", sharing, covariance, sharing, optimize=True))


def _spread_rows(geometry: Geometry, residual: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    stamps = np.full((n, geometry.size_px, geometry.size_px), np.nan, np.float32)
    stamps[rows] = geometry.unravel(residual)
    return stamps


def make_nothing(scene: Scene, status: list[str]) -> LightCurve:
    """The light curve of a scene of which no exposure can be fitted."""
    n, size_px = len(scene.data), scene.data.shape[-1]
    blank = np.full(n, np.nan)
    return LightCurve(
        scene.name, blank, blank, np.full((n, n), np.nan), blank, blank, blank, blank, blank,
        blank, np.full((n, 2), np.nan), blank, blank, np.full(n, size_px**2),
        np.full((n, size_px, size_px), np.nan, np.float32), np.full(2, np.nan),
        np.full((2, 2), np.nan), np.full(2, np.nan), np.full((2, 2), np.nan), None,
        has_baseline=False, status=status,
    )  # fmt: skip
