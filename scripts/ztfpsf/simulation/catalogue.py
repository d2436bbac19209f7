"""Positions and magnitudes of simulated stars."""

import numpy as np
from scipy.spatial import cKDTree

from ztfpsf.errors import InputError


def magnitudes(
    random: np.random.Generator, n: int, brightest: float, faintest: float, slope: float
) -> np.ndarray:
    """Magnitudes with counts dN/dm proportional to 10^(slope m), shape (n,).

    At high galactic latitude Gaia's counts between G = 14 and 20 have a slope of about 0.2.
    """
    uniform = random.random(n)
    if slope == 0:
        return brightest + (faintest - brightest) * uniform
    ends = 10 ** (slope * (np.array([brightest, faintest]) - faintest))
    return faintest + np.log10(ends[0] + (ends[1] - ends[0]) * uniform) / slope


def flux_adu(mag: np.ndarray, zeropoint_mag: float) -> np.ndarray:
    """Flux, ADU per exposure, of magnitudes."""
    return 10 ** (0.4 * (zeropoint_mag - np.asarray(mag)))


def isolated_positions(
    random: np.random.Generator, n: int, nx: int, ny: int, separation_px: float, edge_px: float
) -> np.ndarray:
    """n random positions (x, y) at least `separation_px` apart, shape (n, 2).

    Raises InputError when the image has no room for them.
    """
    low, high = np.array([edge_px] * 2), np.array([nx - 1 - edge_px, ny - 1 - edge_px])
    kept = np.empty((0, 2))
    for _ in range(20 if np.all(high > low) else 0):
        candidates = random.uniform(low, high, size=(2 * n + 50, 2))
        kept = _thin(np.concatenate([kept, candidates]), separation_px)[:n]
        if len(kept) == n:
            return kept
    raise InputError(
        f"{n} stars {separation_px} px apart do not fit on {nx} x {ny} px; "
        "ask for fewer stars or a smaller separation."
    )


def _thin(points: np.ndarray, separation_px: float) -> np.ndarray:
    """Drop every point too close to one kept before it."""
    keep = np.ones(len(points), dtype=bool)
    pairs = cKDTree(points).query_pairs(separation_px, output_type="ndarray")
    for first, second in pairs[np.lexsort(pairs.T[::-1])]:
        if keep[first]:
            keep[second] = False
    return points[keep]


def neighbours(
    random: np.random.Generator, points: np.ndarray, distance_px: tuple[float, float]
) -> np.ndarray:
    """One position beside each point, in a random direction, shape (n, 2)."""
    radius = random.uniform(*distance_px, size=len(points))
    angle = random.uniform(0, 2 * np.pi, size=len(points))
    return points + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
