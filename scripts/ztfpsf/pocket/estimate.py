"""The law of a quadrant from its images: stars of all fluxes, and the columns that are read first.

    chi2 = sum over pixels of stars (d - o(sky + f P; L))^2 / sigma^2 + first columns + prior

is minimised by Gauss-Newton over the drops of the law, what images have for themselves eliminated
(ztfpsf.pocket.equations). No drop is negative and their sum is less than 1, so that the law is
monotone and concave. The prior holds neighbouring drops alike where nothing is known about them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import nnls

from ztfpsf.errors import InputError
from ztfpsf.noise import Noise, read_variance
from ztfpsf.pocket.edge import Edge, predict_edge
from ztfpsf.pocket.equations import (
    BATCH,
    COUNTS,
    GEOMETRY,
    N_GRID,
    Own,
    Stars,
    Unknowns,
    accumulate,
)
from ztfpsf.pocket.law import N_DROPS, basis, fill
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.psf.inputs.settings import Batch, Clipping, FitSettings
from ztfpsf.psf.models import PsfModel, get_model
from ztfpsf.psf.profile.grid_modes import make_modes
from ztfpsf.psf.profile.star import FLUX, X
from ztfpsf.psf.solution.fit import FittedStars, find_stars

MODEL = "moffat"  # under the grid
DEGREE = 3  # of the profile, which is compiled for fits by it as well
ROUNDS = 2  # of its weights and rejections
PASSES = 4  # then the law changes by less than a tenth of its error
PASSES_OF_ALL = 2  # the last ones; the LEADERS are enough for those before
MIN_STARS = 100  # with fewer a PSF imitates the law
MAX_SLOPE = 0.98
MAX_STEP_PX = 0.3
GRID_PRECISION = 100.0  # residuals of a tenth of the peak
DROP_SCATTER = 0.1  # between neighbours: those of ZTF are 0.01 to 0.2
STARS_AT_ONCE = 4 * BATCH  # compiled for that number
LEADERS = 4 * STARS_AT_ONCE  # the brightest
# By which simulated laws are off: neighbouring pixels of a row share noise, which chi2 ignores.
LEAST_ERROR_ADU = 0.3
MIN_SIGMA = 3.0  # less is no pocket


class LawImage(NamedTuple):
    """An image that tells of the law of its quadrant."""

    stamps: ImageStamps
    edge: Edge | None  # None: not in the image


class LawFit(NamedTuple):
    """The law of a quadrant, and how well it is known."""

    drops: np.ndarray  # (N_DROPS,)
    covariance: np.ndarray  # (N_DROPS, N_DROPS)
    n_stars: int
    chi2_per_pixel: float  # of the pixels of stars, robust
    held_adu: float  # by the pocket in the sky of the images
    held_error_adu: float

    @property
    def is_found(self) -> bool:
        """Whether there is a pocket at all."""
        return self.held_adu > MIN_SIGMA * self.held_error_adu

    def error_adu(self, charge_adu: np.ndarray) -> np.ndarray:
        """Standard error of L(t)."""
        terms = basis(charge_adu)
        variance = np.einsum("...k,kl,...l->...", terms, self.covariance, terms)
        return np.sqrt(variance + LEAST_ERROR_ADU**2)


class _Image(NamedTuple):
    """An image between passes."""

    model: PsfModel
    modes: np.ndarray
    stars: Stars
    noise: Noise
    edge: Edge | None
    n_stars: int
    grid: np.ndarray  # (N_GRID,)
    own: Own | None = None
    matrix: np.ndarray | None = None  # of the shared unknowns
    gradient: np.ndarray | None = None


class _Normal(NamedTuple):
    """Equations of the drops alone."""

    matrix: np.ndarray
    gradient: np.ndarray


def measure_law(images: Sequence[LawImage], direction: int) -> LawFit:
    """The law of a quadrant from its images, one at least.

    `direction`: of reading, see ztfpsf.pocket.law.Pocket. Raises InputError where an image has too
    few stars.
    """
    states = [_begin(image, direction) for image in images]
    drops = np.zeros(N_DROPS)
    for number in range(PASSES):
        n = LEADERS if number < PASSES - PASSES_OF_ALL else None
        states = [_look(state, drops, n) for state in states]
        normal = _reduce_all(states, drops)
        new = _solve(normal, drops)
        states = [_step(state, new - drops) for state in states]
        drops = new
    covariance = np.linalg.inv(normal.matrix)
    sky_adu = np.median([np.median(image.stamps.sky_adu) for image in images])
    total = fill(drops, sky_adu)
    terms = basis(total)
    own = [state.own for state in states if state.own is not None]
    chi2 = sum(float(one.chi2.sum()) for one in own) / sum(int(one.n_pix.sum()) for one in own)
    return LawFit(
        drops,
        covariance,
        sum(state.n_stars for state in states),
        chi2,
        float(terms @ drops),
        float(np.sqrt(terms @ covariance @ terms + LEAST_ERROR_ADU**2)),
    )


def _begin(image: LawImage, direction: int) -> _Image:
    """Stars in a profile without grid, turned into read order."""
    stamps = image.stamps
    _check_number(int((~stamps.is_reserved).sum()), stamps)
    model = replace(get_model(MODEL), grid=GEOMETRY)
    settings = FitSettings(degree=DEGREE, clipping=Clipping(ROUNDS), batch=Batch(1, 1))
    fit = find_stars(replace(model, grid=None), stamps, settings)
    kept = fit.is_fitted & np.isfinite(fit.parameters).all(axis=1)
    _check_number(int(kept.sum()), stamps)
    stars, n = _turn(_take_stars(stamps, fit, kept), model, direction), int(kept.sum())
    typical = np.median(np.asarray(stars.profile)[:n], axis=0)
    # The profile stays as it is: the first modes, its size and ellipticity, are free in all terms.
    modes = make_modes(model, typical)[:, : max(COUNTS)]
    constant = stamps.sky_variance_adu2 - stamps.sky_level_adu / stamps.gain
    floor = read_variance(stamps.read_noise_electron, stamps.gain)
    constant = max(constant, floor) if np.isfinite(constant) else floor
    noise = Noise(stamps.gain, constant)
    return _Image(model, modes, stars, noise, image.edge, n, np.zeros(N_GRID))


def _check_number(n_stars: int, stamps: ImageStamps) -> None:
    if n_stars < MIN_STARS:
        raise InputError(
            f"{stamps.image}: {n_stars} stars to measure the pocket effect, {MIN_STARS} are "
            "needed: give its law from elsewhere (config key measure_pocket.law)."
        )


def _take_stars(stamps: ImageStamps, fit: FittedStars, kept: np.ndarray) -> Stars:
    u, v = 2.0 * stamps.x_px / stamps.nx - 1.0, 2.0 * stamps.y_px / stamps.ny - 1.0
    flux = np.maximum(fit.parameters[:, FLUX], 0.0)
    flux = flux / np.percentile(flux[kept], 95)
    terms = np.stack([np.ones_like(u), u, v, flux, u * u, u * v, v * v], axis=1)
    arrays = (fit.parameters, fit.params, terms, stamps.data, stamps.good, stamps.sky_adu)
    brightest_first = np.flatnonzero(kept)[np.argsort(-flux[kept], kind="stable")]
    n = len(brightest_first)
    blank = -n % STARS_AT_ONCE
    # Repeated stars without a good pixel fill up the last part.
    rows = np.append(brightest_first, np.repeat(brightest_first[:1], blank))
    filled = [a[rows] for a in arrays]
    filled[4][n:] = False  # good
    return Stars(*map(jnp.asarray, filled))


def _turn(stars: Stars, model: PsfModel, direction: int) -> Stars:
    """Rows in read order; along x the star and its profile turn with them."""
    if direction > 0:
        return stars
    e2 = model.Params._fields.index("e2")
    return stars._replace(
        stars=stars.stars.at[:, X].multiply(-1.0),
        profile=stars.profile.at[:, e2].multiply(-1.0),
        data=stars.data[:, :, ::-1],
        good=stars.good[:, :, ::-1],
    )


def _look(state: _Image, drops: np.ndarray, n_stars: int | None) -> _Image:
    """Normal equations at the present values, of the brightest `n_stars`, or of all."""
    unknowns = Unknowns(jnp.asarray(state.grid), jnp.asarray(drops))
    stars = jax.tree.map(lambda leaf: np.asarray(leaf)[:n_stars], state.stars)
    found = []
    for first in range(0, len(stars.stars), STARS_AT_ONCE):
        part = jax.tree.map(lambda leaf, i=first: leaf[i : i + STARS_AT_ONCE], stars)
        found.append(accumulate(state.model, state.modes, part, unknowns, state.noise))
    matrices, gradients, owns = zip(*jax.tree.map(np.asarray, found), strict=True)
    matrix, gradient = sum(matrices), sum(gradients)
    own = jax.tree.map(lambda *parts: np.concatenate(parts), *owns)
    # Errors of the PSF that no grid describes count as noise.
    excess = max(1.0, own.chi2.sum() / max(own.n_pix.sum(), 1))
    matrix, gradient = matrix / excess, gradient / excess
    matrix[np.arange(N_GRID), np.arange(N_GRID)] += GRID_PRECISION
    gradient[:N_GRID] -= GRID_PRECISION * state.grid
    return state._replace(own=own, matrix=matrix, gradient=gradient)


def _reduce_all(states: Sequence[_Image], drops: np.ndarray) -> _Normal:
    """The equations of the drops: of all images, and the prior."""
    change = np.diff(np.eye(N_DROPS), axis=0) / DROP_SCATTER
    matrix = change.T @ change + np.eye(N_DROPS)
    gradient = -matrix @ drops
    for state in states:
        assert state.matrix is not None  # _look was here
        assert state.gradient is not None
        border = state.matrix[:N_GRID, N_GRID:]
        factor = cho_factor(state.matrix[:N_GRID, :N_GRID])
        matrix = matrix + state.matrix[N_GRID:, N_GRID:] - border.T @ cho_solve(factor, border)
        rest = cho_solve(factor, state.gradient[:N_GRID])
        gradient = gradient + state.gradient[N_GRID:] - border.T @ rest
        if state.edge is not None:
            observed, slopes = predict_edge(drops, state.edge.sky_adu)
            weighted = slopes / state.edge.error_adu[:, None] ** 2
            matrix = matrix + weighted.T @ slopes
            gradient = gradient + weighted.T @ (state.edge.observed_adu - observed)
    return _Normal(matrix, gradient)


def _solve(normal: _Normal, drops: np.ndarray) -> np.ndarray:
    """The best drops that make a law."""
    root = np.linalg.cholesky(normal.matrix).T
    target = np.linalg.solve(root.T, normal.gradient + normal.matrix @ drops)
    new, _ = nnls(root, target)
    if new.sum() <= MAX_SLOPE:
        return new
    heavy = 100.0 * np.sqrt(np.diagonal(normal.matrix).max())
    rows = np.vstack([root, np.full(N_DROPS, heavy)])
    new, _ = nnls(rows, np.append(target, heavy * MAX_SLOPE))
    return new


def _step(state: _Image, change: np.ndarray) -> _Image:
    """Grid and stars after a step of the drops."""
    assert state.matrix is not None  # _look was here
    assert state.gradient is not None
    assert state.own is not None
    border = state.matrix[:N_GRID, N_GRID:]
    grid = np.linalg.solve(
        state.matrix[:N_GRID, :N_GRID], state.gradient[:N_GRID] - border @ change
    )
    shared = np.concatenate([grid, change])
    rest = state.own.gradient - state.own.coupling @ shared
    step = np.einsum("nij,nj->ni", state.own.inverse, rest)
    step[:, :FLUX] = np.clip(step[:, :FLUX], -MAX_STEP_PX, MAX_STEP_PX)
    stars = state.stars._replace(stars=state.stars.stars.at[: len(step)].add(step))
    return state._replace(stars=stars, grid=state.grid + grid)


def describe_law(drops: np.ndarray) -> np.ndarray:
    """Slopes of L at KNOTS_ADU, (N_DROPS + 1,)."""
    return np.append(np.cumsum(drops[::-1])[::-1], 0.0)
