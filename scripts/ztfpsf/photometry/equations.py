"""The equations of all stars at a state: what the data leave over, and how stars change it.

Stars are worked on in parts that stay in cache, side by side on two cores.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ztfpsf.noise import model_variance
from ztfpsf.photometry.frame import Frame
from ztfpsf.photometry.groups import Overlaps
from ztfpsf.photometry.light import Light
from ztfpsf.photometry.normal import Columns, Normal, make_coupling

PART = 512  # stars
THREADS = 2


class Stamps(NamedTuple):
    """The pixels of n stars, (n, S, S)."""

    is_usable: np.ndarray
    data: np.ndarray  # ADU
    sky: np.ndarray  # ADU
    constant: np.ndarray  # ADU^2, variance without photon noise


class Evaluation(NamedTuple):
    """The equations, and how well the data are described."""

    normal: Normal
    columns: Columns
    background: np.ndarray  # (n,) ADU, above the sky map
    chi2: np.ndarray  # (n,)
    n_pix: np.ndarray  # (n,)
    model: np.ndarray  # plane with margin: sky and stars, ADU


class _Part(NamedTuple):
    """Evaluation of some stars."""

    own: np.ndarray
    gradient: np.ndarray
    background: np.ndarray
    chi2: np.ndarray
    plain: np.ndarray  # of those with company
    weighted: np.ndarray
    mean: np.ndarray


def cut_stamps(frame: Frame, pixel: np.ndarray) -> Stamps:
    """`pixel`: (n, S, S) index into the raveled planes."""
    planes = (frame.is_usable, frame.data, frame.sky, frame.constant)
    return Stamps(*(plane.ravel()[pixel] for plane in planes))


def evaluate(
    frame: Frame, stamps: Stamps, overlaps: Overlaps, light: Light, flux_adu: np.ndarray
) -> Evaluation:
    """The equations of n stars with fluxes (n,), standing where `light` was drawn."""
    n = len(flux_adu)
    model = frame.sky.copy()
    light.add_to(model, flux_adu)
    flux = flux_adu.astype(np.float32)
    # Only these need their columns again.
    has_company = overlaps.is_crowded | (np.bincount(overlaps.pairs.ravel(), minlength=n) > 0)

    def work(start: int) -> _Part:
        part = slice(start, start + PART)
        some = Stamps(*(array[part] for array in stamps))
        modelled = model.ravel()[light.pixel[part]]
        weight = some.is_usable / model_variance(modelled, some.sky, frame.gain, some.constant)
        return _evaluate_part(
            light.psf[part], flux[part], weight, some.data - modelled, has_company[part]
        )

    with ThreadPoolExecutor(THREADS) as pool:
        found = _Part(*map(np.concatenate, zip(*pool.map(work, range(0, n, PART)), strict=True)))
    columns = Columns(found.plain, found.weighted, found.mean, np.cumsum(has_company) - 1)
    coupling = make_coupling(columns, light.centre_px, overlaps.pairs)
    return Evaluation(
        Normal(found.own, overlaps.pairs, coupling, found.gradient),
        columns,
        found.background,
        found.chi2,
        stamps.is_usable.sum(axis=(1, 2)),
        model,
    )


def _evaluate_part(
    psf: np.ndarray,
    flux: np.ndarray,
    weight: np.ndarray,
    residual: np.ndarray,
    has_company: np.ndarray,
) -> _Part:
    """`psf`: (n, 3, S, S); `weight`, `residual`: (n, S, S)."""
    n, k, size, _ = psf.shape
    weight, residual = weight.reshape(n, 1, -1), residual.reshape(n, 1, -1)
    total = np.maximum(weight.sum(axis=2, keepdims=True), np.finfo(np.float32).tiny)
    background = (weight * residual).sum(axis=2, keepdims=True) / total
    residual = residual - background
    columns = psf.reshape(n, k, -1).copy()
    columns[:, 1:] *= flux[:, None, None]
    # The background is eliminated: columns without their weighted mean do not see a constant.
    mean = columns @ weight.transpose(0, 2, 1) / total
    columns -= mean
    weighted = columns * weight
    return _Part(
        (weighted @ columns.transpose(0, 2, 1)).astype(float),
        (weighted @ residual.transpose(0, 2, 1))[..., 0].astype(float),
        background[:, 0, 0].astype(float),
        (weight * residual**2).sum(axis=(1, 2)).astype(float),
        columns[has_company].reshape(-1, k, size, size),
        weighted[has_company].reshape(-1, k, size, size),
        mean[has_company, :, 0],
    )
