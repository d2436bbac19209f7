"""Adaptive moments of stars and of their models by GalSim's HSM (Hirata & Seljak 2003).

ZTF is undersampled: on its pixels HSM's Gaussian weight shrinks between the pixels, and most stars
of a sharp image have no moments at all. So star and model are smoothed by the same small kernel
first, and its second moments are taken off what is measured. Pixels that must not be used are
filled with the model: they add nothing to a residual, and lie where the weight is small.
"""

from typing import NamedTuple

import galsim
import numpy as np
from scipy.ndimage import convolve1d

# A Gaussian of 0.7 px: moments of Gaussians add, also adaptive ones.
_STEPS = np.arange(-4, 5)
KERNEL = np.exp(-0.5 * (_STEPS / 0.7) ** 2)
KERNEL /= KERNEL.sum()
KERNEL_VARIANCE_PX2 = float(KERNEL @ _STEPS**2)  # along each axis
FIRST_SIGMAS_PX = (1.2, 3.0)  # HSM's first guess; the second one if the first fails
MAX_SHIFT_PX = 1.0  # a centroid further from the fitted position is not the star's
STEP = 0.01  # of the derivatives, relative to the moments


class Moments(NamedTuple):
    """Adaptive second moments of n stars, the kernel's taken off; NaN where HSM fails."""

    xx_px2: np.ndarray  # (n,)
    yy_px2: np.ndarray
    xy_px2: np.ndarray
    x_px: np.ndarray  # centroid in the stamp, 0-based pixels
    y_px: np.ndarray
    fourth: np.ndarray  # weighted mean of (r / sigma)^4: 2 for a Gaussian, less for a flat or
    #                     hollow profile

    @property
    def size_px2(self) -> np.ndarray:
        """T = xx + yy."""
        return self.xx_px2 + self.yy_px2

    @property
    def g1(self) -> np.ndarray:
        """Reduced shear along x: for an axis ratio q, |g| = (1 - q) / (1 + q)."""
        return (self.xx_px2 - self.yy_px2) / self._norm

    @property
    def g2(self) -> np.ndarray:
        """Along the diagonal y = x."""
        return 2.0 * self.xy_px2 / self._norm

    @property
    def _norm(self) -> np.ndarray:
        determinant = self.xx_px2 * self.yy_px2 - self.xy_px2**2
        return self.size_px2 + 2.0 * np.sqrt(np.where(determinant > 0, determinant, np.nan))


class MomentErrors(NamedTuple):
    """Standard errors of n stars from the noise of their pixels."""

    size: np.ndarray  # (n,) of T / T
    g1: np.ndarray
    g2: np.ndarray


def smooth(stamps: np.ndarray) -> np.ndarray:
    """Stamps (n, S, S) convolved with KERNEL along both axes."""
    for axis in (1, 2):
        stamps = convolve1d(stamps, KERNEL, axis=axis, mode="constant")
    return stamps


def measure_moments(stamps: np.ndarray, x_px: np.ndarray, y_px: np.ndarray) -> Moments:
    """Adaptive moments of stars (n, S, S), background subtracted, near positions (n,) in them."""
    rows = [_measure(*star) for star in zip(smooth(stamps), x_px, y_px, strict=True)]
    columns = np.array(rows, float).reshape(len(rows), len(Moments._fields)).T
    moments = Moments(*columns)
    # Noise can leave less than the kernel alone: no ellipse.
    unphysical = ~(np.minimum(moments.xx_px2, moments.yy_px2) > 0) | ~np.isfinite(moments.g1)
    return Moments(*(np.where(unphysical, np.nan, column) for column in moments))


def _measure(stamp: np.ndarray, x_px: float, y_px: float) -> tuple[float, ...]:
    image = galsim.Image(np.ascontiguousarray(stamp), xmin=0, ymin=0)
    centre = galsim.PositionD(x_px, y_px)
    for sigma in FIRST_SIGMAS_PX:
        found = galsim.hsm.FindAdaptiveMom(
            image, guess_sig=sigma, guess_centroid=centre, strict=False
        )
        if not found.error_message:
            break
    centroid = found.moments_centroid
    shift = np.hypot(centroid.x - x_px, centroid.y - y_px)
    if found.error_message or not shift <= MAX_SHIFT_PX or not found.moments_amp > 0:
        return (np.nan,) * len(Moments._fields)
    e1, e2 = found.observed_shape.e1, found.observed_shape.e2
    size = 2.0 * found.moments_sigma**2 / np.sqrt(1.0 - e1**2 - e2**2)
    return (
        0.5 * size * (1.0 + e1) - KERNEL_VARIANCE_PX2,
        0.5 * size * (1.0 - e1) - KERNEL_VARIANCE_PX2,
        0.5 * size * e2,
        centroid.x,
        centroid.y,
        found.moments_rho4,
    )


def find_errors(
    models: np.ndarray, moments: Moments, variance: np.ndarray, background_error_adu: np.ndarray
) -> MomentErrors:
    """Errors of the moments of stars, by linear propagation of the noise of their pixels.

    The adaptive moments M solve g(M) = sum I W_M (x x^T - M / 2) = 0 (Bernstein & Jarvis 2002,
    AJ 123, 583): dM = -(dg/dM)^-1 dg, with the derivative taken on the noise-free `models`
    (n, S, S), background subtracted, whose moments are `moments`. `variance`: (n, S, S) ADU^2;
    the error of the background (n,) is common to all pixels. The centroid, which is free as well,
    changes the second moments of a symmetric star in second order only.
    """
    smoothed = smooth(models)
    matrix = np.stack([moments.xx_px2, moments.yy_px2, moments.xy_px2], axis=-1)
    matrix[:, :2] += KERNEL_VARIANCE_PX2
    scale = STEP * (matrix[:, 0] + matrix[:, 1])
    weights = _weights(matrix, moments, models.shape[-1])
    derivative = np.empty((len(matrix), 3, 3))
    for k in range(3):
        step = scale[:, None] * np.eye(3)[k]
        above, below = (
            _apply(_weights(matrix + sign * step, moments, models.shape[-1]), smoothed)
            for sign in (1.0, -1.0)
        )
        derivative[..., k] = (above - below) / (2.0 * scale[:, None])
    on_pixels = np.stack([smooth(weights[:, k]) for k in range(3)], axis=1)
    noise = np.einsum("nkij,nlij,nij->nkl", on_pixels, on_pixels, variance, optimize=True)
    lever = on_pixels.sum(axis=(2, 3)) * background_error_adu[:, None]
    noise += lever[:, :, None] * lever[:, None, :]
    covariance = np.full_like(noise, np.nan)
    known = np.isfinite(derivative).all(axis=(1, 2)) & np.isfinite(noise).all(axis=(1, 2))
    inverse = np.linalg.pinv(derivative[known])
    covariance[known] = inverse @ noise[known] @ inverse.swapaxes(1, 2)
    trace, difference, cross = np.array([1, 1, 0]), np.array([1, -1, 0]), np.array([0, 0, 2])
    size = moments.size_px2
    sigma = [np.sqrt(np.einsum("k,nkl,l->n", v, covariance, v)) for v in (trace, difference, cross)]
    # For nearly round stars g is half of (xx - yy) / T.
    return MomentErrors(sigma[0] / size, 0.5 * sigma[1] / size, 0.5 * sigma[2] / size)


def _weights(matrix: np.ndarray, moments: Moments, size_px: int) -> np.ndarray:
    """Pixel weights of the three equations g(M) = 0, (n, 3, S, S); `matrix`: xx, yy, xy (n, 3)."""
    grid = np.arange(size_px)
    dx = (grid - moments.x_px[:, None])[:, None, :]
    dy = (grid - moments.y_px[:, None])[:, :, None]
    xx, yy, xy = (matrix[:, k, None, None] for k in range(3))
    with np.errstate(invalid="ignore", over="ignore"):
        form = (yy * dx**2 + xx * dy**2 - 2.0 * xy * dx * dy) / (xx * yy - xy**2)
        weight = np.exp(-0.5 * form)
    parts = (dx**2 - xx / 2.0, dy**2 - yy / 2.0, dx * dy - xy / 2.0)
    return np.stack([weight * part for part in parts], axis=1)


def _apply(weights: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    return np.einsum("nkij,nij->nk", weights, stamps, optimize=True)
