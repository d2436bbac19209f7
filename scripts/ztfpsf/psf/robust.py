"""Variance from the model, and the pixels and stars that are left out of a fit.

An observed pixel is no measure of its own noise: weights taken from it bias faint stars low.
The variance here is that of the model. A pixel is clipped against the model with a tolerance that
grows with the star's own light, so that a model that misses the core by some per cent is not
repaired by removing the core.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.ndimage import maximum_filter

from ztfpsf.errors import InputError
from ztfpsf.psf.arrow import Normal, normal_equations
from ztfpsf.psf.evidence import START_PRECISION, update_precision
from ztfpsf.psf.flux import FluxRange, grid_basis, measure_flux_range
from ztfpsf.psf.grid import get_base, get_grid, make_modes
from ztfpsf.psf.image import (
    Clipping,
    FitSettings,
    ImageStamps,
    make_problem,
    pad,
    padded_size,
    star_basis,
)
from ztfpsf.psf.optimisers import gauss_newton
from ztfpsf.psf.pixels import offsets
from ztfpsf.psf.problem import (
    GridTerms,
    Parameters,
    Problem,
    Stars,
    count_terms,
    field_basis,
    star_shapes,
)
from ztfpsf.psf.star_fit import draw_stars, fit_stars
from ztfpsf.psf.start import start_fwhm, start_shape, start_stars

CORE_RADIUS_PX = 4.0
FEWEST_STARS = 3
MAD_TO_SIGMA = 1.4826
PROFILE_STEPS = 12  # of a round; most need a few
GRID_STEPS = 4  # the final fit has as many as it needs
ROUND_TOLERANCE = 0.1  # of chi2 per star, when a round ends
GRID_ROUNDS = 2


def model_variance(
    model_adu: np.ndarray, sky_adu: np.ndarray, gain: float, read_noise_electron: float
) -> np.ndarray:
    """Poisson noise of the model, never below that of the sky, plus read noise, in ADU^2.

    `model_adu`: (n, S, S), sky included; `sky_adu`: (n,); `gain` in e-/ADU.
    """
    floor = np.maximum(sky_adu, 0.0)[:, None, None]
    return np.maximum(model_adu, floor) / gain + (read_noise_electron / gain) ** 2


def find_outliers(
    data: np.ndarray,
    model_adu: np.ndarray,
    star: np.ndarray,
    good: np.ndarray,
    variance: np.ndarray,
    is_reference: np.ndarray,
    clipping: Clipping,
) -> np.ndarray:
    """Pixels further from the model than its noise and error allow, (n, S, S) bool.

    `star`: (n, 4). The model's error is a fraction of the star's own light, and what the reference
    stars have in common: a misfit that repeats from star to star is no cosmic ray and no neighbour.
    """
    flux = np.maximum(star[:, 2], 0.0)[:, None, None]
    light = np.maximum(model_adu - star[:, 3, None, None], 0.0)
    shown = np.flatnonzero(is_reference)
    misfit = _common_misfit((data - model_adu)[shown], flux[shown], good[shown])
    error = np.hypot(clipping.pixel_fraction * light, flux * misfit)
    # A model slightly off in width or position errs by a fraction of the brighter neighbour pixel.
    error = maximum_filter(error, size=(1, 3, 3))
    return (data - model_adu) ** 2 > clipping.pixel_sigma**2 * variance + error**2


def _common_misfit(residual: np.ndarray, flux: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Size of the median residual per flux of the brighter half of the stars, (S, S)."""
    if not len(flux) or np.median(flux) <= 0:
        return np.zeros(residual.shape[1:])
    bright = flux[:, 0, 0] >= np.median(flux)
    relative = np.where(good[bright], residual[bright] / flux[bright], 0.0)
    return np.abs(np.median(relative, axis=0))


def find_bad_stars(
    chi2_per_pixel: np.ndarray,
    flux_adu: np.ndarray,
    is_reference: np.ndarray,
    clipping: Clipping,
) -> np.ndarray:
    """Stars whose chi2 per pixel stands out among stars of similar flux, (n,) bool.

    Where the model is wrong, chi2 grows with flux: each star is compared with the median of the
    reference stars near it in flux, and its excess with their scatter. Reserved stars are judged
    but are no reference.
    """
    bad = ~np.isfinite(chi2_per_pixel) | ~np.isfinite(flux_adu) | (flux_adu <= 0)
    reference = np.flatnonzero(~bad & is_reference)
    if len(reference) < 5:
        return bad
    reference = reference[np.argsort(flux_adu[reference])]
    ln_chi2 = np.log(np.maximum(chi2_per_pixel, 1e-3))
    half = max(10, len(reference) // 20)
    for star in np.flatnonzero(~bad):
        rank = np.searchsorted(flux_adu[reference], flux_adu[star])
        window = ln_chi2[reference[max(0, rank - half) : rank + half + 1]]
        typical = np.median(window)
        scatter = MAD_TO_SIGMA * np.median(np.abs(window - typical))
        bad[star] = ln_chi2[star] - typical > clipping.star_sigma * max(scatter, 0.02)
    return bad


class Cleaned(NamedTuple):
    """Weights and rejections, found once and then fixed for every optimiser."""

    start: Parameters  # all stars, from moments
    star: np.ndarray  # (n, 4) best in the last round's PSF
    good: np.ndarray  # (n, S, S) bool
    variance: np.ndarray  # (n, S, S) ADU^2
    is_usable: np.ndarray  # (n,) bool: neither outlier nor short of pixels
    has_pixels: np.ndarray  # (n,) bool
    grid: GridTerms | None = None  # of all stars
    flux_range: FluxRange | None = None
    n_effective: np.ndarray | None = None  # see ztfpsf.psf.evidence


def mean_of(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean of each stamp over some of its pixels, (n,); 0 without any."""
    return (values * where).sum(axis=(1, 2)) / np.maximum(where.sum(axis=(1, 2)), 1)


def is_core(size_px: int, star: np.ndarray) -> np.ndarray:
    """Pixels whose centres are within CORE_RADIUS_PX of the star, (n, S, S) bool."""
    grid = offsets(size_px)
    dx = (grid - star[:, 0:1])[:, None, :]
    dy = (grid - star[:, 1:2])[:, :, None]
    return dx**2 + dy**2 <= CORE_RADIUS_PX**2


def refit_stars(
    model: Any,
    stamps: ImageStamps,
    star: np.ndarray,
    shapes: np.ndarray,
    weight: np.ndarray,
    batch: int,
) -> tuple[np.ndarray, np.ndarray]:
    """All stars at fixed shape: parameters (n, 4) and model stamps (n, S, S)."""
    n = len(star)
    size = padded_size(n)
    arrays = [pad(np.asarray(a, float), size) for a in (star, shapes, stamps.data, weight)]
    batch = min(batch, size)
    best = fit_stars(model, *arrays, batch)
    models = draw_stars(model, best, arrays[1], stamps.data.shape[-1], batch)
    return np.array(best)[:n], np.array(models)[:n]


def require_stars(n: int) -> None:
    """Raise InputError when too few stars are left for any fit."""
    if n < FEWEST_STARS:
        raise InputError(
            f"only {n} stars are left to fit, {FEWEST_STARS} are needed: loosen the selection "
            "(config keys select_stars) or leave the image out."
        )


def clean(model: Any, stamps: ImageStamps, degree: int, settings: FitSettings) -> Cleaned:
    """Find weights, bad pixels, bad stars and the precision of a grid by rounds of Gauss-Newton.

    A profile alone finds what is not a star; then its grid, if the model has one, looks closer.
    """
    settings = settings._replace(shape="field")
    cleaned = _begin(model, stamps, degree, settings.clipping)
    best = cleaned.start._replace(star=cleaned.star)
    for _ in range(settings.clipping.rounds):
        best = _fit_round(get_base(model), stamps, degree, settings, cleaned, best)
        cleaned = _reject(get_base(model), stamps, degree, settings, cleaned, best)
        best = best._replace(star=cleaned.star)
    if get_grid(model) is None:
        return cleaned
    cleaned = _begin_grid(model, stamps, degree, settings, cleaned, best)
    best = best._replace(grid=cleaned.start.grid)
    for _ in range(GRID_ROUNDS):
        best = _fit_round(model, stamps, degree, settings, cleaned, best)
        cleaned = _weigh_grid(model, stamps, degree, settings, cleaned, best)
        cleaned = _reject(model, stamps, degree, settings, cleaned, best)
        best = best._replace(star=cleaned.star)
    return cleaned


def _begin(model: Any, stamps: ImageStamps, degree: int, clipping: Clipping) -> Cleaned:
    """Start values from moments."""
    half = stamps.data.shape[-1] // 2
    star = start_stars(
        stamps.data,
        stamps.good,
        stamps.sky_adu,
        stamps.x_px - stamps.x0_px - half,
        stamps.y_px - stamps.y0_px - half,
    )
    has_pixels = stamps.good.mean(axis=(1, 2)) >= clipping.min_good_fraction
    shown = ~stamps.is_reserved
    fwhm_px = start_fwhm(stamps.data[shown], stamps.good[shown], star[shown])
    shape = start_shape(model, fwhm_px, count_terms(degree))
    variance = np.asarray(stamps.variance, float)
    return Cleaned(
        Parameters(star, shape), star.copy(), stamps.good, variance, has_pixels, has_pixels
    )


def _begin_grid(
    model: Any,
    stamps: ImageStamps,
    degree: int,
    settings: FitSettings,
    cleaned: Cleaned,
    best: Parameters,
) -> Cleaned:
    """The terms of the grid, which starts from 0 around the best profile alone."""
    use = cleaned.is_usable & ~stamps.is_reserved
    scale = measure_flux_range(cleaned.star[use, 2])
    basis = grid_basis(
        star_basis(stamps, degree),
        cleaned.star[:, 2],
        scale,
        settings.grid.degree,
        settings.grid.flux_terms,
    )
    centre = (
        best.shape
        @ field_basis(
            [0.5 * (stamps.nx - 1)], [0.5 * (stamps.ny - 1)], stamps.nx, stamps.ny, degree
        )[0]
    )
    modes = make_modes(model, centre)
    terms = GridTerms(basis, modes, np.full(basis.shape[1], START_PRECISION))
    start = best._replace(grid=np.zeros((modes.shape[1], basis.shape[1])))
    return cleaned._replace(start=start, grid=terms, flux_range=scale)


def _image_problem(
    model: Any,
    stamps: ImageStamps,
    degree: int,
    settings: FitSettings,
    cleaned: Cleaned,
    start: Parameters,
) -> Problem:
    use = cleaned.is_usable & ~stamps.is_reserved
    require_stars(int(use.sum()))
    weight = cleaned.good / cleaned.variance
    grid = None if start.grid is None else cleaned.grid
    return make_problem(model, stamps, use, weight, start, degree, settings, grid)


def _fit_round(
    model: Any,
    stamps: ImageStamps,
    degree: int,
    settings: FitSettings,
    cleaned: Cleaned,
    start: Parameters,
) -> Parameters:
    """The best shape (and grid) with the present weights, all stars refitted in it."""
    problem = _image_problem(model, stamps, degree, settings, cleaned, start)
    steps = PROFILE_STEPS if start.grid is None else GRID_STEPS
    use = cleaned.is_usable & ~stamps.is_reserved
    options = gauss_newton.Options(niter=steps, tol=ROUND_TOLERANCE * int(use.sum()))
    solution = gauss_newton.solve(problem, options)
    found = jax.tree.map(lambda leaf: np.array(leaf[0]), solution.parameters)
    star = start.star.copy()
    star[use] = found.star[: int(use.sum())]
    return found._replace(star=star)


def _weigh_grid(
    model: Any,
    stamps: ImageStamps,
    degree: int,
    settings: FitSettings,
    cleaned: Cleaned,
    best: Parameters,
) -> Cleaned:
    """Precision of the grid's terms, from the evidence."""
    problem = _image_problem(model, stamps, degree, settings, cleaned, best)
    normal = jax.tree.map(np.asarray, image_normal(problem))
    evidence = update_precision(normal, best, cleaned.grid.precision, settings.grid.groups)
    grid = cleaned.grid._replace(precision=evidence.precision)
    return cleaned._replace(grid=grid, n_effective=evidence.n_effective)


def image_normal(problem: Problem) -> Normal:
    """Normal equations at the start of the first of the problems."""
    first = jax.tree.map(lambda leaf: leaf[0], (problem.start, problem.stars))
    return _normal(problem.model, *first, problem.batch.stars)


_normal = jax.jit(normal_equations, static_argnames=("model", "batch"))


def local_shapes(
    model: Any, stamps: ImageStamps, degree: int, best: Parameters, grid: GridTerms | None
) -> np.ndarray:
    """Shape parameters and grid nodes at all stars, (n, K + G)."""
    stars = Stars(stamps.data, stamps.data, star_basis(stamps, degree), grid)
    return np.asarray(star_shapes(model, best, stars))


def _reject(
    model: Any,
    stamps: ImageStamps,
    degree: int,
    settings: FitSettings,
    cleaned: Cleaned,
    best: Parameters,
) -> Cleaned:
    """New variances, bad pixels and bad stars from the models of all stars."""
    clipping = settings.clipping
    grid = None if best.grid is None else cleaned.grid
    star, models = refit_stars(
        model,
        stamps,
        best.star,
        local_shapes(model, stamps, degree, best, grid),
        cleaned.good / cleaned.variance,
        settings.batch.stars,
    )
    variance = model_variance(models, stamps.sky_adu, stamps.gain, stamps.read_noise_electron)
    outliers = find_outliers(
        stamps.data, models, star, stamps.good, variance, ~stamps.is_reserved, clipping
    )
    good = stamps.good & ~outliers
    has_pixels = good.mean(axis=(1, 2)) >= clipping.min_good_fraction
    squared = (stamps.data - models) ** 2 / variance
    is_reference = has_pixels & ~stamps.is_reserved
    # The whole stamp after clipping, and the core before: a companion or a cosmic ray there
    # leaves no clean measure of the star behind.
    bad = find_bad_stars(mean_of(squared, good), star[:, 2], is_reference, clipping)
    core = mean_of(squared, stamps.good & is_core(stamps.data.shape[-1], star))
    bad |= find_bad_stars(core, star[:, 2], is_reference, clipping)
    return cleaned._replace(
        star=star,
        good=good,
        variance=variance,
        is_usable=has_pixels & ~bad,
        has_pixels=has_pixels,
    )
