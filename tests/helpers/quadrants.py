"""Small synthetic quadrants with a known sky, and the files they are read from."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from scipy.special import erf
from ztfpsf.stars.images import ScienceImage, Sky, measure_sky, read_science_image
from ztfpsf.stars.selection import Criteria

SHAPE = (360, 440)  # (ny, nx), not square
SKY_ADU = 157.0
GAIN = 6.0
READ_NOISE_ELECTRON = 9.0
ZERO_POINT = 26.3
SIGMA_PX = 0.9
IMAGE = "ztf_20200924431759_000655_zr_c13_o_q3"
BAD_BITS = [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]
SETTINGS = {
    "magnitude_min_mag": 14.0,
    "magnitude_max_mag": 18.0,
    "min_snr": 10.0,
    "isolation_arcsec": 30.0,
    "max_neighbour_light": 0.005,
    "edge_px": 15,
    "saturation_fraction": 0.8,
    "subtracted_sky": None,
    "max_peak_fraction": 0.5,
    "bad_mask_bits": BAD_BITS,
    "reserved_fraction": 0.2,
    "min_stars": 10,
    "max_stars": 1200,
    "detection_threshold": 1.5,
}


class Scene(NamedTuple):
    """An image, its mask and the stars drawn on it."""

    data: np.ndarray  # (ny, nx) float32 ADU
    mask: np.ndarray  # (ny, nx) int16
    header: fits.Header
    x: np.ndarray  # (n,)
    y: np.ndarray
    mag: np.ndarray


def make_criteria(**changes) -> Criteria:
    return Criteria(**({"size_px": 25} | SETTINGS | changes))


def make_header(shape: tuple[int, int]) -> fits.Header:
    """A ZTF-like header: x runs to the west, y to the south, 1.0125"/px."""
    scale = 1.0125 / 3600
    cards = {
        "GAIN": GAIN,
        "READNOI": READ_NOISE_ELECTRON,
        "SATURATE": 58000.0,
        "MAGZP": ZERO_POINT,
        "SEEING": 2.1,
        "EXPTIME": 30.0,
        "OBSMJD": 59116.43,
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 58.0,
        "CRVAL2": 35.7,
        "CRPIX1": shape[1] / 2,
        "CRPIX2": shape[0] / 2,
        "CD1_1": -scale,
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "CD2_2": -scale,
    }
    header = fits.Header()
    header.update(cards)
    return header


def draw_source(data: np.ndarray, x: float, y: float, flux: float, sigma: float = SIGMA_PX) -> None:
    """Add a Gaussian integrated over pixels."""
    ny, nx = data.shape
    columns, rows = (
        np.diff(erf((np.arange(n + 1) - 0.5 - centre) / (np.sqrt(2) * sigma))) / 2
        for n, centre in ((nx, x), (ny, y))
    )
    data += flux * rows[:, None] * columns


def to_flux(mag: float) -> float:
    return 10 ** (0.4 * (ZERO_POINT - mag))


def add_noise(data: np.ndarray, seed: int) -> np.ndarray:
    """Photon and read-out noise around an image in ADU."""
    rng = np.random.default_rng(seed)
    sigma = np.sqrt(np.maximum(data, 0) / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2)
    return (data + sigma * rng.normal(size=data.shape)).astype(np.float32)


def make_scene(seed: int = 1, shape: tuple[int, int] = SHAPE, spacing_px: int = 40) -> Scene:
    """Stars of 14.5 to 17.8 mag near the nodes of a grid, so that all are isolated."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    y, x = (z.ravel() for z in np.mgrid[25 : ny - 20 : spacing_px, 25 : nx - 20 : spacing_px])
    x, y = x + rng.uniform(-4, 4, x.size), y + rng.uniform(-4, 4, y.size)
    mag = rng.uniform(14.5, 17.8, x.size)
    data = np.full(shape, SKY_ADU)
    for star in zip(x, y, to_flux(mag), strict=True):
        draw_source(data, *star)
    return Scene(
        add_noise(data, seed + 1), np.zeros(shape, np.int16), make_header(shape), x, y, mag
    )


def write_scene(scene: Scene, directory: Path, name: str = IMAGE) -> tuple[str, str]:
    """Write image and mask; returns their paths."""
    paths = directory / f"{name}_sciimg.fits", directory / f"{name}_mskimg.fits"
    fits.writeto(paths[0], scene.data, scene.header, overwrite=True)
    fits.writeto(paths[1], scene.mask, overwrite=True)
    return str(paths[0]), str(paths[1])


def load_scene(scene: Scene, directory: Path) -> tuple[ScienceImage, Sky]:
    """The scene as the rules see it."""
    quadrant = read_science_image(*write_scene(scene, directory), BAD_BITS, 0.8)
    return quadrant, measure_sky(quadrant)
