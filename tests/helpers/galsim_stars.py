"""Stars drawn by GalSim, a code independent of ours."""

import galsim
import numpy as np


def ellipse(axis_ratio: float, theta_deg: float) -> tuple[float, float]:
    """Our (e1, e2) of an axis ratio and an orientation."""
    size = 0.5 * (1.0 / axis_ratio - axis_ratio)
    angle = np.deg2rad(2.0 * theta_deg)
    return size * np.cos(angle), size * np.sin(angle)


def draw(profile: galsim.GSObject, x_px: float, y_px: float, size_px: int) -> np.ndarray:
    """Pixel-integrated stamp of a profile, (x, y) from the centre of the central pixel."""
    image = profile.drawImage(
        nx=size_px, ny=size_px, scale=1.0, offset=(x_px, y_px), method="auto", dtype=float
    )
    return image.array


# FFT accuracy good for a comparison at 1e-5 of the flux.
ACCURATE = galsim.GSParams(
    folding_threshold=1e-4, maxk_threshold=1e-6, kvalue_accuracy=1e-8, maximum_fft_size=16384
)


def moffat(
    fwhm_px: float, alpha: float, axis_ratio: float = 1.0, theta_deg: float = 0.0
) -> galsim.GSObject:
    """Moffat of flux 1."""
    profile = galsim.Moffat(beta=alpha, fwhm=fwhm_px, gsparams=ACCURATE)
    return profile.shear(q=axis_ratio, beta=theta_deg * galsim.degrees)


def gaussian(fwhm_px: float, axis_ratio: float = 1.0, theta_deg: float = 0.0) -> galsim.GSObject:
    """Gaussian of flux 1."""
    profile = galsim.Gaussian(fwhm=fwhm_px, gsparams=ACCURATE)
    return profile.shear(q=axis_ratio, beta=theta_deg * galsim.degrees)
