"""A simulated series of exposures, drawn by GalSim: stars, and a supernova in a galaxy.

Seeing, clouds with a gradient and the pointing change from exposure to exposure; the truth is what
was drawn.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import galsim
import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.wcs import WCS

from ztfpsf.io import write_fits
from ztfpsf.names import QuadrantName
from ztfpsf.simulation import catalogue
from ztfpsf.simulation.epoch_settings import EpochSettings, list_epochs
from ztfpsf.simulation.headers import Exposure, Photometry, science_cards
from ztfpsf.simulation.scene import SATURATED, add_noise
from ztfpsf.simulation.seeds import generator
from ztfpsf.simulation.wcs import quadrant_wcs_header

SEPARATION_PX = 25.0
# Wings of a Moffat fall as r^-5.8: below a hundredth of the noise of any star here.
STAMP_PX = 64
MEAN_COLOUR_MAG, COLOUR_SCATTER_MAG = 0.8, 0.3
RISE, FALL = 0.25, 0.5  # of the time with light


class Epoch(NamedTuple):
    """One exposure: image, mask, header, and what is true of it."""

    name: QuadrantName
    image: np.ndarray  # (ny, nx) float32 ADU
    mask: np.ndarray  # (ny, nx) int16
    header: fits.Header
    truth: dict[str, Any]


def make_sky(settings: EpochSettings) -> pd.DataFrame:
    """The stars: offset_x_px, offset_y_px from the target; ra, dec (deg), mag, colour_mag."""
    random = generator(settings.seed, "stars")
    margin = 2 * settings.dither_px
    n, size = settings.n_stars, settings.size_px
    place = catalogue.isolated_positions(random, n, size, size, SEPARATION_PX, margin) - size / 2
    # The galaxy has the middle to itself.
    alone = np.hypot(*place.T) > SEPARATION_PX
    limits = settings.brightest_mag, settings.faintest_mag
    mag = catalogue.magnitudes(random, n, *limits, slope=0.2)
    wcs = WCS(_make_wcs(settings, np.zeros(2)))
    ra, dec = wcs.all_pix2world(*(place + (size - 1) / 2).T, 0)
    columns = {"offset_x_px": place[:, 0], "offset_y_px": place[:, 1], "ra": ra, "dec": dec}
    colour = random.normal(MEAN_COLOUR_MAG, COLOUR_SCATTER_MAG, n)
    table = pd.DataFrame({**columns, "mag": mag, "colour_mag": colour})
    return table[alone].reset_index(drop=True)


def find_light(settings: EpochSettings) -> np.ndarray:
    """Flux of the supernova without clouds, (n_epochs,) ADU: a rise and a slower fall."""
    n_with = settings.n_epochs - settings.n_after - settings.first_light_epoch
    phase = (np.arange(settings.n_epochs) - settings.first_light_epoch + 0.5) / n_with
    peak = catalogue.flux_adu(np.array(settings.peak_mag), settings.zeropoint_mag)
    shape = np.where(phase < RISE, phase / RISE, np.exp(-(phase - RISE) / FALL))
    return np.where((phase > 0) & (phase < 1), peak * shape, 0.0)


def simulate_epoch(settings: EpochSettings, number: int) -> Epoch:
    """One exposure, by its number in the order of time."""
    name, stars = list_epochs(settings)[number], make_sky(settings)
    light_adu = float(find_light(settings)[number])
    random = generator(settings.seed, "epoch", number)
    fwhm = random.uniform(*settings.fwhm_px)
    cloud = random.uniform(0.0, settings.cloud_mag)
    gradient = random.normal(0.0, settings.cloud_gradient_mag, 2)
    dither = random.uniform(-settings.dither_px, settings.dither_px, 2)
    size = settings.size_px
    middle = (size - 1) / 2 + dither
    header = _make_wcs(settings, dither)
    place = middle + stars[["offset_x_px", "offset_y_px"]].to_numpy()
    redder = stars["colour_mag"].to_numpy() - MEAN_COLOUR_MAG
    seen = stars["mag"].to_numpy() - settings.colour_term * redder
    flux = catalogue.flux_adu(seen, settings.zeropoint_mag)
    psf = galsim.Moffat(beta=settings.moffat_alpha, fwhm=fwhm)

    def dim(position: np.ndarray) -> np.ndarray:
        return 10 ** (-0.4 * (cloud + (position / (size / 2) - 1.0) @ gradient))

    image = galsim.ImageF(size, size, init_value=0.0)
    for position, adu in zip(place, flux * dim(place), strict=True):
        _draw(image, psf.withFlux(adu), position)
    ratio = float(dim(middle))
    host_adu = float(catalogue.flux_adu(np.array(settings.host_mag), settings.zeropoint_mag))
    galaxy = galsim.Exponential(half_light_radius=settings.host_radius_px, flux=host_adu * ratio)
    centre = middle + np.array([settings.host_distance_px, 0.0])
    _draw(image, galsim.Convolve(galaxy.shear(g1=0.2, g2=0.1), psf), centre)
    if light_adu > 0:
        _draw(image, psf.withFlux(light_adu * ratio), middle)
    photometry = Photometry(
        settings.gain,
        settings.read_noise_electron,
        settings.saturation_adu,
        settings.zeropoint_mag - cloud,
        fwhm,
        settings.sky_adu,
    )
    pixels = add_noise(image.array + np.float32(settings.sky_adu), photometry, random)
    saturated = pixels > settings.saturation_adu
    exposure = Exposure(
        name.filefracday, name.field, name.filtercode, settings.exptime_s, settings.ra_deg,
        settings.dec_deg,
    )  # fmt: skip
    cards = science_cards(exposure, name.ccdid, name.qid, photometry, header)
    truth = {
        "image": str(name),
        "mjd": exposure.mjd + settings.exptime_s / 2 / 86400,
        "flux_adu": light_adu,
        "ratio": ratio,
        "fwhm_px": fwhm,
        "x_px": float(middle[0]),
        "y_px": float(middle[1]),
    }
    return Epoch(name, pixels, np.where(saturated, SATURATED, 0).astype(np.int16), cards, truth)


def _draw(image: galsim.ImageF, thing: galsim.GSObject, position: np.ndarray) -> None:
    """Add an object, integrated over the pixels, at a 0-based position."""
    nearest = np.floor(position + 0.5)
    half = STAMP_PX // 2
    x, y = nearest.astype(int) + 1
    bounds = galsim.BoundsI(x - half, x + half, y - half, y + half)
    stamp = galsim.ImageF(bounds, scale=1.0)
    thing.drawImage(stamp, center=galsim.PositionD(*(position + 1.0)), method="auto")
    overlap = bounds & image.bounds
    if overlap.isDefined():
        image[overlap] += stamp[overlap]


def _make_wcs(settings: EpochSettings, dither: np.ndarray) -> fits.Header:
    """World coordinates that put the target at the middle of the image and the dither."""
    size = settings.size_px
    header = quadrant_wcs_header(
        settings.ccdid, settings.qid, size, size, settings.ra_deg, settings.dec_deg
    )
    header["CRVAL1"], header["CRVAL2"] = settings.ra_deg, settings.dec_deg
    header["CRPIX1"], header["CRPIX2"] = (float(axis) + (size + 1) / 2 for axis in dither)
    return header


def write_epoch(
    epoch: Epoch, path_to_sciimg: str | Path, path_to_mskimg: str | Path, provenance: Mapping
) -> None:
    """Write image and mask in the formats of ZTF's products."""
    for pixels, header, path in (
        (epoch.image, epoch.header, path_to_sciimg),
        (epoch.mask, None, path_to_mskimg),
    ):
        write_fits(fits.HDUList([fits.PrimaryHDU(pixels, header)]), path, provenance)
