"""PSF magnitudes against magnitudes in circular apertures, on the stamps of stars.

Both share the background of the PSF fit, so that their difference tells of the profile alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sep

from ztfpsf.quality import MAG_PER_LN


class Apertures(NamedTuple):
    """PSF minus aperture magnitude of n stars in k apertures, (n, k) mag.

    NaN where the aperture does not fit into the stamp or holds no light.
    """

    data: np.ndarray
    model: np.ndarray  # of the PSF model itself: its light outside the aperture
    error: np.ndarray  # of `data`, from the noise inside the aperture and the background's error

    @property
    def corrected(self) -> np.ndarray:
        """PSF minus aperture magnitude, the PSF's light outside the aperture added: 0 expected."""
        return self.data - self.model


def measure_apertures(
    data: np.ndarray,
    model: np.ndarray,
    variance: np.ndarray,
    flux_adu: np.ndarray,
    background_error_adu: np.ndarray,
    x_px: np.ndarray,
    y_px: np.ndarray,
    diameters_px: Sequence[float],
) -> Apertures:
    """Exact sums in circles; stamps (n, S, S) background subtracted, positions (n,) in them."""
    diameters = np.asarray(diameters_px, float)
    sums = [
        _sum(np.stack(star), x, y, diameters / 2.0)
        for *star, x, y in zip(data, model, variance, x_px, y_px, strict=True)
    ]
    light, own, noise = np.array(sums).reshape(len(data), 3, len(diameters)).transpose(1, 0, 2)
    reach = np.maximum(*(np.abs(z - data.shape[-1] // 2) for z in (x_px, y_px)))
    fits = diameters / 2.0 <= data.shape[-1] / 2.0 - reach[:, None]
    flux = np.where(flux_adu > 0, flux_adu, np.nan)[:, None]
    light, own = (np.where(fits & (part > 0), part, np.nan) for part in (light, own))
    area = np.pi * diameters**2 / 4.0
    error = MAG_PER_LN * np.sqrt(noise + (area * background_error_adu[:, None]) ** 2) / light
    return Apertures(MAG_PER_LN * np.log(light / flux), MAG_PER_LN * np.log(own / flux), error)


def _sum(planes: np.ndarray, x_px: float, y_px: float, radii_px: np.ndarray) -> np.ndarray:
    """Sums of planes (p, S, S) in circles around one position, (p, k)."""
    x, y = np.full_like(radii_px, x_px), np.full_like(radii_px, y_px)
    return np.array(
        [sep.sum_circle(np.ascontiguousarray(p), x, y, radii_px, subpix=0)[0] for p in planes]
    )
