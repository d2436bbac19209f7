"""What a fit yields for each image, read from the arrays of its chunk."""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from ztfpsf.psf.arrow import Covariance
from ztfpsf.psf.chunk import Chunk
from ztfpsf.psf.clock import Clock
from ztfpsf.psf.field import fit_field
from ztfpsf.psf.flux import FluxRange
from ztfpsf.psf.problem import Solution
from ztfpsf.psf.product import propagate
from ztfpsf.psf.rounds import Cleaned

EDM_TOLERANCE = 0.01  # expected decrease of chi2 that is left; the same for all optimisers


class Judgement(NamedTuple):
    """Quality of a solution, leading axis `problem`."""

    covariance: Covariance
    edm: Array  # (p,)


class GridFit(NamedTuple):
    """The residual grid of a PSF. G = nodes, C = terms of field position and flux."""

    nodes: np.ndarray  # (G, C)
    error: np.ndarray  # (G, C)
    degree: int  # of the field polynomial
    flux_range: FluxRange
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
    good: np.ndarray  # (n, S, S) bool, after clipping
    chi2: np.ndarray  # (n,)
    n_pix: np.ndarray  # (n,)
    core_chi2: np.ndarray  # (n,) mean squared normalised residual within CORE_RADIUS_PX
    is_fitted: np.ndarray  # (n,) bool, entered the PSF fit
    status: np.ndarray  # (n,) str: ok, outlier, too_few_pixels
    loss_history: np.ndarray  # (steps + 1,) summed over the problems
    iterations: int  # of the slowest problem
    clock: Clock  # of the optimiser; the share of one image of its chunk
    edm: float  # expected decrease of chi2 left, summed over the problems
    n_problems: int
    n_not_converged: int


class Fitted(NamedTuple):
    """Shape of the PSF and parameters of the c stars that might be fitted, for p images."""

    coefficients: np.ndarray  # (p, K, B)
    modes: np.ndarray | None  # (p, M, C) coefficients of the grid's modes
    covariance: np.ndarray  # (p, m, m) of both
    star: np.ndarray  # (p, c, 4)
    star_covariance: np.ndarray  # (p, c, 4, 4)
    shape: np.ndarray  # (p, c, K)
    shape_covariance: np.ndarray  # (p, c, K, K)


class StarFits(NamedTuple):
    """All n stars of p images in the PSF of their image."""

    star: np.ndarray  # (p, n, 4)
    star_covariance: np.ndarray  # (p, n, 4, 4)
    shape: np.ndarray  # (p, n, K)
    chi2: np.ndarray  # (p, n)
    n_pix: np.ndarray  # (p, n)
    core_chi2: np.ndarray  # (p, n)


def read_fitted(chunk: Chunk, use: np.ndarray, solution: Solution, judgement: Judgement) -> Fitted:
    """The solution of the problems of a chunk, image by image."""
    p, c = chunk.n_images, chunk.size.n_candidates
    basis = np.asarray(chunk.stack.basis)[:, :c]
    found, covariance = jax.tree.map(np.asarray, (solution.parameters, judgement.covariance))
    star = found.star.reshape(p, c, 4)
    star_covariance = covariance.star.reshape(p, c, 4, 4)
    if chunk.settings.shape == "field":
        profiles = _profile_part(covariance.shape, found.shape[0].size)
        shape = np.einsum("pnb,pkb->pnk", basis, found.shape)
        shape_covariance = np.stack(
            [propagate(one, its) for one, its in zip(profiles, basis, strict=True)]
        )
        matrix = covariance.shape
        return Fitted(
            found.shape, found.grid, matrix, star, star_covariance, shape, shape_covariance
        )
    shape = found.shape.reshape(p, c, -1)
    shape_covariance = covariance.shape.reshape(p, c, shape.shape[-1], shape.shape[-1])
    fields = [
        fit_field(shape[i, used], shape_covariance[i, used], basis[i, used])
        for i, used in enumerate(use[:, :c])
    ]
    coefficients, matrix = (np.stack(part) for part in zip(*fields, strict=True))
    return Fitted(coefficients, None, matrix, star, star_covariance, shape, shape_covariance)


def _profile_part(covariance: np.ndarray, n_profile: int) -> np.ndarray:
    return covariance[..., :n_profile, :n_profile]


def read_image(
    chunk: Chunk,
    cleaned: Cleaned,
    fitted: Fitted,
    stars: StarFits,
    solution: Solution,
    judgement: Judgement,
    clock: Clock,
    number: int,
) -> ImageFit:
    """The result of one image of a chunk, its stars in their own order."""
    place, c = chunk.places[number], chunk.size.n_candidates
    is_usable, has_pixels, good = (
        np.asarray(part[number])[place]
        for part in (cleaned.kept.is_usable, cleaned.kept.has_pixels, cleaned.kept.good)
    )
    is_fitted = is_usable & ~chunk.stamps[number].is_reserved
    status = np.where(is_usable, "ok", "outlier").astype("U16")
    status[~has_pixels] = "too_few_pixels"
    coefficients = fitted.coefficients[number]
    covariance = _profile_part(fitted.covariance[number], coefficients.size)
    shape_covariance = propagate(covariance, np.asarray(chunk.stack.basis[number]))[place]
    shape_covariance[is_fitted] = fitted.shape_covariance[number, place[is_fitted]]
    # One problem for the image, or one for each of its stars; those of rejected stars are none.
    mine = slice(number, number + 1)
    if chunk.settings.shape == "per_star":
        mine = number * c + place[is_fitted]
    edm = np.asarray(judgement.edm)[mine]
    return ImageFit(
        degree=chunk.size.degree,
        coefficients=coefficients,
        coefficients_covariance=covariance,
        grid=_read_grid(chunk, cleaned, fitted, number),
        shape_covariance=shape_covariance,
        good=good,
        is_fitted=is_fitted,
        status=status,
        loss_history=sum_histories(np.asarray(solution.loss_history)[mine]),
        iterations=int(np.asarray(solution.iterations)[mine].max()),
        clock=clock,
        edm=float(edm.sum()),
        n_problems=len(edm),
        n_not_converged=int(np.sum(~(edm < EDM_TOLERANCE))),
        **{name: getattr(stars, name)[number, place] for name in StarFits._fields},
    )


def _read_grid(chunk: Chunk, cleaned: Cleaned, fitted: Fitted, number: int) -> GridFit | None:
    if fitted.modes is None:
        return None
    found, n_profile = fitted.modes[number], fitted.coefficients[number].size
    modes = np.asarray(cleaned.grid.modes[number])
    n_modes, n_terms = found.shape
    blocks = fitted.covariance[number, n_profile:, n_profile:]
    blocks = blocks.reshape(n_modes, n_terms, n_modes, n_terms)
    variance = [
        np.einsum("gm,gm->g", modes @ blocks[:, term, :, term], modes) for term in range(n_terms)
    ]
    return GridFit(
        nodes=modes @ found,
        error=np.sqrt(np.maximum(variance, 0.0)).T,
        degree=chunk.settings.grid.degree,
        flux_range=cleaned.flux_ranges[number],
        n_effective=cleaned.n_effective[number],
    )


def sum_histories(histories: np.ndarray) -> np.ndarray:
    """Total loss after each step; a problem that has ended keeps its last loss. (p, m) -> (k,)."""
    n_steps = int(np.isfinite(histories).any(axis=0).sum())
    filled = histories[:, :n_steps].copy()
    for step in range(1, n_steps):
        missing = ~np.isfinite(filled[:, step])
        filled[missing, step] = filled[missing, step - 1]
    return filled.sum(axis=0)
