"""Cosmic rays in a single image: pixels sharper than any star of that image.

Candidates stand out by their Laplacian, as in van Dokkum (2001, PASP 113, 1420; L.A.Cosmic):
S = L+ / (2 N) with L+ the mean over the four quarters of a pixel of max(0, 2 p - h - v), h and v
the neighbours of that quarter. ZTF's stars may be only 1 px wide, where L.A.Cosmic's second test
takes them for hits. Instead the sharpness s = min(W + E, N + S) / (2 p), above the median of the
surroundings, is compared with that of the bright stars: a star centred on a pixel has the smallest
s the PSF allows, a hit is below it at least across its track. Many hits among few stars lower the
limit, so the search then finds fewer, never stars.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ztfpsf.calibration.detector import BLOCK_ROWS
from ztfpsf.calibration.mask import grow

_MARGIN = 4  # also the half width of the surroundings
_TRACK_SIGMA = 3.0  # a neighbour of a hit this far above the surroundings belongs to its track
_MAX_WINDOWS = 2048  # in memory at a time

# Sharpness of a centred, pixel-integrated Moffat star (beta 2.9) with a FWHM of 1.0 px: nothing in
# ZTF is sharper, so it is the limit of images with too few stars to tell.
SHARPEST = 0.15


@dataclass(frozen=True)
class Cosmics:
    """Settings of the search."""

    sigma_clip: float = 5.0  # Laplacian, in noise of the pixel
    margin_sigma: float = 3.0  # distance from the sharpness of stars, in noise
    stars_quantile: float = 0.03  # of the sharpness of bright peaks: the sharpest stars
    safety: float = 0.7  # times that quantile is the limit
    bright_sigma: float = 50.0  # peaks that count as bright
    min_stars: int = 30
    grow_px: int = 2  # around a hit, where pixels stand out


class _Candidates(NamedTuple):
    rows: np.ndarray
    columns: np.ndarray
    sharpness: np.ndarray
    error: np.ndarray  # of the sharpness
    signal_to_noise: np.ndarray
    is_peak: np.ndarray  # local maximum


def find_cosmics(
    image_adu: np.ndarray, variance_adu2: np.ndarray, skip: np.ndarray, settings: Cosmics
) -> np.ndarray:
    """True where a cosmic ray hit; all arrays (ny, nx). `skip` marks pixels not to be flagged.

    The outermost 4 px are not searched. NaN pixels are neither hits nor neighbours of any.
    """
    found = np.zeros(image_adu.shape, bool)
    rows, columns = _strong_pixels(image_adu, variance_adu2, settings.sigma_clip)
    wanted = ~skip[rows, columns]
    candidates = _measure(image_adu, variance_adu2, rows[wanted], columns[wanted])
    limit = sharpness_limit(candidates, settings)
    hit = candidates.sharpness + settings.margin_sigma * candidates.error < limit
    if not hit.any():
        return found
    found[candidates.rows[hit], candidates.columns[hit]] = True
    return _grow_hits(found, image_adu, variance_adu2, settings) & ~skip


def sharpness_limit(candidates: _Candidates, settings: Cosmics) -> float:
    """Sharpness below which nothing can be a star."""
    bright = candidates.is_peak & (candidates.signal_to_noise > settings.bright_sigma)
    if bright.sum() < settings.min_stars:
        return SHARPEST * settings.safety
    stars = np.quantile(candidates.sharpness[bright], settings.stars_quantile)
    return max(float(stars), SHARPEST) * settings.safety


def _measure(
    image: np.ndarray, variance: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> _Candidates:
    window = image[_window(rows, columns, 1)].reshape(-1, 3, 3)
    surroundings = _surroundings(image, rows, columns)
    peak = window[:, 1, 1] - surroundings
    across = 0.5 * (window[:, 1, 0] + window[:, 1, 2]) - surroundings
    along = 0.5 * (window[:, 0, 1] + window[:, 2, 1]) - surroundings
    with np.errstate(divide="ignore", invalid="ignore"):
        sharpness = np.where(peak > 0, np.minimum(across, along) / peak, np.inf)
    noise2 = variance[rows, columns]
    # The neighbours of a hit have the noise of the sky, those of a star at most that of the peak.
    neighbours2 = np.where(
        across < along,
        variance[rows, columns - 1] + variance[rows, columns + 1],
        variance[rows - 1, columns] + variance[rows + 1, columns],
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(0.25 * neighbours2 + sharpness**2 * noise2) / peak
        signal_to_noise = peak / np.sqrt(noise2)
    is_peak = window[:, 1, 1] >= window.reshape(-1, 9).max(axis=1, initial=-np.inf)
    measured = np.isfinite(sharpness) & np.isfinite(error)
    columns_of_table = (rows, columns, sharpness, error, signal_to_noise, is_peak)
    return _Candidates(*(column[measured] for column in columns_of_table))


def _window(rows: np.ndarray, columns: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Index arrays (n, (2 radius + 1)^2) of the squares around pixels."""
    dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, -1)
    return rows[:, None] + dy, columns[:, None] + dx


def _surroundings(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Medians around pixels, NaN last in order: high by half a rank per NaN."""
    medians, middle = np.empty(len(rows), image.dtype), (2 * _MARGIN + 1) ** 2 // 2
    for first in range(0, len(rows), _MAX_WINDOWS):
        part = np.s_[first : first + _MAX_WINDOWS]
        windows = image[_window(rows[part], columns[part], _MARGIN)]
        medians[part] = np.partition(windows, middle, axis=1)[:, middle]
    return medians


def _strong_pixels(image: np.ndarray, variance: np.ndarray, sigma_clip: float) -> tuple:
    """Rows and columns of the pixels with S > sigma_clip.

    A cheap pass, in bands that stay in the processor's cache, finds those whose sharpest quarter
    could reach it; the rest is done for them.
    """
    ny = image.shape[0]
    found = [(np.empty(0, int), np.empty(0, int))]
    for first in range(_MARGIN, ny - _MARGIN, BLOCK_ROWS):
        stop = min(first + BLOCK_ROWS, ny - _MARGIN)
        around = np.s_[first - 1 : stop + 1]
        rows, columns = _bound(image[around], variance[around], sigma_clip)
        found.append((rows + first, columns + _MARGIN))
    rows, columns = (np.concatenate(part) for part in zip(*found, strict=True))
    limit = 2.0 * sigma_clip * np.sqrt(variance[rows, columns])
    strong = _laplacian(image, rows, columns) > limit
    return rows[strong], columns[strong]


def _bound(image: np.ndarray, variance: np.ndarray, sigma_clip: float) -> tuple:
    """Pixels of a band, without its first and last row, that may be strong."""
    inner, before, after = (slice(_MARGIN + i, i - _MARGIN) for i in (0, -1, 1))
    centre = image[1:-1, inner]
    if centre.size == 0:
        return np.empty(0, int), np.empty(0, int)
    bound = np.minimum(image[1:-1, before], image[1:-1, after])
    bound += np.minimum(image[:-2, inner], image[2:, inner])
    np.subtract(centre, bound, out=bound)
    bound += centre
    # One limit for the band: its pixel of least noise.
    limit = 2.0 * sigma_clip * np.sqrt(np.fmin.reduce(variance[1:-1, inner], axis=None))
    return np.divmod(np.flatnonzero(bound > limit), centre.shape[1])


def _laplacian(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """L+ at pixels of any shape of index arrays."""
    twice = 2.0 * image[rows, columns]
    across = image[rows, columns - 1], image[rows, columns + 1]
    along = image[rows - 1, columns], image[rows + 1, columns]
    return sum(np.maximum(twice - h - v, 0.0) for h in across for v in along) / 4.0


def _grow_hits(
    found: np.ndarray, image: np.ndarray, variance: np.ndarray, settings: Cosmics
) -> np.ndarray:
    """Add the neighbours brighter than the surroundings, pixel by pixel along the track."""
    ny, nx = image.shape
    for _ in range(settings.grow_px):
        rows, columns = np.nonzero(grow(found, 1) & ~found)
        inside = (np.minimum(rows, ny - 1 - rows) >= _MARGIN) & (
            np.minimum(columns, nx - 1 - columns) >= _MARGIN
        )
        rows, columns = rows[inside], columns[inside]
        excess = image[rows, columns] - _surroundings(image, rows, columns)
        bright = excess > _TRACK_SIGMA * np.sqrt(variance[rows, columns])
        found[rows[bright], columns[bright]] = True
    return found
