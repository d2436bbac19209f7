"""Products of the workflow against the truth of a simulation."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import galsim
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from ztfpsf.errors import InputError
from ztfpsf.fits_files import damage_named, read_image
from ztfpsf.io import make_again, open_product
from ztfpsf.robust import mad_sigma
from ztfpsf.simulation.truth import RULE

BLOCK_PX = 32
MATCH_PX = 1.0
MAGNITUDE_BINS = (14.0, 15.0, 16.0, 17.0, 18.0)

# IPAC's bits of pixels that belong to sources: good pixels.
SOURCE_BITS = 2 | 2048
GRID = 5  # positions along each axis where PSFs are compared

Stamp = Callable[[float, float, int], np.ndarray]
# As `ztfpsf.simulation.psf.true_psf` draws the PSF: at x, y, of a size, shifted by an offset.
Shifted = Callable[[float, float, int, tuple[float, float]], np.ndarray]


class PixelComparison(NamedTuple):
    """Calibrated pixels against the noiseless image, without masked and affected pixels."""

    n_pixels: int
    offset_sigma: float  # median of (image - truth) / noise
    variance_ratio: float  # median over blocks of the mean squared (image - truth) / noise
    worst_block_sigma: float  # largest mean of a block, in units of its error
    missed_fraction: float  # affected pixels off by more than 5 sigma that are not masked


def compare_image(
    path_to_sciimg: str, path_to_varimg: str, path_to_mskimg: str, path_to_true_image: str
) -> tuple[dict[str, Any], tuple[int, int]]:
    """The comparison of pixels, and the shape (ny, nx) of the image."""
    image, _ = read_image(path_to_sciimg)
    variance, _ = read_image(path_to_varimg)
    mask, _ = read_image(path_to_mskimg)
    advice = make_again(RULE)
    with open_product(path_to_true_image, RULE) as hdus, damage_named(path_to_true_image, advice):
        noiseless, affected = hdus["NOISELESS"].data, hdus["AFFECTED"].data
    found = compare_pixels(image, variance, mask & ~SOURCE_BITS, noiseless, affected)
    return found._asdict(), image.shape


def compare_pixels(
    image: np.ndarray,
    variance: np.ndarray,
    mask: np.ndarray,
    noiseless: np.ndarray,
    affected: np.ndarray,
) -> PixelComparison:
    """All arrays (ny, nx); `mask` and `affected` are 0 for good pixels. Raises InputError."""
    if len({array.shape for array in (image, variance, mask, noiseless, affected)}) != 1:
        raise InputError(
            f"image {image.shape} and truth {noiseless.shape} differ in shape; "
            "compare the products of one quadrant."
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        pull = (image - noiseless) / np.sqrt(variance)
    usable = (mask == 0) & np.isfinite(pull)
    good = usable & (affected == 0)
    if not good.any():
        raise InputError("no pixel of the image is good; look at its mask.")
    n, mean, square = _block_sums(np.where(good, pull, 0.0), good)
    full = n > BLOCK_PX**2 / 2
    missed = usable & (affected != 0) & (np.abs(np.where(usable, pull, 0)) > 5)
    return PixelComparison(
        n_pixels=int(good.sum()),
        offset_sigma=float(np.median(pull[good])),
        variance_ratio=float(np.median(square[full] / n[full])) if full.any() else np.nan,
        worst_block_sigma=float(np.max(np.abs(mean[full]) / np.sqrt(n[full]), initial=0.0)),
        missed_fraction=float(missed.sum() / max(1, np.count_nonzero(affected))),
    )


def _block_sums(pull: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number, sum and sum of squares in each whole block."""
    ny, nx = (size // BLOCK_PX for size in pull.shape)
    cut = np.s_[: ny * BLOCK_PX, : nx * BLOCK_PX]

    def blocks(values: np.ndarray) -> np.ndarray:
        shaped = values[cut].reshape(ny, BLOCK_PX, nx, BLOCK_PX)
        return shaped.sum(axis=(1, 3), dtype=np.float64).ravel()

    return blocks(good), blocks(pull), blocks(pull**2)


def match_stars(fitted: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Rows of one image with status "ok" and the nearest true star within MATCH_PX as true_*.

    Of a blend the brightest true star counts.
    """
    fitted = fitted[fitted["status"] == "ok"]
    bright = truth.sort_values("flux_adu", ascending=False).reset_index(drop=True)
    tree = cKDTree(bright[["x_px", "y_px"]].to_numpy())
    near = tree.query_ball_point(fitted[["x_px", "y_px"]].to_numpy(), MATCH_PX)
    index = [min(rows, default=-1) for rows in near]
    matched = fitted[np.array(index, dtype=int) >= 0].reset_index(drop=True)
    true = bright.iloc[[row for row in index if row >= 0]].reset_index(drop=True)
    return matched.join(true[["x_px", "y_px", "flux_adu", "mag"]].add_prefix("true_"))


def compare_stars(stars: pd.DataFrame) -> pd.DataFrame:
    """One row per magnitude bin, and "all": biases and the widths of the pulls.

    `stars` are those of `match_stars`, with x_px, y_px, flux_adu and their errors (x_error_px,
    y_error_px, flux_error_adu). Biases are medians, in mmag (fitted minus true) and in thousandths
    of a pixel; pull widths are from the median absolute deviation.
    """
    rows = [_star_row(stars, "all")]
    for low, high in pairwise(MAGNITUDE_BINS):
        inside = stars["true_mag"].between(low, high, inclusive="left")
        rows.append(_star_row(stars[inside], f"{low:.0f}-{high:.0f}"))
    return pd.DataFrame(rows)


def _star_row(stars: pd.DataFrame, label: str) -> dict[str, str | int | float]:
    row: dict[str, str | int | float] = {"mag": label, "n": len(stars)}
    if stars.empty:
        return row
    mmag = -2500 * np.log10(stars["flux_adu"] / stars["true_flux_adu"])
    row["flux_bias_mmag"] = float(mmag.median())
    for axis in ("x", "y"):
        shift = 1000 * (stars[f"{axis}_px"] - stars[f"true_{axis}_px"])
        row[f"{axis}_bias_mpx"] = float(shift.median())
    for name, error in (
        ("flux_adu", "flux_error_adu"),
        ("x_px", "x_error_px"),
        ("y_px", "y_error_px"),
    ):
        pull = ((stars[name] - stars[f"true_{name}"]) / stars[error]).to_numpy()
        row[f"{name.split('_')[0]}_pull_width"] = float(mad_sigma(pull))
    return row


class PsfComparison(NamedTuple):
    """A fitted PSF against the true one, at positions all over the field."""

    n_positions: int
    l2_median: float  # |fitted - true| / |true|, centroids aligned
    size_bias: float  # mean of dT/T, T = 2 sigma^2 of adaptive moments
    size_rms: float
    ellipticity_rms: float  # of both components together
    shift_rms_px: float  # of the centroid


def grid_positions(shape: tuple[int, int]) -> np.ndarray:
    """Positions (x, y) all over the image, each with its own sub-pixel phase, (GRID^2, 2)."""
    ny, nx = shape
    steps = (np.arange(GRID) + 0.5) / GRID
    x, y = np.meshgrid(steps * nx, steps * ny)
    phase = np.linspace(-0.4, 0.4, GRID**2)
    return np.stack([np.round(x.ravel()) + phase, np.round(y.ravel()) + phase[::-1]], axis=1)


def compare_psf(stamp: Stamp, true: Shifted, positions: np.ndarray, size_px: int) -> PsfComparison:
    """`stamp(x, y, size)` is the fitted PSF as `TruePsf.stamp` defines it; positions (n, 2)."""
    rows = np.array([_compare_stamp(stamp, true, x, y, size_px) for x, y in positions])
    l2, size, e1, e2, dx, dy = rows.T
    return PsfComparison(
        len(rows),
        float(np.median(l2)),
        float(size.mean()),
        float(np.sqrt(np.mean(size**2))),
        float(np.sqrt(np.mean(e1**2 + e2**2) / 2)),
        float(np.sqrt(np.mean(dx**2 + dy**2))),
    )


def _compare_stamp(
    stamp: Stamp, true: Shifted, x_px: float, y_px: float, size_px: int
) -> tuple[float, ...]:
    fitted = np.asarray(stamp(x_px, y_px, size_px), dtype=float)
    offset = np.array([x_px, y_px]) - np.floor(np.array([x_px, y_px]) + 0.5)
    got, expected = _moments(fitted), _moments(true(x_px, y_px, size_px, tuple(offset)))
    shift = got[:2] - expected[:2]
    aligned = true(x_px, y_px, size_px, tuple(offset + shift))
    expected = _moments(aligned)
    l2 = np.sqrt(np.sum((fitted - aligned) ** 2) / np.sum(aligned**2))
    size = (got[2] / expected[2]) ** 2 - 1
    return (l2, size, *(got[3:] - expected[3:]), *shift)


def _moments(image: np.ndarray) -> np.ndarray:
    """x, y, sigma (px), e1, e2 by GalSim's adaptive moments."""
    moments = galsim.hsm.FindAdaptiveMom(galsim.Image(np.ascontiguousarray(image)))
    shape, centre = moments.observed_shape, moments.moments_centroid
    return np.array([centre.x, centre.y, moments.moments_sigma, shape.e1, shape.e2])
