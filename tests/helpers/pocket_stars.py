"""Stars read out through a simulated pocket, which catches electrons and knows no law."""

from typing import NamedTuple

import numpy as np
from ztfpsf.pocket.edge import N_COLUMNS, Edge
from ztfpsf.pocket.law import NO_POCKET
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.simulation.pocket import defer

NX, NY = 3072, 3080
GAIN, READ_NOISE = 6.2, 9.5
ZERO_POINT_MAG = 26.28
SHARPNESS = 2.0
SIZE_PX, BEFORE_PX = 25, 40  # columns of sky before the stamp
OVERSAMPLING = 5
FWHM_PX, BETA = 1.7, 3.0


class PocketStars(NamedTuple):
    """Simulated stamps, and the truth."""

    stamps: ImageStamps
    edge: Edge
    mag: np.ndarray
    flux_adu: np.ndarray
    x_px: np.ndarray  # of the centroid
    y_px: np.ndarray


def to_flux(mag: np.ndarray) -> np.ndarray:
    return 10 ** (0.4 * (ZERO_POINT_MAG - mag))


def draw_psf(dx: float, dy: float, fwhm_px: float, coma: float) -> np.ndarray:
    """A Moffat with a fainter one beside it, on BEFORE_PX more columns, integrated over pixels."""
    n = OVERSAMPLING
    x = (np.arange((SIZE_PX + BEFORE_PX) * n) + 0.5) / n - 0.5 - BEFORE_PX - SIZE_PX // 2
    y = (np.arange(SIZE_PX * n) + 0.5) / n - 0.5 - SIZE_PX // 2
    gamma = 0.5 * fwhm_px / np.sqrt(2 ** (1 / BETA) - 1)

    def moffat(x0: float, y0: float) -> np.ndarray:
        r2 = (x - x0) ** 2 + (y[:, None] - y0) ** 2
        return (BETA - 1) / (np.pi * gamma**2) * (1 + r2 / gamma**2) ** -BETA

    # The centroid stays at (dx, dy).
    fine = (1 - coma) * moffat(dx - coma, dy) + coma * moffat(dx + 1 - coma, dy)
    return fine.reshape(SIZE_PX, n, -1, n).mean(axis=(1, 3))


def read(light_adu: np.ndarray, capacity_adu: float, random: np.random.Generator) -> np.ndarray:
    """Rows of light with all noise, read out, ADU."""
    electrons = random.poisson(light_adu * GAIN).astype(np.float32)
    if capacity_adu > 0:
        electrons = defer(electrons, 0, round(capacity_adu * GAIN), SHARPNESS, random)
    noise = READ_NOISE * random.standard_normal(electrons.shape)
    return (electrons + noise) / GAIN


def make_pocket_stars(
    mag: np.ndarray,
    is_reserved: np.ndarray,
    *,
    sky_adu: float,
    host_adu: np.ndarray | float,
    capacity_adu: float,
    seed: int,
    coma: float = 0.1,
    brighter_fatter: float = 0.005,
) -> PocketStars:
    """Stars of magnitudes (n,), alone on sky and smooth hosts, in read order.

    `brighter_fatter`: part by which the FWHM grows at 1e5 ADU.
    """
    random = np.random.default_rng(seed)
    n = len(mag)
    flux, host = to_flux(mag), np.broadcast_to(host_adu, n)
    offset = random.uniform(-0.5, 0.5, (n, 2))
    data = np.empty((n, SIZE_PX, SIZE_PX))
    for i in range(n):
        fwhm_px = FWHM_PX * (1 + brighter_fatter * flux[i] / 1e5)
        light = sky_adu + host[i] + flux[i] * draw_psf(*offset[i], fwhm_px, coma)
        data[i] = read(light, capacity_adu, random)[:, BEFORE_PX:]
    corner = random.integers(50, 2950, (n, 2))
    place = corner + SIZE_PX // 2 + offset
    level = sky_adu + host
    first = read(np.full((3000, 40), sky_adu), capacity_adu, random)
    sky = float(first[:, 8:].mean())
    error = first[:, :N_COLUMNS].std(axis=0) / np.sqrt(len(first))
    variance = np.maximum(data, level[:, None, None]) / GAIN + (READ_NOISE / GAIN) ** 2
    stamps = ImageStamps(
        image="ztf_20200924431759_000655_zr_c13_o_q1",
        data=data,
        variance=variance,
        good=np.ones(data.shape, bool),
        sky_adu=level,
        x_px=place[:, 0] + random.normal(0, 0.03, n),
        y_px=place[:, 1] + random.normal(0, 0.03, n),
        x0_px=corner[:, 0],
        y0_px=corner[:, 1],
        is_reserved=is_reserved,
        gain=GAIN,
        read_noise_electron=READ_NOISE,
        nx=NX,
        ny=NY,
        sky_level_adu=sky_adu,
        sky_variance_adu2=float(first[:, 10:].var()),
        pocket=NO_POCKET,
    )
    edge = Edge(first[:, :N_COLUMNS].mean(axis=0), error, sky)
    return PocketStars(stamps, edge, mag, flux, place[:, 0], place[:, 1])
