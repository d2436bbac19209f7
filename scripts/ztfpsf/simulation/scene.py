"""One simulated science quadrant: stars, sky and noise, without the effects of raw frames."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.wcs import WCS

from ztfpsf.errors import InputError
from ztfpsf.io import write_fits, write_table
from ztfpsf.names import QuadrantName
from ztfpsf.simulation import catalogue
from ztfpsf.simulation.drawing import add_stars, stamp_sizes
from ztfpsf.simulation.headers import Exposure, Photometry, noise_adu, science_cards
from ztfpsf.simulation.psf import OVERSAMPLING, PsfSettings, TruePsf, quadrant_field
from ztfpsf.simulation.seeds import generator
from ztfpsf.simulation.wcs import quadrant_wcs_header

SATURATED = 256  # bit 8 of ZTF's masks
DEFAULT_NAME = QuadrantName("20200924431759", 655, "zr", 13, 3)


@dataclass(frozen=True)
class SceneSettings:
    """A quadrant of stars; the magnitudes of `n_stars` isolated ones follow 10^(slope m).

    Neighbours are put beside a fraction of the isolated stars, faint stars anywhere.
    """

    nx: int = 3072
    ny: int = 3080
    n_stars: int = 500
    brightest_mag: float = 14.0
    faintest_mag: float = 18.0
    magnitude_slope: float = 0.2
    separation_px: float = 25.0
    edge_px: float = 20.0
    n_faint_stars: int = 0
    faint_limit_mag: float = 21.0
    neighbour_fraction: float = 0.0
    neighbour_magnitude_difference: float = 3.0
    neighbour_distance_px: tuple[float, float] = (2.0, 5.0)
    sky_adu: float = 150.0
    gain: float = 6.2
    read_noise_electron: float = 10.0
    saturation_adu: float = 55000.0
    zeropoint_mag: float = 26.2
    exptime_s: float = 30.0
    ra_deg: float = 55.0608
    dec_deg: float = 33.35
    psf: PsfSettings = field(default_factory=PsfSettings)

    def __post_init__(self) -> None:
        if min(self.nx, self.ny) < 16:
            raise InputError(f"nx, ny are {self.nx}, {self.ny}; give at least 16 px each.")
        if self.faintest_mag < self.brightest_mag or self.faint_limit_mag < self.faintest_mag:
            raise InputError(
                "brightest_mag, faintest_mag and faint_limit_mag must follow in this order; "
                f"they are {self.brightest_mag}, {self.faintest_mag}, {self.faint_limit_mag}."
            )
        if not 0 <= self.neighbour_fraction <= 1:
            raise InputError(
                f"neighbour_fraction is {self.neighbour_fraction}; give a value from 0 to 1."
            )


class SimulatedQuadrant(NamedTuple):
    """A simulated science image and the truth about it."""

    name: QuadrantName
    image: np.ndarray  # (ny, nx) float32, ADU, sky included
    mask: np.ndarray  # (ny, nx) int16, ZTF's bits
    header: fits.Header
    stars: pd.DataFrame  # x_px, y_px, ra_deg, dec_deg, mag, flux_adu, kind
    noiseless: np.ndarray  # (ny, nx) float32, ADU
    psf: TruePsf


def make_stars(settings: SceneSettings, seed: int) -> pd.DataFrame:
    """Truth table; kind is "isolated", "neighbour" or "faint"."""
    random = generator(seed, "stars")
    limits = (settings.brightest_mag, settings.faintest_mag)
    isolated = catalogue.isolated_positions(
        random, settings.n_stars, settings.nx, settings.ny, settings.separation_px, settings.edge_px
    )
    mag = catalogue.magnitudes(random, settings.n_stars, *limits, settings.magnitude_slope)
    n_beside = round(settings.neighbour_fraction * settings.n_stars)
    beside = catalogue.neighbours(random, isolated[:n_beside], settings.neighbour_distance_px)
    faint = random.uniform(
        (-0.5, -0.5), (settings.nx - 0.5, settings.ny - 0.5), (settings.n_faint_stars, 2)
    )
    faint_mag = catalogue.magnitudes(
        random,
        settings.n_faint_stars,
        settings.faintest_mag,
        settings.faint_limit_mag,
        settings.magnitude_slope,
    )
    stars = pd.DataFrame(np.concatenate([isolated, beside, faint]), columns=["x_px", "y_px"])
    stars["mag"] = np.concatenate(
        [mag, mag[:n_beside] + settings.neighbour_magnitude_difference, faint_mag]
    )
    stars["flux_adu"] = catalogue.flux_adu(stars["mag"].to_numpy(), settings.zeropoint_mag)
    sizes = (len(isolated), n_beside, len(faint))
    stars["kind"] = np.repeat(["isolated", "neighbour", "faint"], sizes)
    return stars


def seeing_px(psf: TruePsf, x_px: float, y_px: float) -> float:
    """FWHM of the pixel-integrated PSF: of the disc with the area above half of the peak."""
    image = psf.oversampled(x_px, y_px, OVERSAMPLING)
    area = np.count_nonzero(image > image.max() / 2) / OVERSAMPLING**2
    return float(np.sqrt(4 * area / np.pi))


def simulate_quadrant(
    settings: SceneSettings, seed: int, name: QuadrantName = DEFAULT_NAME
) -> SimulatedQuadrant:
    """A science quadrant with Poisson and read noise, its header and its truth."""
    nx, ny = settings.nx, settings.ny
    psf = TruePsf(settings.psf, quadrant_field(nx, ny))
    photometry = Photometry(
        settings.gain,
        settings.read_noise_electron,
        settings.saturation_adu,
        settings.zeropoint_mag,
        seeing_px(psf, nx / 2, ny / 2),
        settings.sky_adu,
    )
    stars = make_stars(settings, seed)
    noiseless = np.full((ny, nx), settings.sky_adu, dtype=np.float32)
    x, y, flux = (stars[key].to_numpy() for key in ("x_px", "y_px", "flux_adu"))
    sizes = stamp_sizes(flux, settings.psf.fwhm_px, noise_adu(photometry))
    add_stars(noiseless, psf, x, y, flux, sizes)
    image = add_noise(noiseless, photometry, generator(seed, "noise"))
    saturated = image > settings.saturation_adu
    image[saturated] = settings.saturation_adu
    wcs = quadrant_wcs_header(name.ccdid, name.qid, nx, ny, settings.ra_deg, settings.dec_deg)
    stars["ra_deg"], stars["dec_deg"] = WCS(wcs).all_pix2world(x, y, 0)
    exposure = Exposure(
        name.filefracday,
        name.field,
        name.filtercode,
        settings.exptime_s,
        settings.ra_deg,
        settings.dec_deg,
    )
    header = science_cards(exposure, name.ccdid, name.qid, photometry, wcs)
    mask = np.where(saturated, SATURATED, 0).astype(np.int16)
    return SimulatedQuadrant(name, image, mask, header, stars, noiseless, psf)


def add_noise(
    noiseless_adu: np.ndarray, photometry: Photometry, random: np.random.Generator
) -> np.ndarray:
    """Photon and read noise, float32 ADU."""
    electrons = random.poisson(np.maximum(noiseless_adu, 0) * np.float64(photometry.gain))
    noise = random.standard_normal(noiseless_adu.shape, dtype=np.float32)
    noise *= np.float32(photometry.read_noise_electron)
    noise += electrons.astype(np.float32)
    noise /= np.float32(photometry.gain)
    return noise


def write_quadrant(
    quadrant: SimulatedQuadrant,
    path_to_sciimg: str | Path,
    path_to_mskimg: str | Path,
    path_to_stars: str | Path,
    provenance: Mapping[str, Any],
) -> None:
    """Write image, mask and truth table in the formats of ZTF's products."""
    hdu = fits.PrimaryHDU(quadrant.image, quadrant.header)
    write_fits(fits.HDUList([hdu]), path_to_sciimg, provenance)
    write_fits(fits.HDUList([fits.PrimaryHDU(quadrant.mask)]), path_to_mskimg, provenance)
    write_table(quadrant.stars, path_to_stars, provenance)
