"""A simulated series of exposures, drawn by GalSim: stars, and a supernova in a galaxy.

Seeing and the ellipticity of the PSF, both with a gradient, clouds with a gradient and the pointing
change from exposure to exposure. Stars move, and air refracts them by their colours. The truth is
what was drawn.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import galsim
import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.wcs import WCS
from galsim import dcr

from ztfpsf.io import write_fits
from ztfpsf.names import QuadrantName
from ztfpsf.simulation import catalogue
from ztfpsf.simulation.epoch_settings import (
    LATITUDE_DEG,
    EpochSettings,
    find_hour_angle_deg,
    list_epochs,
)
from ztfpsf.simulation.headers import Exposure, Photometry, science_cards
from ztfpsf.simulation.scene import SATURATED, add_noise
from ztfpsf.simulation.seeds import generator
from ztfpsf.simulation.wcs import quadrant_wcs_header

SEPARATION_PX = 25.0
# Wings of a Moffat fall as r^-5.8: below a hundredth of the noise of any star here.
STAMP_PX = 64
MEAN_COLOUR_MAG, COLOUR_SCATTER_MAG = 0.8, 0.3
RISE, FALL = 0.25, 0.5  # of the time with light
PRESSURE_KPA = 83.0  # at 1700 m
DAYS_YR = 1 / 365.25
CATALOGUE_ERROR_MAG = 0.005


class Epoch(NamedTuple):
    """One exposure: image, mask, header, and what is true of it."""

    name: QuadrantName
    image: np.ndarray  # (ny, nx) float32 ADU
    mask: np.ndarray  # (ny, nx) int16
    header: fits.Header
    truth: dict[str, Any]


def make_sky(settings: EpochSettings) -> pd.DataFrame:
    """The stars in the middle of the time: offset_x_px, offset_y_px from the target; ra, dec (deg).

    mag, colour_mag, and the motion pmra_mas_yr, pmdec_mas_yr.
    """
    random = generator(settings.seed, "stars")
    margin = 2 * settings.dither_px
    n, size = settings.n_stars, settings.size_px
    place = catalogue.isolated_positions(random, n, size, size, SEPARATION_PX, margin) - size / 2
    # The galaxy has the middle to itself.
    alone = np.hypot(*place.T) > SEPARATION_PX
    limits = settings.brightest_mag, settings.faintest_mag
    mag = catalogue.magnitudes(random, n, *limits, slope=0.2)
    header = _make_wcs(settings, np.zeros(2))
    ra, dec = WCS(header).all_pix2world(*(place + _find_middle(settings, header)).T, 0)
    columns = {"offset_x_px": place[:, 0], "offset_y_px": place[:, 1], "ra": ra, "dec": dec}
    colour = random.normal(MEAN_COLOUR_MAG, COLOUR_SCATTER_MAG, n)
    motion = random.normal(0.0, settings.motion_mas_yr, (2, n))
    motion[:, ::10] *= 10.0
    columns |= {"pmra_mas_yr": motion[0], "pmdec_mas_yr": motion[1]}
    table = pd.DataFrame({**columns, "mag": mag, "colour_mag": colour})
    return table[alone].reset_index(drop=True)


def make_catalogue(settings: EpochSettings) -> pd.DataFrame:
    """The stars as a catalogue has them: with mag_error, which mag is off by."""
    sky = make_sky(settings)
    random = generator(settings.seed, "catalogue")
    off = random.normal(0.0, CATALOGUE_ERROR_MAG, len(sky))
    return sky.assign(mag=sky["mag"] + off, mag_error=CATALOGUE_ERROR_MAG)


def find_light(settings: EpochSettings) -> np.ndarray:
    """Flux of the supernova without clouds, (n_epochs,) ADU: a rise and a slower fall."""
    n_with = settings.n_epochs - settings.n_after - settings.first_light_epoch
    phase = (np.arange(settings.n_epochs) - settings.first_light_epoch + 0.5) / n_with
    peak = catalogue.flux_adu(np.array(settings.peak_mag), settings.zeropoint_mag)
    shape = np.where(phase < RISE, phase / RISE, np.exp(-(phase - RISE) / FALL))
    return np.where((phase > 0) & (phase < 1), peak * shape, 0.0)


class Seeing(NamedTuple):
    """The PSF of an exposure, linear in the place."""

    fwhm_px: float
    shear: np.ndarray  # (2,)
    slope: np.ndarray  # (3, 2) of ln FWHM and the shear, from the centre to the edge
    moffat_alpha: float

    def at(self, u: np.ndarray) -> galsim.GSObject:
        """At a place, -1 .. 1 over the image."""
        size, *change = self.slope @ u
        g1, g2 = self.shear + change
        profile = galsim.Moffat(beta=self.moffat_alpha, fwhm=self.fwhm_px * np.exp(size))
        return profile.shear(g1=g1, g2=g2)


def simulate_epoch(settings: EpochSettings, number: int) -> Epoch:
    """One exposure, by its number in the order of time."""
    name, stars = list_epochs(settings)[number], make_sky(settings)
    light_adu = float(find_light(settings)[number])
    random = generator(settings.seed, "epoch", number)
    seeing = Seeing(
        random.uniform(*settings.fwhm_px),
        random.normal(0.0, settings.ellipticity, 2),
        random.normal(0.0, settings.psf_gradient, (3, 2)),
        settings.moffat_alpha,
    )
    cloud = random.uniform(0.0, settings.cloud_mag)
    gradient = random.normal(0.0, settings.cloud_gradient_mag, 2)
    dither = random.uniform(-settings.dither_px, settings.dither_px, 2)
    size = settings.size_px
    header = _make_wcs(settings, dither)
    middle = _find_middle(settings, header)
    to_pixels = np.linalg.inv(WCS(header).wcs.cd) / 3600  # px/arcsec
    target_px = middle + to_pixels @ _refract(settings, np.array([settings.colour_mag]), number)[0]
    moved = _move(settings, stars, number) @ to_pixels.T
    place = middle + stars[["offset_x_px", "offset_y_px"]].to_numpy() + moved
    redder = stars["colour_mag"].to_numpy() - MEAN_COLOUR_MAG
    seen = stars["mag"].to_numpy() - settings.colour_term * redder
    flux = catalogue.flux_adu(seen, settings.zeropoint_mag)

    def scale(position: np.ndarray) -> np.ndarray:
        return (2.0 * position + 1.0) / size - 1.0

    def dim(position: np.ndarray) -> np.ndarray:
        return 10 ** (-0.4 * (cloud + scale(position) @ gradient))

    image = galsim.ImageF(size, size, init_value=0.0)
    for position, adu in zip(place, flux * dim(place), strict=True):
        _draw(image, seeing.at(scale(position)).withFlux(adu), position)
    ratio, psf = float(dim(middle)), seeing.at(scale(middle))
    host_adu = float(catalogue.flux_adu(np.array(settings.host_mag), settings.zeropoint_mag))
    galaxy = galsim.Exponential(half_light_radius=settings.host_radius_px, flux=host_adu * ratio)
    centre = middle + np.array([settings.host_distance_px, 0.0])
    _draw(image, galsim.Convolve(galaxy.shear(g1=0.2, g2=0.1), psf), centre)
    if light_adu > 0:
        _draw(image, psf.withFlux(light_adu * ratio), target_px)
    photometry = Photometry(
        settings.gain,
        settings.read_noise_electron,
        settings.saturation_adu,
        settings.zeropoint_mag - cloud,
        seeing.fwhm_px,
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
        "fwhm_px": seeing.fwhm_px,
        "x_px": float(target_px[0]),
        "y_px": float(target_px[1]),
    }
    return Epoch(name, pixels, np.where(saturated, SATURATED, 0).astype(np.int16), cards, truth)


def _move(settings: EpochSettings, stars: pd.DataFrame, number: int) -> np.ndarray:
    """Where the stars are in an exposure against the sky, East and North, arcsec, (n, 2)."""
    years = (number - (settings.n_epochs - 1) / 2) * settings.step_days * DAYS_YR
    motion = stars[["pmra_mas_yr", "pmdec_mas_yr"]].to_numpy() / 1e3
    return years * motion + _refract(settings, stars["colour_mag"].to_numpy(), number)


def _refract(settings: EpochSettings, colour_mag: np.ndarray, number: int) -> np.ndarray:
    """Shift by refraction against the mean colour, East and North, arcsec, (n, 2)."""
    place = galsim.CelestialCoord(0 * galsim.degrees, settings.dec_deg * galsim.degrees)
    zenith, parallactic = dcr.zenith_parallactic_angles(
        place,
        HA=find_hour_angle_deg(number) * galsim.degrees,
        latitude=LATITUDE_DEG * galsim.degrees,
    )
    redder = np.append(colour_mag - MEAN_COLOUR_MAG, 0.0)
    lifted = [
        dcr.get_refraction(nm, zenith, pressure=PRESSURE_KPA)
        for nm in settings.wavelength_nm + settings.wavelength_slope_nm * redder
    ]
    size_arcsec = np.degrees(np.array(lifted[:-1]) - lifted[-1]) * 3600
    return size_arcsec[:, None] * np.array([np.sin(parallactic.rad), np.cos(parallactic.rad)])


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


def _find_middle(settings: EpochSettings, header: fits.Header) -> np.ndarray:
    """Where the place of the target is, (2,) px; distortion moves it from CRPIX by 0.05 px."""
    place = WCS(header).all_world2pix(settings.ra_deg, settings.dec_deg, 0)
    return np.array([float(axis) for axis in place])


def write_epoch(
    epoch: Epoch, path_to_sciimg: str | Path, path_to_mskimg: str | Path, provenance: Mapping
) -> None:
    """Write image and mask in the formats of ZTF's products."""
    for pixels, header, path in (
        (epoch.image, epoch.header, path_to_sciimg),
        (epoch.mask, None, path_to_mskimg),
    ):
        write_fits(fits.HDUList([fits.PrimaryHDU(pixels, header)]), path, provenance)
