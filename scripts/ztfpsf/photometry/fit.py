"""The passes of Gauss-Newton over all stars of an image."""

from typing import NamedTuple

import numpy as np

from ztfpsf.photometry.drawing import draw_psfs, draw_psfs_with_slopes
from ztfpsf.photometry.equations import Evaluation, Outskirts, Stamps, evaluate
from ztfpsf.photometry.extent import Extent, choose_windows, measure_extent
from ztfpsf.photometry.frame import Frame, find_pixels, variance_of
from ztfpsf.photometry.groups import find_overlaps
from ztfpsf.photometry.normal import covariances, hold, solve
from ztfpsf.photometry.places import Places
from ztfpsf.psf.product import Psf

MAX_PASSES = 6
# After so many passes it is settled which stars may move.
DECISIONS = 2
TOLERANCE = 0.1  # a star has converged when its unknowns change by less, in units of their errors
MAX_STEP_PX = 0.5
MAX_SHIFT_PX = 1.0
# A star that does not move may be drawn this far from its place: 1e-4 of its flux.
DRAWN_WITHIN_PX = 0.01
FEWEST_FOR_SHIFT = 10


class Settings(NamedTuple):
    """Configuration of the photometry."""

    size_px: int = 15
    position_min_snr: float = 20.0


class State(NamedTuple):
    """What the passes change."""

    flux: np.ndarray  # (n,) ADU
    position_px: np.ndarray  # (n, 2)
    shift_px: np.ndarray  # (2,)
    is_free: np.ndarray  # (n,) the position is fitted
    is_at_limit: np.ndarray  # (n,) bool


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
    everyone, nobody = np.ones(n, bool), np.zeros(n, bool)
    state = State(np.zeros(n), places.start_px.copy(), places.shift_px, everyone, nobody)
    drawn = draw_psfs_with_slopes(psf, state.position_px, stamps.centre_px, settings.size_px)
    # Fluxes alone at first, then with the light of bright stars far out.
    outskirts: tuple[Outskirts, ...] = ()
    for _ in range(2):
        evaluation = evaluate(frame, stamps, drawn, outskirts, state.flux)
        step = solve(hold(evaluation.normal, nobody))
        state = state._replace(flux=state.flux + step[:, 0])
        outskirts = outskirts or _draw_outskirts(psf, frame, stamps, extent, state)
    for n_passes in range(1, MAX_PASSES + 1):
        evaluation = evaluate(frame, stamps, drawn, outskirts, state.flux)
        normal = hold(evaluation.normal, state.is_free)
        covariance = covariances(normal, stamps.overlaps.group)
        if n_passes <= DECISIONS:
            state = _decide(state, covariance, settings)
            normal = hold(normal, state.is_free)
        step = solve(normal)
        has_converged = _has_converged(step, covariance, evaluation)
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
    alone = covariances(normal, np.arange(n))
    return Measured(state, evaluation, covariance, alone, stamps, has_converged, n_passes)


def _cut(frame: Frame, places: Places, extent: Extent) -> Stamps:
    centre = np.floor(places.start_px + 0.5).astype(int)
    pixel = find_pixels(frame, centre, extent.sizes_px[0])
    return Stamps(
        centre,
        pixel,
        frame.is_usable.ravel()[pixel],
        frame.data.ravel()[pixel],
        frame.sky.ravel()[pixel],
        frame.constant.ravel()[pixel],
        find_overlaps(places.start_px, extent.reach_px),
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


def _decide(state: State, covariance: np.ndarray, settings: Settings) -> State:
    """Which stars may move: those that are bright enough beside their neighbours."""
    error = np.sqrt(np.maximum(covariance[:, 0, 0], 0))
    is_bright = state.flux > settings.position_min_snr * error
    return state._replace(is_free=state.is_free & is_bright)


def _has_converged(step: np.ndarray, covariance: np.ndarray, evaluation: Evaluation) -> np.ndarray:
    """Whether the step is small in units of the errors, which a wrong PSF makes larger."""
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    misfit = np.maximum(evaluation.chi2 / np.maximum(evaluation.n_pix, 1), 1.0)
    return (step**2 < TOLERANCE**2 * variance * misfit[:, None]).all(axis=1)


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
