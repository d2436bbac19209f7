"""Brighter-fatter effect: bright stars, photon by photon, through GalSim's silicon sensor."""

import galsim
import numpy as np
import pandas as pd

from ztfpsf.simulation.detector import Amplifier
from ztfpsf.simulation.psf import TruePsf, centred_psf
from ztfpsf.simulation.sky import SkyScene

SENSOR = "lsst_itl_32"
STAMP_HALF_PX = 40


def shoot_star(
    electrons: np.ndarray,
    psf: TruePsf,
    position: tuple[float, float],
    flux_electron: float,
    strength: float,
    seed: int,
) -> None:
    """Add one star's electrons, Poisson noise included, in place.

    Charge already collected repels what follows (Rowe et al. 2015, section 6; GalSim's
    SiliconSensor, with the pixel shapes of an LSST sensor and `strength` times its effect).
    """
    ny, nx = electrons.shape
    x, y = (int(np.floor(value + 0.5)) for value in position)
    left, right = max(x - STAMP_HALF_PX, 0), min(x + STAMP_HALF_PX, nx - 1)
    bottom, top = max(y - STAMP_HALF_PX, 0), min(y + STAMP_HALF_PX, ny - 1)
    if left > right or bottom > top:
        return
    random = galsim.BaseDeviate(seed)
    stamp = galsim.ImageF(galsim.BoundsI(left, right, bottom, top), scale=1.0)
    centred_psf(psf.settings, *psf.field(*position)).withFlux(flux_electron).drawImage(
        stamp,
        method="phot",
        center=galsim.PositionD(*position),
        rng=random,
        sensor=galsim.SiliconSensor(name=SENSOR, strength=strength, rng=random),
        maxN=1_000_000,
    )
    electrons[bottom : top + 1, left : right + 1] += stamp.array


def add_silicon_stars(
    electrons: np.ndarray,
    scene: SkyScene,
    amplifier: Amplifier,
    strength: float,
    random: np.random.Generator,
) -> None:
    """Shoot the scene's bright stars into the electrons collected so far, in place."""
    stars: pd.DataFrame = scene.stars[scene.stars["silicon"]]
    ny, nx = electrons.shape
    for star in stars.itertuples():
        row, column = np.clip([round(star.y_px), round(star.x_px)], 0, [ny - 1, nx - 1])
        response = float(amplifier.response[row, column])
        flux = star.flux_adu * amplifier.gain * response
        seed = int(random.integers(1, 2**31))
        shoot_star(electrons, scene.psf, (star.x_px, star.y_px), flux, strength, seed)
