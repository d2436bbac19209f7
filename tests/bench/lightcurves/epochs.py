"""Epochs of one field: stamps of stars and of supernovae in galaxies, and the truth.

PSFs, galaxies and refraction are GalSim's: Kolmogorov seeing, sheared and lopsided, linear in the
place in the field, anew in each epoch. A PSF is drawn once per epoch, four times finer than the
pixel and integrated over it; cubic splines give stars at any place. A galaxy is a Sersic profile
with a nucleus on the fine grid, convolved with the PSF. Stars move, the pointing, turn and scale of
the camera change, and air refracts blue light more. Nothing of ztfpsf's models is in it, unless
PSFs of its own are asked for, as the case in which the true PSF is known.
"""

from typing import NamedTuple

import galsim
import numpy as np
from galsim import dcr
from scipy.ndimage import map_coordinates, spline_filter
from scipy.signal import fftconvolve
from ztfpsf.noise import Noise, read_variance
from ztfpsf.psf import Psf
from ztfpsf.psf.models import get_model
from ztfpsf.psf.product.sampling import draw_oversampled

GAIN, READ_NOISE, SKY_ADU, ZERO_POINT_MAG = 6.2, 9.5, 150.0, 26.2
NOISE = Noise(GAIN, read_variance(READ_NOISE, GAIN))
FIELD_PX, SIZE_PX, FINE, HALF_PX = 1024, 25, 4, 36
N_STARS, PEAK_MAG = 80, 16.0
# Magnitude of the galaxy, Sersic index, half-light radius in px, distance of the supernova from the
# middle in half-light radii.
HOSTS = (
    (99.0, 1.0, 2.5, 0.0),
    (20.0, 1.0, 2.5, 1.0),
    (19.0, 4.0, 2.0, 1.0),
    (18.0, 1.0, 3.0, 0.0),
    (18.0, 1.0, 3.0, 2.0),
    (17.0, 2.0, 2.5, 1.0),
    (16.0, 1.0, 4.0, 1.0),
    (16.0, 4.0, 2.5, 2.0),
)
REPEATS = 3
TARGETS = tuple(host for host in HOSTS for _ in range(REPEATS))
NUCLEUS = 0.1  # of the galaxy's light
PX_PER_ARCSEC = 1 / 1.0126
STEP_DAYS = 3.0
DEC_DEG, LATITUDE_DEG = 35.75, 33.36
LARGEST_HOUR_ANGLE_DEG = 65.0
# Of motions, arcsec/yr; every tenth star has ten times as much.
MOTION_ARCSEC_YR = 0.01
COLOUR_MAG, COLOUR_SCATTER_MAG = 0.8, 0.3
# Effective wavelength in g at the mean colour, and how it changes with colour; pressure in kPa.
WAVELENGTH_NM, WAVELENGTH_NM_MAG, PRESSURE_KPA = 480.0, 10.0, 83.0


class Epochs(NamedTuple):
    """E epochs of n objects: N_STARS stars, then the supernovae, TARGETS."""

    data: np.ndarray  # (E, n, S, S) float32 ADU
    corner_px: np.ndarray  # (E, n, 2)
    position_px: np.ndarray  # (E, n, 2)
    sky_arcsec: np.ndarray  # (n, 2) East and North in the tangent plane in the middle of the time
    motion_arcsec_yr: np.ndarray  # (n, 2)
    colour_mag: np.ndarray  # (n,) hosts have the mean one
    time_yr: np.ndarray  # (E,) from the middle
    airmass: np.ndarray  # (E,)
    parallactic_deg: np.ndarray  # (E,)
    axes: np.ndarray  # (E, 2, 2) d(x, y) / d(east, north), px/arcsec
    flux_adu: np.ndarray  # (E, n) without clouds
    ratio: np.ndarray  # (E, n) clouds at the object
    fwhm_px: np.ndarray  # (E,)
    psfs: list[Psf | None]  # E, the truth where the PSF is one of ztfpsf's


def find_flux(mag: np.ndarray) -> np.ndarray:
    return 10 ** (-0.4 * (np.asarray(mag) - ZERO_POINT_MAG))


def make_light_curve(n_epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """Flux of a supernova, and whether its dates are over: a third before, a tenth after.

    Within the dates the first third has no light yet.
    """
    phase = np.linspace(0.0, 1.0, n_epochs)
    in_baseline = (phase < 0.33) | (phase > 0.9)
    rise = np.clip((phase - 0.52) / 0.08, 0.0, 1.0)
    flux = find_flux(PEAK_MAG) * rise * np.exp(-np.clip(phase - 0.6, 0, None) / 0.15)
    return np.where(in_baseline, 0.0, flux), in_baseline


def simulate(n_epochs: int, seed: int, kind: str) -> Epochs:
    """`kind`: galsim, or moffat for PSFs that a model of ztfpsf describes exactly."""
    random = np.random.default_rng(seed)
    sky = np.concatenate(
        [random.uniform(-450, 450, (N_STARS, 2)), random.uniform(-200, 200, (len(TARGETS), 2))]
    )
    motion = np.zeros(sky.shape)
    motion[:N_STARS] = random.normal(0, MOTION_ARCSEC_YR, (N_STARS, 2))
    motion[:N_STARS:10] *= 10
    mag = 14.5 + 3.5 * random.power(2.5, N_STARS)
    mag[:8] = PEAK_MAG  # of the brightness of the supernovae
    n = len(sky)
    flux = np.concatenate(
        [
            np.broadcast_to(find_flux(mag), (n_epochs, N_STARS)),
            np.repeat(make_light_curve(n_epochs)[0][:, None], len(TARGETS), axis=1),
        ],
        axis=1,
    )
    galaxies = [_draw_galaxy(*host) for host in TARGETS]
    epochs = Epochs(
        np.zeros((n_epochs, n, SIZE_PX, SIZE_PX), np.float32),
        np.zeros((n_epochs, n, 2), int),
        np.zeros((n_epochs, n, 2)),
        sky,
        motion,
        random.normal(COLOUR_MAG, COLOUR_SCATTER_MAG, n),
        (np.arange(n_epochs) - (n_epochs - 1) / 2) * STEP_DAYS / 365.25,
        *_draw_airmass(n_epochs, random),
        _draw_axes(n_epochs, random),
        flux,
        np.zeros((n_epochs, n)),
        1.2 + 2.8 * random.beta(2, 4, n_epochs),
        [],
    )
    for e in range(n_epochs):
        _fill(epochs, e, galaxies, kind, random)
    return epochs


def _fill(
    epochs: Epochs, e: int, galaxies: list[np.ndarray], kind: str, random: np.random.Generator
) -> None:
    dither = random.uniform(-8, 8, 2)
    sky = epochs.sky_arcsec + epochs.time_yr[e] * epochs.motion_arcsec_yr
    refraction = _refract(epochs.colour_mag, epochs.airmass[e], epochs.parallactic_deg[e])
    # Galaxies have the mean colour.
    hosts = FIELD_PX / 2 + dither + sky @ epochs.axes[e].T
    position = hosts + refraction @ epochs.axes[e].T
    u = 2 * position / FIELD_PX - 1
    cloud, slope = random.uniform(0, 0.5), random.normal(0, 0.01, 2)
    epochs.ratio[e] = 10 ** (-0.4 * (cloud + u @ slope))
    corner = np.floor(position + 0.5).astype(int) - SIZE_PX // 2
    epochs.position_px[e], epochs.corner_px[e] = position, corner
    planes, psf = _draw_psf(epochs.fwhm_px[e], kind, e, random)
    epochs.psfs.append(psf)
    terms = np.column_stack([np.ones(len(u)), u])[:, : len(planes)]
    splines = [spline_filter(plane, 3) for plane in planes]
    for k, place in enumerate(position):
        at = place - corner[k]
        light = epochs.flux_adu[e, k] * sum(
            t * _sample(s, at) for t, s in zip(terms[k], splines, strict=True)
        )
        if k >= N_STARS:
            local = sum(t * p for t, p in zip(terms[k], planes, strict=True))
            wide = fftconvolve(local, galaxies[k - N_STARS], mode="same")
            light = light + _sample(spline_filter(wide, 3), hosts[k] - corner[k])
        expected = SKY_ADU + epochs.ratio[e, k] * light
        electrons = random.poisson(np.maximum(expected, 0) * GAIN)
        noise = random.normal(0.0, READ_NOISE, expected.shape)
        epochs.data[e, k] = (electrons + noise) / GAIN


def _draw_airmass(n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Airmass and parallactic angle (deg) at n hour angles."""
    place = galsim.CelestialCoord(0 * galsim.degrees, DEC_DEG * galsim.degrees)
    angles = [
        dcr.zenith_parallactic_angles(
            place, HA=hour_angle * galsim.degrees, latitude=LATITUDE_DEG * galsim.degrees
        )
        for hour_angle in random.uniform(-1, 1, n) * LARGEST_HOUR_ANGLE_DEG
    ]
    zenith, parallactic = np.array([[one.rad for one in pair] for pair in angles]).T
    return 1 / np.cos(zenith), np.degrees(parallactic)


def _draw_axes(n: int, random: np.random.Generator) -> np.ndarray:
    """Stored images have x to the West; turn and scale change a little."""
    turn, scale = random.normal(0, 2e-4, n), 1 + random.normal(0, 5e-5, n)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    rotation = np.moveaxis(rotation * scale * PX_PER_ARCSEC, -1, 0)
    return rotation @ np.diag([-1.0, 1.0])


def _refract(colour_mag: np.ndarray, airmass: float, parallactic_deg: float) -> np.ndarray:
    """Shift to the East and North against the mean colour, arcsec, (n, 2)."""
    zenith, angle = np.arccos(1 / airmass), np.radians(parallactic_deg)
    wavelength = WAVELENGTH_NM + WAVELENGTH_NM_MAG * np.append(colour_mag - COLOUR_MAG, 0.0)
    lifted = [
        dcr.get_refraction(nm, zenith * galsim.radians, pressure=PRESSURE_KPA) for nm in wavelength
    ]
    size = np.degrees(np.array(lifted[:-1]) - lifted[-1]) * 3600
    return size[:, None] * np.array([np.sin(angle), np.cos(angle)])


def _sample(spline: np.ndarray, at: np.ndarray) -> np.ndarray:
    """A picture of FINE samples per pixel, centred on a place of a stamp, at its pixels."""
    step = np.arange(SIZE_PX)
    middle = spline.shape[0] // 2
    rows, columns = np.meshgrid(
        middle + FINE * (step - at[1]), middle + FINE * (step - at[0]), indexing="ij"
    )
    return map_coordinates(spline, [rows, columns], order=3, prefilter=False)


def _draw_psf(
    fwhm_px: float, kind: str, number: int, random: np.random.Generator
) -> tuple[list[np.ndarray], Psf | None]:
    """Integrated over the pixel: the mean, and its change with x and y of the field."""
    g = random.normal(0, 0.02, 2)
    if kind == "moffat":
        params = [np.log(fwhm_px), np.log(2.0), *(2 * g)]
        psf = Psf(
            f"ztf_2020{number:010d}_000655_zr_c13_o_q3", get_model("moffat"),
            np.array(params)[:, None], np.eye(4) * 1e-9, 0, FIELD_PX, FIELD_PX, NOISE, 0.0,
        )  # fmt: skip
        middle = np.array([FIELD_PX / 2])
        return [draw_oversampled(psf, middle, middle, FINE, HALF_PX)[0]], psf
    slopes = random.normal(0, 0.01, (2, 3))

    def draw(change: np.ndarray) -> np.ndarray:
        core = galsim.Kolmogorov(fwhm=fwhm_px * (1 + change[0]), flux=0.93)
        halo = galsim.Kolmogorov(fwhm=1.3 * fwhm_px, flux=0.07).shift(0.1 * fwhm_px, 0.05 * fwhm_px)
        seeing = galsim.Add(core, halo).shear(g1=g[0] + change[1], g2=g[1] + change[2])
        integrated = galsim.Convolve(seeing, galsim.Gaussian(sigma=0.25), galsim.Pixel(1.0))
        size = 2 * FINE * HALF_PX + 1
        image = integrated.drawImage(
            nx=size, ny=size, scale=1 / FINE, method="no_pixel", dtype=float
        )
        return image.array * FINE**2

    mean = draw(np.zeros(3))
    return [mean, *(draw(slope) - mean for slope in slopes)], None


def _draw_galaxy(mag: float, index: float, radius_px: float, distance: float) -> np.ndarray:
    """Light of each point of the fine grid, ADU; the supernova is at the middle."""
    flux = float(find_flux(mag))
    shift = distance * radius_px * np.array([0.8, 0.6])
    disc = galsim.Sersic(index, half_light_radius=radius_px, flux=(1 - NUCLEUS) * flux)
    size = 2 * FINE * HALF_PX + 1
    image = disc.shear(g1=0.2, g2=-0.1).shift(*shift).drawImage(
        nx=size, ny=size, scale=1 / FINE, dtype=float
    )  # fmt: skip
    light = image.array
    x, y = np.floor(FINE * shift + 0.5).astype(int) + size // 2
    light[y, x] += NUCLEUS * flux
    return light
