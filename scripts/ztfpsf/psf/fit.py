"""The PSF of one image: start, robust weights, the asked optimiser, errors, reserved stars.

Weights and rejections are found first, by a few rounds of Gauss-Newton (ztfpsf.psf.robust); then
the optimiser in question minimises that fixed objective from the moment start. So all optimisers
answer the same question, and their answers can be compared.
"""

from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.errors import InputError
from ztfpsf.psf.arrow import Covariance, covariance, normal_equations, solve
from ztfpsf.psf.clock import Clock, compile_clock
from ztfpsf.psf.flux import FluxRange
from ztfpsf.psf.grid import get_grid
from ztfpsf.psf.image import (
    FitSettings,
    ImageStamps,
    choose_degree,
    make_problem,
    pad,
    pad_stars,
    padded_size,
    star_basis,
)
from ztfpsf.psf.problem import Batch, Parameters, Problem, Solution, Stars
from ztfpsf.psf.product import propagate
from ztfpsf.psf.robust import (
    Cleaned,
    clean,
    is_core,
    local_shapes,
    mean_of,
    refit_stars,
    require_stars,
)
from ztfpsf.psf.star_fit import draw_stars, star_covariances

EDM_TOLERANCE = 0.01  # expected decrease of chi2 that is left; the same for all optimisers


class GridFit(NamedTuple):
    """The residual grid of a PSF. G = nodes, C = terms of field position and flux."""

    nodes: np.ndarray  # (G, C)
    error: np.ndarray  # (G, C)
    degree: int  # of the field polynomial
    flux_range: FluxRange
    precision: np.ndarray  # (C,) of the prior, as the evidence asks
    n_effective: np.ndarray  # (groups,) coefficients that the data determine


class ImageFit(NamedTuple):
    """Result for one image; arrays over all its n stars, fitted, reserved and rejected."""

    degree: int
    coefficients: np.ndarray  # (K, B) of the PSF
    coefficients_covariance: np.ndarray  # (K B, K B)
    grid: GridFit | None
    star: np.ndarray  # (n, 4): x, y from the stamp's centre, flux, background
    star_covariance: np.ndarray  # (n, 4, 4)
    shape: np.ndarray  # (n, K)
    shape_covariance: np.ndarray  # (n, K, K)
    model: np.ndarray  # (n, S, S) ADU
    variance: np.ndarray  # (n, S, S) ADU^2, of the model
    good: np.ndarray  # (n, S, S) bool, after clipping
    chi2: np.ndarray  # (n,)
    n_pix: np.ndarray  # (n,)
    core_chi2: np.ndarray  # (n,) mean squared normalised residual within CORE_RADIUS_PX
    is_fitted: np.ndarray  # (n,) bool, entered the PSF fit
    status: np.ndarray  # (n,) str: ok, outlier, too_few_pixels
    loss_history: np.ndarray  # (steps + 1,) summed over the problems
    iterations: int  # of the slowest problem
    clock: Clock  # of the optimiser
    edm: float  # expected decrease of chi2 left, summed over the problems
    n_problems: int
    n_not_converged: int


class Judgement(NamedTuple):
    """Quality of a solution, leading axis `problem`."""

    covariance: Covariance
    edm: Array  # (p,)


@partial(jax.jit, static_argnames=("model", "batch"))
def _judge(model: Any, stars: Stars, parameters: Parameters, batch: Batch) -> Judgement:
    def judge_one(stars_and_parameters: tuple[Stars, Parameters]) -> Judgement:
        one_stars, one_parameters = stars_and_parameters
        normal = normal_equations(model, one_parameters, one_stars, batch.stars)
        edm = solve(normal, jnp.zeros(()), one_parameters).chi2_decrease
        return Judgement(covariance(normal), edm)

    return jax.lax.map(judge_one, (stars, parameters), batch_size=batch.problems)


def judge(problem: Problem, solution: Solution) -> Judgement:
    """Covariances, and the expected decrease of chi2 to the minimum (Minuit's EDM)."""
    return _judge(problem.model, problem.stars, solution.parameters, problem.batch)


class Fitted(NamedTuple):
    """Shape of the PSF and parameters of the fitted stars."""

    coefficients: np.ndarray  # (K, B)
    modes: np.ndarray | None  # (M, C) coefficients of the grid's modes
    covariance: np.ndarray  # (m, m) of both
    star: np.ndarray  # (n_fitted, 4)
    star_covariance: np.ndarray  # (n_fitted, 4, 4)
    shape: np.ndarray  # (n_fitted, K)
    shape_covariance: np.ndarray  # (n_fitted, K, K)


def _field_result(solution: Solution, judgement: Judgement, basis: np.ndarray) -> Fitted:
    n = len(basis)
    coefficients = np.asarray(solution.parameters.shape[0])
    covariance = np.asarray(judgement.covariance.shape[0])
    grid = solution.parameters.grid
    return Fitted(
        coefficients,
        None if grid is None else np.asarray(grid[0]),
        covariance,
        np.asarray(solution.parameters.star[0])[:n],
        np.asarray(judgement.covariance.star[0])[:n],
        basis @ coefficients.T,
        propagate(_profile_part(covariance, coefficients), basis),
    )


def _profile_part(covariance: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    return covariance[: coefficients.size, : coefficients.size]


def _per_star_result(solution: Solution, judgement: Judgement, basis: np.ndarray) -> Fitted:
    shape = np.asarray(solution.parameters.shape)[:, :, 0]
    shape_covariance = np.asarray(judgement.covariance.shape)
    coefficients, coefficients_covariance = fit_field(shape, shape_covariance, basis)
    return Fitted(
        coefficients,
        None,
        coefficients_covariance,
        np.asarray(solution.parameters.star)[:, 0],
        np.asarray(judgement.covariance.star)[:, 0],
        shape,
        shape_covariance,
    )


def fit_field(
    shape: np.ndarray, shape_covariance: np.ndarray, basis: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Field polynomial through shapes of single stars, each shape parameter by itself.

    Weighted by the errors and by how much the stars scatter around the polynomial beyond them;
    iterated without stars off by more than 5 sigma. `shape`: (n, K), `basis`: (n, B).
    Returns coefficients (K, B) and their covariance (K B, K B).
    """
    k = shape.shape[1]
    n_terms = basis.shape[1]
    variance = np.diagonal(shape_covariance, axis1=1, axis2=2)
    coefficients = np.zeros((k, n_terms))
    covariance_blocks = np.zeros((k, n_terms, k, n_terms))
    for parameter in range(k):
        value, error2 = shape[:, parameter], variance[:, parameter]
        keep = np.isfinite(value) & np.isfinite(error2) & (error2 > 0)
        intrinsic2 = 0.0
        for _ in range(10):
            weight = np.where(keep, 1.0 / np.where(keep, error2 + intrinsic2, 1.0), 0.0)
            inverse = np.linalg.pinv(basis.T @ (weight[:, None] * basis))
            coefficients[parameter] = inverse @ (basis.T @ (weight * np.where(keep, value, 0.0)))
            residual = value - basis @ coefficients[parameter]
            spread2 = np.median(residual[keep] ** 2) / 0.455 - np.median(error2[keep])
            intrinsic2 = max(spread2, 0.0)
            with np.errstate(invalid="ignore"):
                keep &= residual**2 < 25.0 * (error2 + intrinsic2)
        covariance_blocks[parameter, :, parameter, :] = inverse
    return coefficients, covariance_blocks.reshape(k * n_terms, k * n_terms)


def fit_image(
    model: Any,
    optimiser: ModuleType,
    options: tuple,
    stamps: ImageStamps,
    settings: FitSettings,
) -> ImageFit:
    """Fit one image. Raises InputError when fewer than three stars can be used.

    `options` is the optimiser's `Options`.
    """
    n_candidates = int((~stamps.is_reserved).sum())
    require_stars(n_candidates)
    if settings.shape == "per_star" and get_grid(model) is not None:
        raise InputError(
            "config key fit_psf.shape is per_star, and no single star defines a pixel grid: "
            "set it to field, or take a model without grid."
        )
    degree = choose_degree(settings.degree, n_candidates)
    settings = settings._replace(
        grid=settings.grid._replace(degree=min(settings.grid.degree, degree))
    )
    cleaned = clean(model, stamps, degree, settings)
    is_fitted = cleaned.is_usable & ~stamps.is_reserved
    require_stars(int(is_fitted.sum()))
    weight = cleaned.good / cleaned.variance
    problem = make_problem(
        model, stamps, is_fitted, weight, cleaned.start, degree, settings, cleaned.grid
    )
    with compile_clock() as clock:
        solution = jax.block_until_ready(optimiser.solve(problem, options))
    judgement = judge(problem, solution)
    read = _per_star_result if settings.shape == "per_star" else _field_result
    fitted = read(solution, judgement, star_basis(stamps, degree)[is_fitted])
    stars = _all_stars(model, stamps, cleaned, is_fitted, degree, fitted, settings)
    edm = np.asarray(judgement.edm)
    return ImageFit(
        degree=degree,
        coefficients=fitted.coefficients,
        coefficients_covariance=_profile_part(fitted.covariance, fitted.coefficients),
        grid=_grid_result(cleaned, fitted, settings.grid.degree),
        loss_history=sum_histories(np.asarray(solution.loss_history)),
        iterations=int(np.max(np.asarray(solution.iterations))),
        clock=clock,
        edm=float(np.sum(edm)),
        n_problems=len(edm),
        n_not_converged=int(np.sum(~(edm < EDM_TOLERANCE))),
        **stars,
    )


def _grid_result(cleaned: Cleaned, fitted: Fitted, degree: int) -> GridFit | None:
    if fitted.modes is None:
        return None
    modes, n_profile = cleaned.grid.modes, fitted.coefficients.size
    n_modes, n_terms = fitted.modes.shape
    blocks = fitted.covariance[n_profile:, n_profile:].reshape(n_modes, n_terms, n_modes, n_terms)
    variance = [
        np.einsum("gm,gm->g", modes @ blocks[:, term, :, term], modes) for term in range(n_terms)
    ]
    return GridFit(
        nodes=modes @ fitted.modes,
        error=np.sqrt(np.maximum(variance, 0.0)).T,
        degree=degree,
        flux_range=cleaned.flux_range,
        precision=cleaned.grid.precision,
        n_effective=cleaned.n_effective,
    )


def sum_histories(histories: np.ndarray) -> np.ndarray:
    """Total loss after each step; a problem that has ended keeps its last loss. (p, m) -> (k,)."""
    n_steps = int(np.isfinite(histories).any(axis=0).sum())
    filled = histories[:, :n_steps].copy()
    for step in range(1, n_steps):
        missing = ~np.isfinite(filled[:, step])
        filled[missing, step] = filled[missing, step - 1]
    return filled.sum(axis=0)


def _all_stars(
    model: Any,
    stamps: ImageStamps,
    cleaned: Cleaned,
    is_fitted: np.ndarray,
    degree: int,
    fitted: Fitted,
    settings: FitSettings,
) -> dict[str, np.ndarray]:
    """The star fields of ImageFit: fitted stars as the fit left them, the others in its PSF."""
    basis = star_basis(stamps, degree)
    weight = cleaned.good / cleaned.variance
    best = Parameters(cleaned.star, fitted.coefficients, fitted.modes)
    local = np.array(local_shapes(model, stamps, degree, best, cleaned.grid))
    star, models = refit_stars(model, stamps, cleaned.star, local, weight, settings.batch.stars)
    stars = Stars(stamps.data, weight, basis, cleaned.grid)
    star_covariance = _covariances(model, star, local, stars, fitted.covariance, settings)
    shape = local[:, : fitted.shape.shape[1]].copy()
    shape_covariance = propagate(_profile_part(fitted.covariance, fitted.coefficients), basis)
    shape[is_fitted], shape_covariance[is_fitted] = fitted.shape, fitted.shape_covariance
    star[is_fitted], star_covariance[is_fitted] = fitted.star, fitted.star_covariance
    local[:, : shape.shape[1]] = shape
    models[is_fitted] = _draw(model, star[is_fitted], local[is_fitted], stamps, settings)
    variance = cleaned.variance
    squared = (stamps.data - models) ** 2 / variance
    # Clipped against the model, the core would look the better the worse the model: only what
    # the image's own mask marks is left out of this figure.
    core = stamps.good & is_core(stamps.data.shape[-1], star)
    status = np.where(cleaned.is_usable, "ok", "outlier").astype("U16")
    status[~cleaned.has_pixels] = "too_few_pixels"
    return {
        "star": star,
        "star_covariance": star_covariance,
        "shape": shape,
        "shape_covariance": shape_covariance,
        "model": models,
        "variance": variance,
        "good": cleaned.good,
        "chi2": (squared * cleaned.good).sum(axis=(1, 2)),
        "n_pix": cleaned.good.sum(axis=(1, 2)),
        "core_chi2": mean_of(squared, core),
        "is_fitted": is_fitted,
        "status": status,
    }


def _covariances(
    model: Any,
    star: np.ndarray,
    local: np.ndarray,
    stars: Stars,
    covariance: np.ndarray,
    settings: FitSettings,
) -> np.ndarray:
    size = padded_size(len(star))
    padded = (pad(star, size), pad(local, size), pad_stars(stars, size))
    batch = min(settings.batch.stars, size)
    return np.array(star_covariances(model, *padded, covariance, batch))[: len(star)]


def _draw(
    model: Any,
    star: np.ndarray,
    shape: np.ndarray,
    stamps: ImageStamps,
    settings: FitSettings,
) -> np.ndarray:
    size = padded_size(len(star))
    batch = min(settings.batch.stars, size)
    size_px = stamps.data.shape[-1]
    models = draw_stars(model, pad(star, size), pad(shape, size), size_px, batch)
    return np.asarray(models)[: len(star)]
