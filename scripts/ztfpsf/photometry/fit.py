"""The passes of Gauss-Newton over all stars of an image."""

from typing import NamedTuple

import numpy as np

from ztfpsf.photometry.drawing import draw_psfs, draw_psfs_with_slopes
from ztfpsf.photometry.extent import Extent, choose_windows, measure_extent
from ztfpsf.photometry.frame import Frame, find_pixels, variance_of
from ztfpsf.photometry.groups import find_groups, find_pairs, pair_distances
from ztfpsf.photometry.normal import Normal, covariances, make_normal, solve
from ztfpsf.photometry.places import Places
from ztfpsf.psf.product import Psf

MAX_PASSES = 8
# After so many passes it is settled which stars may move.
DECISIONS = 3
EDM_TOLERANCE = 0.01  # expected decrease of chi2 that is left, as in fits of the PSF
MAX_STEP_PX = 0.5
MAX_SHIFT_PX = 1.0
# A star that does not move may be drawn this far from its place: 1e-4 of its flux.
DRAWN_WITHIN_PX = 0.01
FEWEST_FOR_SHIFT = 10


class Settings(NamedTuple):
    """Configuration of the photometry."""

    size_px: int = 15
    position_min_snr: float = 20.0


class Stamps(NamedTuple):
    """What stays the same from pass to pass; S is the width of a stamp."""

    centre_px: np.ndarray  # (n, 2) central pixels
    pixel: np.ndarray  # (n, S, S) index into the raveled planes
    is_usable: np.ndarray  # (n, S, S)
    data: np.ndarray  # (n, S, S) ADU
    sky: np.ndarray  # (n, S, S) ADU
    constant: np.ndarray  # (n, S, S) ADU^2
    pairs: np.ndarray  # (m, 2)
    is_unresolved: np.ndarray  # (m,) closer than the resolution


class Outskirts(NamedTuple):
    """Light of bright stars outside of their stamps, on windows of one size."""

    star: np.ndarray  # (b,)
    pixel: np.ndarray  # (b, W, W)
    psf: np.ndarray  # (b, W, W), 0 within the stamp


class State(NamedTuple):
    """What the passes change."""

    flux: np.ndarray  # (n,) ADU
    position_px: np.ndarray  # (n, 2)
    shift_px: np.ndarray  # (2,)
    is_free: np.ndarray  # (n,) the position is fitted
    is_at_limit: np.ndarray  # (n,) bool


class Evaluation(NamedTuple):
    """The equations at a state."""

    normal: Normal
    background: np.ndarray  # (n,) ADU, above the sky map
    chi2: np.ndarray  # (n,)
    n_pix: np.ndarray  # (n,)
    model: np.ndarray  # plane, sky and stars


class Measured(NamedTuple):
    """Result for n stars."""

    state: State
    evaluation: Evaluation
    covariance: np.ndarray  # (n, 3, 3) of flux, x, y
    covariance_alone: np.ndarray  # (n, 3, 3) the same without neighbours
    stamps: Stamps
    has_converged: np.ndarray  # (n,) bool
    n_passes: int


def measure_stars(psf: Psf, frame: Frame, places: Places, settings: Settings) -> Measured:
    """Measure all stars of an image with its PSF."""
    extent = measure_extent(psf, settings.size_px)
    stamps = _cut(frame, places, extent)
    n = len(places.start_px)
    held = np.zeros(n, bool)
    state = State(np.zeros(n), places.start_px.copy(), places.shift_px, held, held)
    drawn = draw_psfs_with_slopes(psf, state.position_px, stamps.centre_px, settings.size_px)
    evaluation = _evaluate(frame, stamps, drawn, (), state)
    state = state._replace(flux=solve(evaluation.normal)[:, 0])
    outskirts = _draw_outskirts(psf, frame, stamps, extent, state)
    for n_passes in range(1, MAX_PASSES + 1):
        if n_passes <= DECISIONS:
            state = _decide(state, evaluation.normal, stamps, settings)
        evaluation = _evaluate(frame, stamps, drawn, outskirts, state)
        step = solve(evaluation.normal)
        has_converged = _has_converged(step, evaluation)
        if has_converged.all() and n_passes > DECISIONS:
            break
        moved = _step(state, step, state.is_free & ~has_converged, places)
        # Positions change only together with what is drawn there.
        distance = np.hypot(*(moved.position_px - state.position_px).T)
        is_new = (distance > DRAWN_WITHIN_PX) | (moved.is_free & (distance > 0))
        position = np.where(is_new[:, None], moved.position_px, state.position_px)
        drawn[is_new] = draw_psfs_with_slopes(
            psf, position[is_new], stamps.centre_px[is_new], settings.size_px
        )
        state = moved._replace(position_px=position)
    group = find_groups(places.start_px, stamps.pairs)
    return Measured(
        state,
        evaluation,
        covariances(evaluation.normal, group),
        covariances(evaluation.normal, np.arange(n)),
        stamps,
        has_converged,
        n_passes,
    )


def _cut(frame: Frame, places: Places, extent: Extent) -> Stamps:
    centre = np.floor(places.start_px + 0.5).astype(int)
    pixel = find_pixels(frame, centre, extent.sizes_px[0])
    pairs = find_pairs(places.start_px, extent.reach_px)
    return Stamps(
        centre,
        pixel,
        frame.is_usable.ravel()[pixel],
        frame.data.ravel()[pixel],
        frame.sky.ravel()[pixel],
        frame.constant.ravel()[pixel],
        pairs,
        pair_distances(places.start_px, pairs) < extent.resolution_px,
    )


def _draw_outskirts(
    psf: Psf, frame: Frame, stamps: Stamps, extent: Extent, state: State
) -> tuple[Outskirts, ...]:
    """Drawn once: what is so far out hardly changes when a star moves by a tenth of a pixel."""
    sky, constant = stamps.sky[:, 0, 0], stamps.constant[:, 0, 0]
    noise = np.sqrt(np.median(variance_of(sky, sky, constant, frame.gain)))
    window = choose_windows(extent, state.flux, noise)
    return tuple(
        _draw_ring(psf, frame, stamps, state, np.flatnonzero(window == i), extent.sizes_px[i])
        for i in range(1, len(extent.sizes_px))
    )


def _draw_ring(
    psf: Psf, frame: Frame, stamps: Stamps, state: State, star: np.ndarray, size_px: int
) -> Outskirts:
    centre = stamps.centre_px[star]
    light = draw_psfs(psf, state.position_px[star], centre, size_px)
    width = stamps.pixel.shape[-1]
    inside = slice(size_px // 2 - width // 2, size_px // 2 + width // 2 + 1)
    light[:, inside, inside] = 0
    return Outskirts(star, find_pixels(frame, centre, size_px), light)


def _evaluate(
    frame: Frame,
    stamps: Stamps,
    drawn: np.ndarray,
    outskirts: tuple[Outskirts, ...],
    state: State,
) -> Evaluation:
    model = frame.sky.copy()
    flux = state.flux.astype(np.float32)[:, None, None]
    np.add.at(model.ravel(), stamps.pixel.ravel(), (flux * drawn[:, 0]).ravel())
    for ring in outskirts:
        np.add.at(model.ravel(), ring.pixel.ravel(), (flux[ring.star] * ring.psf).ravel())
    modelled = model.ravel()[stamps.pixel]
    weight = stamps.is_usable / variance_of(modelled, stamps.sky, stamps.constant, frame.gain)
    residual = stamps.data - modelled
    total = np.maximum(weight.sum(axis=(1, 2)), np.finfo(np.float32).tiny)
    background = (weight * residual).sum(axis=(1, 2)) / total
    residual -= background[:, None, None]
    columns = drawn.copy()
    columns[:, 1:] *= (flux * state.is_free[:, None, None])[:, None]
    # The background eliminated: columns without their weighted mean do not see a constant.
    mean = np.einsum("nkij,nij->nk", columns, weight) / total[:, None]
    columns -= mean[:, :, None, None]
    return Evaluation(
        make_normal(columns, weight, residual, stamps.centre_px, stamps.pairs),
        background,
        (weight * residual**2).sum(axis=(1, 2)),
        stamps.is_usable.sum(axis=(1, 2)),
        model,
    )


def _decide(state: State, normal: Normal, stamps: Stamps, settings: Settings) -> State:
    """Which stars may move: bright ones, and of an unresolved pair only the brighter."""
    snr = state.flux * np.sqrt(normal.own[:, 0, 0])
    first, second = stamps.pairs[stamps.is_unresolved].T
    is_free = (snr > settings.position_min_snr) & ~state.is_at_limit
    is_free[np.where(state.flux[first] < state.flux[second], first, second)] = False
    return state._replace(is_free=is_free)


def _has_converged(step: np.ndarray, evaluation: Evaluation) -> np.ndarray:
    """Whether the step is small in units of the errors, which a wrong PSF makes larger."""
    edm = np.einsum("na,nab,nb->n", step, evaluation.normal.own, step)
    misfit = evaluation.chi2 / np.maximum(evaluation.n_pix, 1)
    return edm < EDM_TOLERANCE * np.maximum(misfit, 1.0)


def _step(state: State, step: np.ndarray, is_moving: np.ndarray, places: Places) -> State:
    """Fluxes and positions after a step; stars that leave their place are put back and held."""
    move = np.clip(step[:, 1:], -MAX_STEP_PX, MAX_STEP_PX)
    position = state.position_px + np.where(is_moving[:, None], move, 0)
    left = state.is_free & (np.hypot(*(position - places.start_px).T) > MAX_SHIFT_PX)
    is_free = state.is_free & ~left
    shift = state.shift_px
    if is_free.sum() >= FEWEST_FOR_SHIFT:
        shift = np.median((position - places.catalogue_px)[is_free], axis=0)
    position = np.where(is_free[:, None], position, places.catalogue_px + shift)
    return State(state.flux + step[:, 0], position, shift, is_free, state.is_at_limit | left)
