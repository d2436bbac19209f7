"""Scenes with a known answer, drawn star by star with the PSFs of the product."""

from typing import NamedTuple

import numpy as np
from ztfpsf.lightcurve.scene import OK, Scene
from ztfpsf.noise import Noise, model_variance, read_variance
from ztfpsf.psf import Psf
from ztfpsf.psf.models import get_model

GAIN, READ_NOISE, SKY_ADU = 6.0, 9.0, 150.0
CONSTANT_ADU2 = read_variance(READ_NOISE, GAIN)
PX_PER_ARCSEC = 0.99
NX, NY = 400, 300


class Truth(NamedTuple):
    """What is in the stamps."""

    scene: Scene
    light: np.ndarray  # (E, S, S) ADU without noise
    flux_adu: np.ndarray  # (E,) common scale
    shift_arcsec: np.ndarray  # (2,)


def make_psf(fwhm_px: float, number: int = 0) -> Psf:
    """A slightly elliptical Moffat, the same over the image."""
    profile = np.array([[np.log(fwhm_px)], [np.log(2.0)], [0.05], [-0.03]])
    noise = Noise(GAIN, CONSTANT_ADU2)
    return Psf(f"image {number}", get_model("moffat"), profile, np.eye(4), 0, NX, NY, noise, 0.0)


def make_truth(
    seed: int,
    n: int = 30,
    size_px: int = 15,
    flux_adu: float = 3000.0,
    host: dict[tuple[int, int], float] | None = None,
    shift_arcsec: tuple[float, float] = (0.0, 0.0),
    baseline: float = 0.5,
) -> Truth:
    """Exposures with seeing 1.5-3 px, dithers and clouds; a flux that rises and falls.

    `host`: flux of points, offsets (x, y) in px of the grid; `baseline`: part without flux.
    """
    random = np.random.default_rng(seed)
    psfs = [make_psf(fwhm, e) for e, fwhm in enumerate(random.uniform(1.5, 3.0, n))]
    position = random.uniform(50, 250, (n, 2))
    half = size_px // 2
    corner = np.floor(position + 0.5).astype(int) - half
    ratio = 10 ** (-0.4 * random.uniform(0.0, 0.5, n))
    phase = np.linspace(0.0, 1.0, n)
    in_baseline = phase < baseline
    flux = np.where(in_baseline, 0.0, flux_adu * np.sin(np.pi * (phase - baseline) / 0.6) ** 2)
    jacobian = np.broadcast_to(np.array([[-1.0, 0.02], [0.02, 1.0]]) * PX_PER_ARCSEC, (n, 2, 2))
    light = np.full((n, size_px, size_px), SKY_ADU)
    shift = jacobian[0] @ np.array(shift_arcsec)
    for e, psf in enumerate(psfs):
        sources = [((float(shift[0]), float(shift[1])), flux[e]), *(host or {}).items()]
        for (dx, dy), adu in sources:
            if adu:
                at = position[e] + (dx, dy)
                light[e] += ratio[e] * adu * draw(psf, at, corner[e], size_px)
    scene = Scene(
        name="target",
        data=light,
        is_masked=np.zeros(light.shape, bool),
        constant_adu2=np.full((n, 1, 1), CONSTANT_ADU2),
        sky_adu=np.full(n, SKY_ADU),
        gain=np.full(n, GAIN),
        corner_px=corner,
        position_px=position,
        position_error_px=np.zeros(n),
        jacobian=jacobian,
        ratio=ratio,
        ratio_error=np.zeros(n),
        in_baseline=in_baseline,
        time_yr=4.0 * phase,
        psfs=psfs,
        status=[OK] * n,
    )
    return Truth(scene, light, flux, np.array(shift_arcsec))


def draw(psf: Psf, position_px: np.ndarray, corner_px: np.ndarray, size_px: int) -> np.ndarray:
    """PSF of flux 1 at a place of the image on the stamp of a corner."""
    wide = 4 * size_px + 1
    stamp = psf.stamp(*position_px, wide)
    x, y = corner_px - np.floor(position_px + 0.5).astype(int) + wide // 2
    return stamp[y : y + size_px, x : x + size_px]


def make_blob(radius: int, flux_adu: float) -> dict[tuple[int, int], float]:
    """Points of an exponential disc with a nucleus beside the middle."""
    step = range(-radius, radius + 1)
    points = {
        (x, y): flux_adu * np.exp(-np.hypot(x - 1, y + 0.5) / 2.0)
        for x in step
        for y in step
        if x * x + y * y <= radius * radius
    }
    return points | {(2, -1): 5 * flux_adu}


def add_noise(truth: Truth, seed: int) -> Scene:
    """With photons and read-out."""
    random = np.random.default_rng(seed)
    sigma = np.sqrt(model_variance(truth.light, np.zeros(()), GAIN, CONSTANT_ADU2))
    data = truth.light + sigma * random.standard_normal(truth.light.shape)
    return truth.scene._replace(data=data)
