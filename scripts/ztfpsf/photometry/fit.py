"""The passes of Gauss-Newton over all stars of an image."""

from typing import NamedTuple

import numpy as np

from ztfpsf.noise import model_variance
from ztfpsf.photometry.crowd import solve_crowd
from ztfpsf.photometry.equations import Evaluation, Stamps, cut_stamps, evaluate
from ztfpsf.photometry.extent import measure_extent
from ztfpsf.photometry.frame import Frame
from ztfpsf.photometry.groups import Overlaps, find_overlaps
from ztfpsf.photometry.light import Light, add_outskirts, draw_light, redraw
from ztfpsf.photometry.normal import Inverse, hold, invert, invert_alone
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
    """What the passes change, of n stars."""

    flux: np.ndarray  # (n,) ADU
    position_px: np.ndarray  # (n, 2)
    shift_px: np.ndarray  # (2,) of the image relative to the catalogue
    is_free: np.ndarray  # (n,) the position is fitted
    is_at_limit: np.ndarray  # (n,) bool


class Step(NamedTuple):
    """The next step, and the errors of where it starts."""

    unknowns: np.ndarray  # (n, 3) flux, x, y
    inverse: Inverse


class Measured(NamedTuple):
    """Result for n stars."""

    state: State
    evaluation: Evaluation
    covariance: np.ndarray  # (n, 3, 3) of flux, x, y
    covariance_alone: np.ndarray  # (n, 3, 3) the same without neighbours
    stamps: Stamps
    light: Light
    overlaps: Overlaps
    has_converged: np.ndarray  # (n,) bool
    n_passes: int


def measure_stars(psf: Psf, frame: Frame, places: Places, settings: Settings) -> Measured:
    """Measure all stars of an image with its PSF."""
    extent = measure_extent(psf, settings.size_px)
    overlaps = find_overlaps(places.start_px, extent.reach_px)
    light = draw_light(psf, frame, places.start_px, settings.size_px)
    stamps = cut_stamps(frame, light.pixel)
    state = _start(places)
    # Fluxes alone at first, and again when each star is drawn for its flux and bright ones are seen
    # as far out as they reach.
    state = _add_fluxes(state, frame, stamps, overlaps, light)
    noise = _typical_noise(stamps, frame.gain)
    redraw(light, psf, places.start_px, state.flux, np.ones_like(state.is_free))
    light = add_outskirts(light, psf, frame, extent, places.start_px, state.flux, noise)
    state = _add_fluxes(state, frame, stamps, overlaps, light)
    for n_passes in range(1, MAX_PASSES + 1):
        evaluation = evaluate(frame, stamps, overlaps, light, state.flux)
        if n_passes <= DECISIONS:
            state = _decide(state, overlaps, evaluation, settings)
        step = _solve(light, overlaps, evaluation, state.is_free)
        has_converged = _has_converged(step, evaluation)
        if has_converged.all() and n_passes > DECISIONS:
            break
        moved = _move(state, step, has_converged, places)
        redraw(
            light,
            psf,
            moved.position_px,
            moved.flux,
            (moved.position_px != state.position_px).any(axis=1),
        )
        state = moved
    alone = invert_alone(hold(evaluation.normal, state.is_free))
    return Measured(
        state,
        evaluation,
        step.inverse.covariances(),
        alone.covariances(),
        stamps,
        light,
        overlaps,
        has_converged,
        n_passes,
    )


def _start(places: Places) -> State:
    everyone = np.ones(len(places.start_px), bool)
    return State(0.0 * everyone, places.start_px, places.shift_px, everyone, ~everyone)


def _add_fluxes(
    state: State, frame: Frame, stamps: Stamps, overlaps: Overlaps, light: Light
) -> State:
    evaluation = evaluate(frame, stamps, overlaps, light, state.flux)
    step = _solve(light, overlaps, evaluation, np.zeros_like(state.is_free))
    return state._replace(flux=state.flux + step.unknowns[:, 0])


def _typical_noise(stamps: Stamps, gain: float) -> float:
    sky = stamps.sky[:, 0, 0]
    return float(np.sqrt(np.median(model_variance(sky, sky, gain, stamps.constant[:, 0, 0]))))


def _solve(light: Light, overlaps: Overlaps, evaluation: Evaluation, is_free: np.ndarray) -> Step:
    normal = hold(evaluation.normal, is_free)
    inverse = invert(normal, overlaps.group)
    unknowns = inverse.apply(normal.gradient)
    if overlaps.is_crowded.any():
        crowd = np.flatnonzero(overlaps.is_crowded)
        unknowns[crowd] = solve_crowd(crowd, light, evaluation, inverse, is_free)
    return Step(unknowns, inverse)


def _decide(state: State, overlaps: Overlaps, evaluation: Evaluation, settings: Settings) -> State:
    """Which stars may move: those that would be bright enough, with their neighbours moving."""
    inverse = invert(hold(evaluation.normal, state.is_free), overlaps.group)
    variance = np.maximum(inverse.covariances()[:, 0, 0], 0)
    is_bright = state.flux > settings.position_min_snr * np.sqrt(variance)
    return state._replace(is_free=state.is_free & is_bright)


def _has_converged(step: Step, evaluation: Evaluation) -> np.ndarray:
    """Whether the step is small in units of the errors, which a wrong PSF makes larger."""
    variance = np.diagonal(step.inverse.covariances(), axis1=1, axis2=2)
    misfit = np.maximum(evaluation.chi2 / np.maximum(evaluation.n_pix, 1), 1.0)
    return (step.unknowns**2 <= TOLERANCE**2 * variance * misfit[:, None]).all(axis=1)


def _move(state: State, step: Step, has_converged: np.ndarray, places: Places) -> State:
    """Fluxes and positions after a step; stars that leave their place are put back and held."""
    move = np.clip(step.unknowns[:, 1:], -MAX_STEP_PX, MAX_STEP_PX)
    position = np.where(has_converged[:, None], state.position_px, state.position_px + move)
    left = state.is_free & (np.hypot(*(position - places.start_px).T) > MAX_SHIFT_PX)
    is_free = state.is_free & ~left
    shift = state.shift_px
    if is_free.sum() >= FEWEST_FOR_SHIFT:
        shift = np.median((position - places.catalogue_px)[is_free], axis=0)
    held = places.catalogue_px + shift
    is_far = np.hypot(*(held - state.position_px).T) > DRAWN_WITHIN_PX
    held = np.where(is_far[:, None], held, state.position_px)
    return State(
        state.flux + step.unknowns[:, 0],
        np.where(is_free[:, None], position, held),
        shift,
        is_free,
        state.is_at_limit | left,
    )
