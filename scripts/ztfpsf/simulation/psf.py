"""The true PSF: GalSim's Kolmogorov or Moffat profile, optics, and the pixel.

Star positions refer to the PSF's centroid as Gaussian-weighted adaptive moments measure it
(Hirata & Seljak 2003, GalSim's HSM): coma moves the nominal centre of a profile, and no fit could
know that one.
"""

from functools import lru_cache
from typing import NamedTuple, TypeVar

import galsim
import numpy as np

from ztfpsf.errors import InputError
from ztfpsf.simulation.settings import PsfSettings, Trend

# ASSUME: aperture 1.2 m, central obscuration 0.4 of it; waves of 640 nm, 1.0125 arcsec per px.
LAMBDA_OVER_DIAMETER_PX = 640e-9 / 1.2 * 206265 / 1.0125
OBSCURATION = 0.4
STRUT_THICKNESS = 0.02  # of the aperture
OVERSAMPLING = 4
# FFTs are at least this wide: the r^(-11/3) wings of Kolmogorov fold back at 1e-7 per pixel.
FFT_SIZE_PX = 129
# Moffat's cusp of alpha 2.9 needs a threshold of 1e-5 to be right to 2e-6 of the peak.
_ACCURACY = galsim.GSParams(maxk_threshold=1e-5, kvalue_accuracy=1e-7, maximum_fft_size=16384)


Position = TypeVar("Position", float, np.ndarray)


class FieldMap(NamedTuple):
    """Field coordinates of a quadrant's pixels: u = u0 + u_per_px * x, v likewise with y."""

    u0: float
    u_per_px: float
    v0: float
    v_per_px: float

    def __call__(self, x_px: Position, y_px: Position) -> tuple[Position, Position]:
        return self.u0 + self.u_per_px * x_px, self.v0 + self.v_per_px * y_px


def quadrant_field(nx: int, ny: int) -> FieldMap:
    """u, v from -1 to 1 over the centres of one quadrant's pixels."""
    return FieldMap(-1.0, 2 / (nx - 1), -1.0, 2 / (ny - 1))


def _trend(coefficients: Trend, u: float, v: float) -> float:
    return float(np.dot(coefficients, (1.0, u, v, u * u + v * v)))


def _uncentred(settings: PsfSettings, u: float, v: float) -> galsim.GSObject:
    fwhm = settings.fwhm_px * (1 + _trend(settings.fwhm_trend, u, v))
    if settings.profile == "moffat":
        profile = galsim.Moffat(beta=settings.moffat_alpha, fwhm=fwhm, gsparams=_ACCURACY)
    else:
        profile = galsim.Kolmogorov(fwhm=fwhm, gsparams=_ACCURACY)
    profile = profile.shear(g1=_trend(settings.g1, u, v), g2=_trend(settings.g2, u, v))
    if not np.any(settings.aberrations):
        return profile
    waves = [_trend(trend, u, v) for trend in settings.aberrations]
    optics = galsim.OpticalPSF(
        lam_over_diam=LAMBDA_OVER_DIAMETER_PX,
        obscuration=OBSCURATION,
        nstruts=settings.n_struts,
        strut_thick=STRUT_THICKNESS,
        aberrations=[0.0] * 4 + waves,
        # Fine enough behind the atmosphere: finer sampling changes the sum by 7e-5 of its peak.
        pad_factor=1.0,
        oversampling=1.0,
        gsparams=_ACCURACY.withParams(folding_threshold=settings.folding_threshold),
    )
    if settings.diffusion_px:
        profile = galsim.Convolve(profile, galsim.Gaussian(sigma=settings.diffusion_px))
    return galsim.Convolve(profile, optics)


def _draw(
    psf: galsim.GSObject,
    offset_px: tuple[float, float],
    oversampling: int,
    size_px: int = FFT_SIZE_PX,
) -> np.ndarray:
    pixels = size_px * oversampling
    image = galsim.Convolve(psf, galsim.Pixel(1.0, gsparams=_ACCURACY)).drawImage(
        nx=pixels | 1,
        ny=pixels | 1,
        scale=1 / oversampling,
        offset=(offset_px[0] * oversampling, offset_px[1] * oversampling),
        method="no_pixel",
        dtype=float,
    )
    return image.array * oversampling**2


@lru_cache(maxsize=2)  # GalSim keeps 40 MB for each
def centred_psf(settings: PsfSettings, u: float, v: float) -> galsim.GSObject:
    """GalSim's object of the PSF without the pixel; lengths in px, centroid at 0, flux 1."""
    psf = _uncentred(settings, u, v)
    image = _draw(psf, (0.0, 0.0), OVERSAMPLING, int(16 * settings.fwhm_px))
    centre = image.shape[0] // 2 + 1
    moments = galsim.hsm.FindAdaptiveMom(
        galsim.Image(image), guess_sig=0.45 * settings.fwhm_px * OVERSAMPLING
    ).moments_centroid
    return psf.shift(-(moments.x - centre) / OVERSAMPLING, -(moments.y - centre) / OVERSAMPLING)


class TruePsf(NamedTuple):
    """The PSF of a quadrant."""

    settings: PsfSettings
    field: FieldMap

    def stamp(self, x_px: float, y_px: float, size_px: int) -> np.ndarray:
        """PSF of a star at (x, y) on the square window around the nearest pixel.

        Pixel-integrated, flux 1 over the whole plane (a little less inside the window). Shape
        (size, size), float64.
        """
        offset = (x_px - np.floor(x_px + 0.5), y_px - np.floor(y_px + 0.5))
        return true_psf(self, x_px, y_px, size_px, offset)

    def oversampled(self, x_px: float, y_px: float, oversampling: int) -> np.ndarray:
        """Centred PSF every 1/oversampling px, each value the integral over a whole pixel.

        Shape (n, n) with n odd, at least FFT_SIZE_PX * oversampling; float64.
        """
        return _draw(centred_psf(self.settings, *self.field(x_px, y_px)), (0.0, 0.0), oversampling)


def true_psf(
    psf: TruePsf,
    x_px: float,
    y_px: float,
    size_px: int,
    offset_px: tuple[float, float],
) -> np.ndarray:
    """Pixel-integrated PSF valid at (x, y), its centroid `offset_px` from the window's centre.

    Shape (size, size), float64, flux 1 over the whole plane. `size_px` is odd, at most 129.
    """
    if size_px % 2 == 0 or not 0 < size_px <= FFT_SIZE_PX:
        raise InputError(f"size_px is {size_px}; give an odd number up to {FFT_SIZE_PX}.")
    image = _draw(centred_psf(psf.settings, *psf.field(x_px, y_px)), offset_px, 1)
    margin = (image.shape[0] - size_px) // 2
    return image[margin : margin + size_px, margin : margin + size_px]
