"""The equations of all stars at a state: what the data leave over, and how stars change it.

Stars are worked on in parts that stay in cache, side by side on the cores of the job.
"""

from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np

from ztfpsf.noise import model_variance
from ztfpsf.photometry.groups import Overlaps
from ztfpsf.photometry.light import Light
from ztfpsf.photometry.planes import ImagePlanes

# Stars and pairs of one part: some megabytes.
PART_STARS = 512
PART_PAIRS = 2048


class StarPixels(NamedTuple):
    """The pixels of n stars, (n, S, S)."""

    is_usable: np.ndarray
    data: np.ndarray  # ADU
    sky: np.ndarray  # ADU
    constant: np.ndarray  # ADU^2, variance without photon noise


class StarNormal(NamedTuple):
    """J^T W J and J^T W r of n stars; zero where an unknown is held or has no data."""

    own: np.ndarray  # (n, 3, 3)
    pairs: np.ndarray  # (m, 2) stars
    coupling: np.ndarray  # (m, 3, 3) unknowns of the first star, of the second
    gradient: np.ndarray  # (n, 3)


class Columns(NamedTuple):
    """Derivatives of the models of the p stars that overlap with others."""

    plain: np.ndarray  # (p, 3, S, S) background eliminated
    weighted: np.ndarray  # (p, 3, S, S) times the weight of the pixel
    mean: np.ndarray  # (p, 3) what the background took away
    slot: np.ndarray  # (n,) which of the p a star is


class Evaluation(NamedTuple):
    """The equations, and how well the data are described."""

    normal: StarNormal
    columns: Columns
    background: np.ndarray  # (n,) ADU, above the sky map
    chi2: np.ndarray  # (n,)
    n_pix: np.ndarray  # (n,)
    model: np.ndarray  # plane with margin: sky and stars as they are read out, ADU
    flux: np.ndarray  # (n,) ADU, of the stars in it


class _PartEvaluation(NamedTuple):
    """Evaluation of some stars."""

    own: np.ndarray
    gradient: np.ndarray
    background: np.ndarray
    chi2: np.ndarray
    plain: np.ndarray  # of those with company
    weighted: np.ndarray
    mean: np.ndarray


def cut_pixels(planes: ImagePlanes, pixel: np.ndarray) -> StarPixels:
    """`pixel`: (n, S, S) index into the raveled planes."""
    wanted = (planes.is_usable, planes.data, planes.sky, planes.constant)
    return StarPixels(*(plane.ravel()[pixel] for plane in wanted))


def evaluate(
    planes: ImagePlanes,
    pixels: StarPixels,
    overlaps: Overlaps,
    light: Light,
    flux_adu: np.ndarray,
    model: np.ndarray,
    pool: Executor,
) -> Evaluation:
    """The equations of n stars with fluxes (n,), standing where `light` was drawn.

    `model`: plane with margin, sky and stars as they are read out, ADU.
    """
    n = len(flux_adu)
    flux = flux_adu.astype(np.float32)
    # Only these need their columns again.
    has_company = overlaps.is_crowded | (np.bincount(overlaps.pairs.ravel(), minlength=n) > 0)

    def work(start: int) -> _PartEvaluation:
        part = slice(start, start + PART_STARS)
        some = StarPixels(*(array[part] for array in pixels))
        modelled = model.ravel()[light.pixel[part]]
        weight = some.is_usable / model_variance(modelled, some.sky, planes.gain, some.constant)
        return _evaluate_part(
            light.psf[part], flux[part], weight, some.data - modelled, has_company[part]
        )

    parts = pool.map(work, range(0, n, PART_STARS))
    found = _PartEvaluation(*map(np.concatenate, zip(*parts, strict=True)))
    columns = Columns(found.plain, found.weighted, found.mean, np.cumsum(has_company) - 1)
    coupling = make_coupling(columns, light.centre_px, overlaps.pairs)
    return Evaluation(
        StarNormal(found.own, overlaps.pairs, coupling, found.gradient),
        columns,
        found.background,
        found.chi2,
        pixels.is_usable.sum(axis=(1, 2)),
        model,
        flux_adu,
    )


def find_model_covariance(
    planes: ImagePlanes,
    pixels: StarPixels,
    light: Light,
    evaluation: Evaluation,
    error_adu: np.ndarray,
    pool: Executor,
) -> np.ndarray:
    """J^T W S W J (n, 3, 3) of an error S = (error x profile)^2 of each pixel.

    `error_adu`: (n,) the PSF's own error, a fraction of each flux (ztfpsf.noise.Noise). Between two
    covariances of the stars it makes that of their unknowns.
    """
    flux = evaluation.flux.astype(np.float32)

    def work(start: int) -> np.ndarray:
        part = slice(start, start + PART_STARS)
        some = StarPixels(*(array[part] for array in pixels))
        modelled = evaluation.model.ravel()[light.pixel[part]]
        weight = some.is_usable / model_variance(modelled, some.sky, planes.gain, some.constant)
        columns, _ = _make_columns(light.psf[part], flux[part], weight)
        error = error_adu[part, None, None].astype(np.float32) * light.psf[part, 0] * weight
        scaled = columns * error.reshape(len(columns), 1, -1)
        return (scaled @ scaled.transpose(0, 2, 1)).astype(float)

    return np.concatenate(list(pool.map(work, range(0, len(flux), PART_STARS))))


def _make_columns(
    psf: np.ndarray, flux: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives by flux, x and y without a constant, (n, 3, S S), and that constant, (n, 3, 1).

    `psf`: (n, 3, S, S); `weight`: (n, S, S).
    """
    n, k, *_ = psf.shape
    weight = weight.reshape(n, 1, -1)
    total = np.maximum(weight.sum(axis=2, keepdims=True), np.finfo(np.float32).tiny)
    columns = psf.reshape(n, k, -1).copy()
    columns[:, 1:] *= flux[:, None, None]
    # The background is eliminated: columns without their weighted mean do not see a constant.
    mean = columns @ weight.transpose(0, 2, 1) / total
    return columns - mean, mean


def _evaluate_part(
    psf: np.ndarray,
    flux: np.ndarray,
    weight: np.ndarray,
    residual: np.ndarray,
    has_company: np.ndarray,
) -> _PartEvaluation:
    """`psf`: (n, 3, S, S); `weight`, `residual`: (n, S, S)."""
    n, k, size, _ = psf.shape
    columns, mean = _make_columns(psf, flux, weight)
    weight, residual = weight.reshape(n, 1, -1), residual.reshape(n, 1, -1)
    total = np.maximum(weight.sum(axis=2, keepdims=True), np.finfo(np.float32).tiny)
    background = (weight * residual).sum(axis=2, keepdims=True) / total
    residual = residual - background
    weighted = columns * weight
    return _PartEvaluation(
        (weighted @ columns.transpose(0, 2, 1)).astype(float),
        (weighted @ residual.transpose(0, 2, 1))[..., 0].astype(float),
        background[:, 0, 0].astype(float),
        (weight * residual**2).sum(axis=(1, 2)).astype(float),
        columns[has_company].reshape(-1, k, size, size),
        weighted[has_company].reshape(-1, k, size, size),
        mean[has_company, :, 0],
    )


def make_coupling(columns: Columns, centre_px: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Blocks (m, 3, 3) of the pairs; `centre_px`: (n, 2) of the stamps."""
    _, k, size, _ = columns.plain.shape
    coupling = np.zeros((len(pairs), k, k))
    for start in range(0, len(pairs), PART_PAIRS):
        chunk = slice(start, start + PART_PAIRS)
        first, second = pairs[chunk].T
        pixel, is_shared = _find_overlap(centre_px[first] - centre_px[second], size)
        theirs = columns.plain[columns.slot[second]].reshape(len(first), k, -1)
        theirs = np.take_along_axis(theirs, pixel[:, None, :], axis=2)
        ours = columns.weighted[columns.slot[first]].reshape(len(first), k, -1)
        coupling[chunk] = (ours * is_shared[:, None, :]) @ theirs.transpose(0, 2, 1)
    return coupling


def _find_overlap(shift_px: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of the first stamp its index in the second, and whether that holds it.

    `shift_px`: (m, 2) x and y of the first stamp minus those of the second. Returns (m, S^2).
    """
    column, row = (shift[:, None] + np.arange(size) for shift in shift_px.T)
    is_shared = ((row >= 0) & (row < size))[:, :, None] & ((column >= 0) & (column < size))[:, None]
    pixel = row.clip(0, size - 1)[:, :, None] * size + column.clip(0, size - 1)[:, None]
    return pixel.reshape(len(shift_px), -1), is_shared.reshape(len(shift_px), -1)
