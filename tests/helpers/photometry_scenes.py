"""Images full of stars drawn by GalSim, and their photometry as the rule makes it."""

from functools import cache

import numpy as np
import pandas as pd
from astropy.io import fits
from fit_products import ALPHA, FWHM_PX, GAIN, IMAGES, NX, NY, READ_NOISE, SKY_ADU, make_psf
from galsim_stars import draw, moffat
from quadrants import make_header
from ztfpsf.photometry.fit import PhotometrySettings
from ztfpsf.photometry.image import measure_image
from ztfpsf.psf import Psf
from ztfpsf.stars.images import ScienceImage, measure_sky
from ztfpsf.stars.sky import read_wcs, to_sky

SHAPE = (NY, NX)
SATURATION_ADU = 58000.0
WINDOW_PX = 61
THREADS = 2
PSF = make_psf(IMAGES[0])
SETTINGS = PhotometrySettings(size_px=15, position_min_snr=20.0)


@cache
def profile():
    return moffat(FWHM_PX, ALPHA)


@cache
def draw_phase(x: int, y: int) -> np.ndarray:
    """Stamp at a position in tenths of a pixel."""
    return draw(profile(), x / 10, y / 10, WINDOW_PX)


def make_image(x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Noise-free ADU, sky included, (NY, NX). Positions are whole tenths of a pixel."""
    half = WINDOW_PX // 2
    image = np.full((NY + 2 * half + 2, NX + 2 * half + 2), SKY_ADU)
    for one_x, one_y, one_flux in zip(x, y, flux, strict=True):
        column, row = int(np.floor(one_x + 0.5)), int(np.floor(one_y + 0.5))
        stamp = draw_phase(round(10 * (one_x - column)), round(10 * (one_y - row)))
        image[row + 1 : row + 1 + WINDOW_PX, column + 1 : column + 1 + WINDOW_PX] += (
            one_flux * stamp
        )
    return image[half + 1 : half + 1 + NY, half + 1 : half + 1 + NX]


def make_quadrant(noiseless: np.ndarray, seed: int) -> ScienceImage:
    """With photon and read noise; pixels above the saturation level are saturated."""
    rng = np.random.default_rng(seed)
    data = rng.poisson(noiseless * GAIN) + rng.normal(0, READ_NOISE, noiseless.shape)
    data = (data / GAIN).astype(np.float32)
    header = make_header(noiseless.shape)
    is_saturated = data > SATURATION_ADU
    nothing = np.zeros(data.shape, bool)
    return ScienceImage(
        "x.fits", data, header, nothing, is_saturated, GAIN, READ_NOISE, SATURATION_ADU
    )


def make_catalogue(
    x: np.ndarray,
    y: np.ndarray,
    header: fits.Header,
    shift_px: tuple[float, float] = (0.0, 0.0),
) -> pd.DataFrame:
    """Rows of select_stars, positions exact, those of the sky `shift_px` beside the image's."""
    ra, dec = to_sky(read_wcs(header, ""), x - shift_px[0], y - shift_px[1])
    return pd.DataFrame(
        {
            "image": IMAGES[0],
            "star_id": [f"J{i:06d}.00+300000.0" for i in range(len(x))],
            "ra_deg": ra,
            "dec_deg": dec,
            "mag": 17.0,
            "x_px": x,
            "y_px": y,
            "reason": "",
        }
    )


def measure(
    quadrant: ScienceImage,
    stars: pd.DataFrame,
    settings: PhotometrySettings = SETTINGS,
    variance: np.ndarray | None = None,
    psf: Psf = PSF,
) -> pd.DataFrame:
    """The table of measure_photometry of one image."""
    return measure_image(
        psf, quadrant, measure_sky(quadrant), variance, stars, settings, THREADS
    ).stars


def has(table: pd.DataFrame, flag: int) -> np.ndarray:
    """Whether a flag is set, (n,) bool."""
    return (table["flags"].to_numpy() & int(flag)) > 0


def spread(n: int, spacing_px: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of `n` isolated stars near the nodes of a grid."""
    rng = np.random.default_rng(seed)
    steps = np.arange(spacing_px, min(NX, NY) * 2, spacing_px)
    y, x = (
        z.ravel()
        for z in np.meshgrid(steps[steps < NY - 12], steps[steps < NX - 12], indexing="ij")
    )
    assert len(x) >= n, len(x)
    return tuple(np.round(z[:n] + rng.uniform(-2, 2, n), 1) for z in (x, y))
