"""A scene: one target or star in all its exposures, as the fit takes it, and what comes out.

In exposure e, pixel p,

    D = a_e [F_e P_e(p - x_e) + sum_k g_k P_e(p - x_ek)] + s_e ,

with the photometric ratio a_e, the flux F_e, the PSF P_e, the place x_e of the target, point
sources g_k on a grid in the sky, which are the host, and a flat background s_e. Images are never
resampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ztfpsf.errors import InputError
from ztfpsf.psf import Psf

OK = "ok"


class Scene(NamedTuple):
    """One object in E exposures, on stamps of S x S px (odd) around the pixel nearest to it.

    Exposures whose status is not "ok" may hold anything elsewhere; they are not fitted.
    """

    name: str
    data: np.ndarray  # (E, S, S) ADU, sky not subtracted
    is_masked: np.ndarray  # (E, S, S) bool, True = do not use
    constant_adu2: np.ndarray  # (E, S, S) or (E, 1, 1), variance beside the photons
    sky_adu: np.ndarray  # (E,) level of the sky, for the noise
    gain: np.ndarray  # (E,) electron/ADU
    corner_px: np.ndarray  # (E, 2) column and row of the pixel [0, 0] of the stamps
    position_px: np.ndarray  # (E, 2) x, y where it is expected: motion and refraction included
    position_error_px: np.ndarray  # (E,) of each axis, of this exposure's map alone
    jacobian: np.ndarray  # (E, 2, 2) d(x, y) / d(east, north), px/arcsec
    ratio: np.ndarray  # (E,) light in this exposure, in units of that of the common scale
    ratio_error: np.ndarray  # (E,) relative
    in_baseline: np.ndarray  # (E,) bool, True: flux 0 (outside the dates of a transient)
    time_yr: np.ndarray  # (E,) since the epoch of the expected place, for proper motions
    psfs: Sequence[Psf | None]  # E; objects of the same images share the list
    status: Sequence[str]  # E, "ok" or one sentence


@dataclass(frozen=True)
class SceneSettings:
    """How a scene is fitted.

    `host_radius_px`: points of the host lie within this radius of the object, one every pixel; 0
    for stars, which have no host. `fine_radius_px`: within it, one every half pixel.
    `pixel_radius_px`: pixels within it are fitted, as far as the
    stamp reaches. `position_error_arcsec`: of the catalogue's place, each axis; 0 holds it.
    `motion_error_arcsec_yr`: of its proper motion, 0 holds that. `n_rounds`: of weights, PSFs at
    the light found, and steps of the position.
    """

    host_radius_px: float = 12.0
    fine_radius_px: float = 4.0
    pixel_radius_px: float = 10.5
    position_error_arcsec: float = 0.3
    motion_error_arcsec_yr: float = 0.0
    n_rounds: int = 3

    def __post_init__(self) -> None:
        if self.host_radius_px < 0 or self.pixel_radius_px < 2:
            raise InputError(
                f"host_radius_px is {self.host_radius_px}, pixel_radius_px {self.pixel_radius_px}; "
                "give 0 or more, and 2 or more."
            )


class Host(NamedTuple):
    """The host as point sources, ADU of the common scale.

    Pictures are [row, column] and NaN beyond the radius; their middle is the expected place of the
    target, their pixels are those of the mean exposure.
    """

    flux_adu: np.ndarray  # (M, M)
    error_adu: np.ndarray  # (M, M)
    points_px: np.ndarray  # (K, 2) x and y from the target, in the pixels of the pictures
    point_adu: np.ndarray  # (K,)
    jacobian: np.ndarray  # (2, 2) d(x, y) / d(east, north) of its axes, px/arcsec
    precision: np.ndarray  # (K, K) of the prior, ADU^-2: the one of largest evidence
    n_effective: float  # points that the data determine


class LightCurve(NamedTuple):
    """Fluxes of one object in E exposures on the common scale; NaN where it was not fitted."""

    name: str
    flux_adu: np.ndarray  # (E,) ADU of the common scale, 0 in the baseline
    flux_error_adu: np.ndarray  # (E,) root of the diagonal of the covariance, ratio included
    covariance_adu2: np.ndarray  # (E, E) of the fluxes
    common_mode_adu: np.ndarray  # (E,) the strongest shared error: its outer product is in there
    probe_flux_adu: np.ndarray  # (E,) flux also where it is known to be 0, from the same host
    probe_error_adu: np.ndarray  # (E,)
    background_adu: np.ndarray  # (E,) ADU per pixel of the exposure
    background_error_adu: np.ndarray  # (E,)
    host_adu: np.ndarray  # (E,) host's light that the PSF would take for flux, common scale
    position_px: np.ndarray  # (E, 2) x, y of the object, shift and motion fitted
    chi2: np.ndarray  # (E,) of the pixels of each exposure, all variance included
    dof: np.ndarray  # (E,)
    n_masked: np.ndarray  # (E,) pixels within the radius that were not used
    residuals: np.ndarray  # (E, S, S) float32 (data - model) / sigma, NaN where not used
    shift_arcsec: np.ndarray  # (2,) east, north of the expected place
    shift_covariance: np.ndarray  # (2, 2) arcsec^2
    motion_arcsec_yr: np.ndarray  # (2,) in addition to the expected motion
    motion_covariance: np.ndarray  # (2, 2)
    host: Host | None  # None without one
    has_baseline: bool  # exposures without the object settle the host under it
    status: list[str]  # E
