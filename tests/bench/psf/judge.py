"""One judge for all codes: it sees drawn PSFs and the reserved stars, nothing else.

A drawn PSF is the light of a whole pixel at every 1/oversampling px from the star's centre, as the
code itself centres and normalises it. Quintic splines give the values between the samples.
"""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.interpolate import RectBivariateSpline
from star_sets import HALF_SIZE_PX, OVERSAMPLING, Stars, Truth
from ztfpsf.noise import model_variance, read_variance
from ztfpsf.psf.profile.star import CORE_RADIUS_PX
from ztfpsf.robust import mad_sigma
from ztfpsf.simulation.comparison import compare_psf
from ztfpsf.simulation.headers import Photometry
from ztfpsf.simulation.psf import true_psf
from ztfpsf.simulation.scene import add_noise

MAGNITUDES = (14.0, 15.0, 16.0, 17.0, 18.0)
REALISATIONS = 10  # of the noise of each simulated star
SEED = 4303
ROUNDS = 3  # of the variance, which follows from the model
STEPS = 12
TOLERANCE_PX = 1e-6
SPLINE_DEGREE = 5


class StarFit(NamedTuple):
    """Least squares of one star at fixed PSF."""

    x_px: float  # in the stamp
    y_px: float
    flux_adu: float
    background_adu: float
    x_error_px: float
    y_error_px: float
    flux_error_adu: float
    core_chi2: float


def to_splines(images: np.ndarray) -> list[RectBivariateSpline]:
    """Drawn PSFs as functions of (dy, dx) in px."""
    n = OVERSAMPLING * HALF_SIZE_PX
    offset = np.arange(-n, n + 1) / OVERSAMPLING
    return [
        RectBivariateSpline(offset, offset, image, kx=SPLINE_DEGREE, ky=SPLINE_DEGREE)
        for image in images.astype(float)
    ]


def fit_star(
    psf: RectBivariateSpline,
    data: np.ndarray,
    good: np.ndarray,
    start: np.ndarray,
    sky_adu: float,
    gain: float,
    read_noise_electron: float,
) -> StarFit:
    """Gauss-Newton for x, y, flux and background; `data`, `good`: (S, S), start: (4,)."""
    star, steps = np.array(start, float), np.arange(len(data))
    constant_adu2 = read_variance(read_noise_electron, gain)
    variance = model_variance(data, np.float64(sky_adu), gain, constant_adu2)
    for _ in range(ROUNDS):
        weight = good / variance
        for _ in range(STEPS):
            columns = _columns(psf, star, steps)
            matrix = np.einsum("kij,lij,ij->kl", columns, columns, weight)
            residual = data - star[2] * columns[2] - star[3]
            step = np.linalg.solve(matrix, np.einsum("kij,ij,ij->k", columns, weight, residual))
            step[:2] = np.clip(step[:2], -0.5, 0.5)
            star += step
            if np.abs(step[:2]).max() < TOLERANCE_PX:
                break
        model = star[2] * columns[2] + star[3]
        variance = model_variance(model, np.float64(sky_adu), gain, constant_adu2)
    core = good & (np.hypot(steps - star[0], (steps - star[1])[:, None]) <= CORE_RADIUS_PX)
    chi2 = np.mean((data - model)[core] ** 2 / variance[core])
    errors = np.sqrt(np.diag(np.linalg.inv(matrix)))[:3]
    return StarFit(*star, *errors, chi2)


def _columns(psf: RectBivariateSpline, star: np.ndarray, steps: np.ndarray) -> np.ndarray:
    dx, dy = steps - star[0], steps - star[1]
    value = psf(dy, dx)
    slopes = [-star[2] * psf(dy, dx, dy=1), -star[2] * psf(dy, dx, dx=1)]
    return np.stack([*slopes, value, np.ones_like(value)])


def _start(data: np.ndarray, good: np.ndarray, sky_adu: float, x: float, y: float) -> np.ndarray:
    return np.array([x, y, np.sum((data - sky_adu) * good), sky_adu])


def fit_stars(
    splines: list[RectBivariateSpline], stars: Stars, data: np.ndarray, good: np.ndarray
) -> list[StarFit]:
    """The reserved stars, each with the PSF drawn at its place; `data`, `good`: (n, S, S)."""
    table = stars.stamps.stars[stars.reserved]
    image = stars.stamps.images.iloc[0]
    columns = (table[key].to_numpy(float) for key in ("x_px", "y_px", "x0_px", "y0_px", "sky_adu"))
    fits = []
    for psf, stamp, use, (x, y, x0, y0, sky) in zip(
        splines, data, good, zip(*columns, strict=True), strict=True
    ):
        start = _start(stamp, use, sky, x - x0, y - y0)
        fits.append(
            fit_star(psf, stamp, use, start, sky, image["gain"], image["read_noise_electron"])
        )
    return fits


def core_chi2_by_magnitude(core_chi2: np.ndarray, mag: np.ndarray) -> list[float]:
    """Median of each magnitude bin, NaN without a star."""
    bins = [(mag >= low) & (mag < high) for low, high in pairwise(MAGNITUDES)]
    return [float(np.median(core_chi2[mine])) if mine.any() else np.nan for mine in bins]


def judge(images: np.ndarray, stars: Stars) -> dict:
    """All figures of one code; `images`: its PSFs at `stars.positions`, (m, k, k)."""
    splines = to_splines(images)
    n_grid = len(stars.grid)
    on_grid, at_stars = splines[:n_grid], splines[n_grid:]
    stamps = stars.stamps
    data, good = stamps.data[stars.reserved].astype(float), stamps.mask[stars.reserved] == 0
    if stars.truth is None:
        chi2 = np.array([fit.core_chi2 for fit in fit_stars(at_stars, stars, data, good)])
        mag = stamps.stars.loc[stars.reserved, "mag"].to_numpy()
        return {"core_chi2": core_chi2_by_magnitude(chi2, mag)}
    return {
        **_judge_psf(on_grid, stars, data.shape[-1]),
        **_judge_noiseless(at_stars, stars, good),
        **_judge_noisy(at_stars, stars, good),
    }


def _judge_psf(splines: list[RectBivariateSpline], stars: Stars, size_px: int) -> dict:
    """PSF images against the truth, at the same flux in the stamp: flux is judged on stars."""
    at = {tuple(position): psf for position, psf in zip(stars.grid, splines, strict=True)}
    steps = np.arange(size_px) - size_px // 2

    def stamp(x_px: float, y_px: float, size_px: int) -> np.ndarray:
        dx, dy = (steps - (value - np.floor(value + 0.5)) for value in (x_px, y_px))
        drawn = at[x_px, y_px](dy, dx)
        return drawn * (stars.truth.psf.stamp(x_px, y_px, size_px).sum() / drawn.sum())

    found = compare_psf(stamp, partial(true_psf, stars.truth.psf), stars.grid, size_px)
    return {
        "l2_median": found.l2_median,
        "size_bias": found.size_bias,
        "size_rms": found.size_rms,
        "ellipticity_rms": found.ellipticity_rms,
    }


def _judge_noiseless(splines: list[RectBivariateSpline], stars: Stars, good: np.ndarray) -> dict:
    """What the PSF alone does to fluxes and positions: fits to the stars without their noise."""
    truth = stars.truth
    fits = fit_stars(splines, stars, truth.noiseless, good)
    flux = np.array([fit.flux_adu for fit in fits])
    mmag = -2500 * np.log10(flux / truth.flux_adu)
    corner = stars.stamps.stars.loc[stars.reserved, ["x0_px", "y0_px"]].to_numpy()
    shift = 1000 * np.array(
        [
            [fit.x_px + x0 - x, fit.y_px + y0 - y]
            for fit, (x0, y0), x, y in zip(fits, corner, truth.x_px, truth.y_px, strict=True)
        ]
    )
    return {
        "flux_bias_mmag": float(np.median(mmag)),
        # Of stars with a faint neighbour the fit errs by that, whatever the PSF.
        "flux_scatter_mmag": float(mad_sigma(mmag)),
        "position_bias_mpx": float(np.hypot(*np.median(shift, axis=0))),
        "position_rms_mpx": float(mad_sigma(shift.ravel())),
    }


def _judge_noisy(splines: list[RectBivariateSpline], stars: Stars, good: np.ndarray) -> dict:
    chi2, pull, position_pull = [], [], []
    corner = stars.stamps.stars.loc[stars.reserved, ["x0_px", "y0_px"]].to_numpy()
    x_px, y_px = stars.truth.x_px - corner[:, 0], stars.truth.y_px - corner[:, 1]
    for data in _realise(stars):
        fits = fit_stars(splines, stars, data, good)
        chi2 += [fit.core_chi2 for fit in fits]
        pull += [
            (fit.flux_adu - flux) / fit.flux_error_adu
            for fit, flux in zip(fits, stars.truth.flux_adu, strict=True)
        ]
        for fit, x, y in zip(fits, x_px, y_px, strict=True):
            position_pull += [(fit.x_px - x) / fit.x_error_px, (fit.y_px - y) / fit.y_error_px]
    mag = np.tile(stars.truth.mag, REALISATIONS)
    return {
        "core_chi2": core_chi2_by_magnitude(np.array(chi2), mag),
        "flux_pull_width": float(mad_sigma(pull)),
        "position_pull_width": float(mad_sigma(position_pull)),
    }


def _realise(stars: Stars) -> Iterator[np.ndarray]:
    """The reserved stars with new noise, (n, S, S) ADU: one image has too few bright ones."""
    image = stars.stamps.images.iloc[0]
    photometry = Photometry(
        image["gain"], image["read_noise_electron"], image["saturation_adu"], 0.0, 0.0, 0.0
    )
    random = np.random.default_rng(SEED)
    for _ in range(REALISATIONS):
        yield add_noise(stars.truth.noiseless, photometry, random)


def draw_truth(truth: Truth, positions: np.ndarray) -> np.ndarray:
    """The true PSFs as a code would draw them: what the judge says of perfection."""
    n = OVERSAMPLING * HALF_SIZE_PX
    images = []
    for x, y in positions:
        image = truth.psf.oversampled(x, y, OVERSAMPLING)
        centre = len(image) // 2
        images.append(image[centre - n : centre + n + 1, centre - n : centre + n + 1])
    return np.array(images, np.float32)
