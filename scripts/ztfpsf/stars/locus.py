"""The stellar locus: point sources of an image share one size, which varies slowly over it."""

import numpy as np

from ztfpsf.robust import MAD_TO_SIGMA

# Of the half-light radius: the pixel phase and the PSF's variation within the polynomial take
# 3 % (one sigma) on undersampled images. SNR_FACTOR / snr widens this for noise.
RELATIVE_TOLERANCE = 0.1
SNR_FACTOR = 4.0
# Stars needed for a polynomial of this degree in x and y.
MIN_STARS_BY_DEGREE = {2: 60, 1: 20}
N_CLIPS = 5


def find_size_outliers(
    x: np.ndarray, y: np.ndarray, half_light_radius: np.ndarray, snr: np.ndarray
) -> np.ndarray:
    """Sources (n,) that are larger (galaxies, blends) or smaller (cosmic rays) than the stars."""
    ratio = half_light_radius / fit_locus(x, y, half_light_radius, snr)
    tolerance = np.hypot(RELATIVE_TOLERANCE, SNR_FACTOR / snr)
    return ~(np.abs(ratio - 1) <= tolerance)


def fit_locus(
    x: np.ndarray, y: np.ndarray, half_light_radius: np.ndarray, snr: np.ndarray
) -> np.ndarray:
    """Size of a point source at each position (n,): a clipped polynomial through the bright half.

    Starts from the median, which is a star's as long as stars are the majority.
    """
    if len(x) == 0:
        return np.zeros(0)
    bright = (snr >= np.median(snr)) & np.isfinite(half_light_radius)
    if not bright.any():
        return np.full(len(x), np.nan)
    degree = next((d for d, n in MIN_STARS_BY_DEGREE.items() if bright.sum() >= n), 0)
    design = _make_polynomials(x, y, degree)
    locus = np.full(len(x), np.median(half_light_radius[bright]))
    # Wide at first, so that the variation over the field is not clipped before it is fitted.
    tolerance = 3 * RELATIVE_TOLERANCE
    for _ in range(N_CLIPS):
        deviation = np.abs(half_light_radius / locus - 1)
        used = bright & (deviation <= tolerance)
        if used.sum() < max(design.shape[1], 3):
            break
        coefficients, *_ = np.linalg.lstsq(design[used], half_light_radius[used], rcond=None)
        locus = design @ coefficients
        scatter = MAD_TO_SIGMA * np.median(np.abs(half_light_radius[used] / locus[used] - 1))
        tolerance = max(3 * scatter, 0.02)
    return locus


def _make_polynomials(x: np.ndarray, y: np.ndarray, degree: int) -> np.ndarray:
    """Monomials (n, k) up to `degree` of positions scaled to about [-1, 1]."""
    u, v = ((z - z.mean()) / max(np.ptp(z) / 2, 1.0) for z in (x, y))
    return np.stack([u**i * v**j for i in range(degree + 1) for j in range(degree + 1 - i)], axis=1)
