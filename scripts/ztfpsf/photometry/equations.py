"""The equations of all stars at a state: what is drawn, what is left of the data, its derivatives.

Stars are worked on in parts that stay in cache, side by side on two cores.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ztfpsf.photometry.frame import Frame, variance_of
from ztfpsf.photometry.groups import Overlaps
from ztfpsf.photometry.normal import Columns, Normal, make_coupling

PART = 512  # stars
THREADS = 2


class Stamps(NamedTuple):
    """The pixels of n stars; S is the width of a stamp."""

    centre_px: np.ndarray  # (n, 2) column and row of the central pixels
    pixel: np.ndarray  # (n, S, S) index into the raveled planes
    is_usable: np.ndarray  # (n, S, S)
    data: np.ndarray  # (n, S, S) ADU
    sky: np.ndarray  # (n, S, S) ADU
    constant: np.ndarray  # (n, S, S) ADU^2
    overlaps: Overlaps


class Outskirts(NamedTuple):
    """Light of b bright stars outside of their stamps, on windows of W px."""

    star: np.ndarray  # (b,)
    pixel: np.ndarray  # (b, W, W)
    psf: np.ndarray  # (b, W, W), 0 within the stamp


class Evaluation(NamedTuple):
    """The equations, and how well the data are described."""

    normal: Normal
    background: np.ndarray  # (n,) ADU, above the sky map
    chi2: np.ndarray  # (n,)
    n_pix: np.ndarray  # (n,)
    model: np.ndarray  # plane, sky and stars


class _Part(NamedTuple):
    """Evaluation of some stars."""

    own: np.ndarray
    gradient: np.ndarray
    background: np.ndarray
    chi2: np.ndarray
    columns: np.ndarray  # of those that are in a pair
    weighted: np.ndarray


def evaluate(
    frame: Frame,
    stamps: Stamps,
    drawn: np.ndarray,
    outskirts: tuple[Outskirts, ...],
    flux_adu: np.ndarray,
) -> Evaluation:
    """`drawn`: (n, 3, S, S) PSF of each star and its derivatives by x and y."""
    n = len(flux_adu)
    flux = flux_adu.astype(np.float32)
    model = draw_model(frame, stamps, drawn, outskirts, flux)
    pairs = stamps.overlaps.pairs
    is_paired = np.bincount(pairs.ravel(), minlength=n) > 0

    def work(start: int) -> _Part:
        part = slice(start, start + PART)
        some = Stamps(*(array[part] for array in stamps[:-1]), stamps.overlaps)
        return _evaluate_part(
            some, drawn[part], flux[part], model.ravel()[some.pixel], frame.gain, is_paired[part]
        )

    with ThreadPoolExecutor(THREADS) as pool:
        found = _Part(*map(np.concatenate, zip(*pool.map(work, range(0, n, PART)), strict=True)))
    columns = Columns(found.columns, found.weighted, np.cumsum(is_paired) - 1)
    return Evaluation(
        Normal(found.own, pairs, make_coupling(columns, stamps.centre_px, pairs), found.gradient),
        found.background,
        found.chi2,
        stamps.is_usable.sum(axis=(1, 2)),
        model,
    )


def draw_model(
    frame: Frame,
    stamps: Stamps,
    drawn: np.ndarray,
    outskirts: tuple[Outskirts, ...],
    flux: np.ndarray,
) -> np.ndarray:
    """Sky and all stars, a padded plane in ADU."""
    model = frame.sky.copy()
    np.add.at(model.ravel(), stamps.pixel.ravel(), (flux[:, None, None] * drawn[:, 0]).ravel())
    for ring in outskirts:
        light = flux[ring.star, None, None] * ring.psf
        np.add.at(model.ravel(), ring.pixel.ravel(), light.ravel())
    return model


def _evaluate_part(
    stamps: Stamps,
    drawn: np.ndarray,
    flux: np.ndarray,
    model: np.ndarray,
    gain: float,
    is_paired: np.ndarray,
) -> _Part:
    """`model`: (n, S, S) sky and all stars."""
    n, k, size, _ = drawn.shape
    weight = stamps.is_usable / variance_of(model, stamps.sky, stamps.constant, gain)
    weight = weight.reshape(n, 1, -1)
    total = np.maximum(weight.sum(axis=2), np.finfo(np.float32).tiny)
    residual = (stamps.data - model).reshape(n, 1, -1)
    background = (weight * residual).sum(axis=2) / total
    residual -= background[..., None]
    columns = drawn.reshape(n, k, -1).copy()
    columns[:, 1:] *= flux[:, None, None]
    # The background is eliminated: columns without their weighted mean do not see a constant.
    columns -= (columns @ weight.transpose(0, 2, 1)) / total[..., None]
    weighted = columns * weight
    return _Part(
        (weighted @ columns.transpose(0, 2, 1)).astype(float),
        (weighted @ residual.transpose(0, 2, 1))[..., 0].astype(float),
        background[:, 0].astype(float),
        (weight * residual**2).sum(axis=(1, 2)).astype(float),
        columns[is_paired].reshape(-1, k, size, size),
        weighted[is_paired].reshape(-1, k, size, size),
    )
