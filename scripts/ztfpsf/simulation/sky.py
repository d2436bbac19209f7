"""The light that falls on one quadrant in one exposure."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from astropy.io import fits

from ztfpsf.errors import InputError
from ztfpsf.fits_files import check_file, damage_named
from ztfpsf.simulation import catalogue
from ztfpsf.simulation.drawing import add_stars, stamp_sizes
from ztfpsf.simulation.headers import Exposure, Photometry, noise_adu
from ztfpsf.simulation.psf import FieldMap, TruePsf
from ztfpsf.simulation.seeds import generator
from ztfpsf.simulation.settings import NightSettings
from ztfpsf.simulation.wcs import (
    SCALE_DEG,
    ccd_offset_px,
    from_tangent_plane,
    quadrant_offset_px,
    quadrant_wcs_header,
    sky_to_pixel,
)

# Stars this far outside the quadrant still send light into it.
MARGIN_PX = 60.0


class SkyScene(NamedTuple):
    """Light in ADU of the calibrated image; shapes (ny, nx), float32, stored order."""

    noiseless: np.ndarray  # all stars and the sky
    light_adu: np.ndarray  # the same without the stars that go through the silicon sensor
    stars: pd.DataFrame  # star_id, ra_deg, dec_deg, mag, flux_adu, x_px, y_px, silicon
    psf: TruePsf
    wcs: fits.Header


def quadrant_psf(settings: NightSettings, ccdid: int, qid: int) -> TruePsf:
    """PSF of a quadrant; u and v go from -1 to 1 over the CCD, to the East and to the North.

    ASSUME: optics vary over every CCD in the same way.
    """
    nx, ny = settings.detector.nx, settings.detector.ny
    centre = ccd_offset_px(ccdid)
    east, north = quadrant_offset_px(ccdid, qid, nx, ny)
    u, v = (east - centre[0]) / nx, (north - centre[1]) / ny
    # Stored images have x to the West, y to the South.
    half_x, half_y = (nx - 1) / (2 * nx), (ny - 1) / (2 * ny)
    return TruePsf(settings.psf, FieldMap(u + half_x, -1 / nx, v + half_y, -1 / ny))


@lru_cache(maxsize=4)
def sky_catalogue(settings: NightSettings, ccdid: int) -> pd.DataFrame:
    """Stars on and around a CCD: star_id, ra (deg), dec (deg), mag."""
    if settings.sky.catalogue is not None:
        return _read_catalogue(settings.sky.catalogue)
    random = generator(settings.seed, "catalogue", settings.field_id, ccdid)
    nx, ny, sky = settings.detector.nx, settings.detector.ny, settings.sky
    margin = MARGIN_PX + settings.dither_px
    half = np.array([nx + margin, ny + margin])
    n = round(sky.stars_per_quadrant * 4 * half.prod() / (nx * ny))
    offsets = ccd_offset_px(ccdid) + random.uniform(-half, half, (n, 2))
    east, north = offsets.T * SCALE_DEG
    ra, dec = from_tangent_plane(east, north, settings.ra_deg, settings.dec_deg)
    limits = (sky.brightest_mag, sky.faintest_mag, sky.magnitude_slope)
    mag = catalogue.magnitudes(random, n, *limits)
    return pd.DataFrame({"star_id": np.arange(n), "ra": ra, "dec": dec, "mag": mag})


def _read_catalogue(path: str) -> pd.DataFrame:
    check_file(path, "correct simulate_raw.sky.catalogue")
    with damage_named(path, "give a parquet table"):
        table = pd.read_parquet(path)
    missing = {"ra", "dec", "mag"} - set(table.columns)
    if missing:
        raise InputError(f"{path}: has no column '{min(missing)}'; give ra, dec and mag.")
    table = table[["ra", "dec", "mag"]].reset_index(drop=True)
    table.insert(0, "star_id", table.index)
    return table


def scene_stars(settings: NightSettings, wcs: fits.Header, ccdid: int) -> pd.DataFrame:
    """Truth table of the stars that send light into a quadrant."""
    table = sky_catalogue(settings, ccdid)
    nx, ny = settings.detector.nx, settings.detector.ny
    x, y = sky_to_pixel(wcs, table["ra"].to_numpy(), table["dec"].to_numpy())
    near = (np.abs(x - (nx - 1) / 2) < nx / 2 + MARGIN_PX) & (
        np.abs(y - (ny - 1) / 2) < ny / 2 + MARGIN_PX
    )
    stars = table[near].rename(columns={"ra": "ra_deg", "dec": "dec_deg"}).reset_index(drop=True)
    stars["flux_adu"] = catalogue.flux_adu(stars["mag"].to_numpy(), settings.sky.zeropoint_mag)
    stars["x_px"], stars["y_px"] = x[near], y[near]
    bright = stars["mag"] < settings.sky.brighter_fatter_faintest_mag
    stars["silicon"] = bright & (settings.sky.brighter_fatter > 0)
    return stars


def make_scene(settings: NightSettings, exposure: Exposure, ccdid: int, qid: int) -> SkyScene:
    """Sky and stars of a quadrant."""
    nx, ny, sky = settings.detector.nx, settings.detector.ny, settings.sky
    wcs = quadrant_wcs_header(ccdid, qid, nx, ny, exposure.ra_deg, exposure.dec_deg)
    stars = scene_stars(settings, wcs, ccdid)
    psf = quadrant_psf(settings, ccdid, qid)
    noise = noise_adu(
        Photometry(
            settings.detector.gain,
            settings.detector.read_noise_electron,
            0.0,
            sky.zeropoint_mag,
            0.0,
            sky.sky_adu,
        )
    )
    sizes = stamp_sizes(stars["flux_adu"].to_numpy(), settings.psf.fwhm_px, noise)

    def draw(image: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        x, y, flux = stars[["x_px", "y_px", "flux_adu"]].to_numpy()[chosen].T
        add_stars(image, psf, x, y, flux, sizes[chosen])
        return image

    silicon = stars["silicon"].to_numpy()
    light = draw(np.full((ny, nx), sky.sky_adu, dtype=np.float32), ~silicon)
    noiseless = draw(light.copy(), silicon) if silicon.any() else light
    return SkyScene(noiseless, light, stars, psf, wcs)
