"""The passes of Gauss-Newton over all stars of an image."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ztfpsf.noise import model_variance
from ztfpsf.photometry.equations import (
    Evaluation,
    StarPixels,
    cut_pixels,
    evaluate,
    find_model_covariance,
)
from ztfpsf.photometry.groups import Overlaps, find_overlaps, find_reach
from ztfpsf.photometry.light import (
    Light,
    add_outskirts,
    choose_windows,
    draw_light,
    draw_widest,
    redraw,
    redraw_still,
)
from ztfpsf.photometry.planes import ImagePlanes, Places
from ztfpsf.photometry.scene import Scene
from ztfpsf.photometry.solution import Inverse, hold, invert, invert_alone, solve
from ztfpsf.psf import Psf

MAX_PASSES = 6  # after them 0.3 % of the stars of a ZTF image still move
# After so many passes it is settled which stars may move, and what the pocket makes of them.
DECISIONS = 2
TOLERANCE = 0.1  # a star has converged when its unknowns change by less, in units of their errors
# Half the FWHM of a sharp image: further, its derivatives mislead.
MAX_STEP_PX = 0.5
MAX_SHIFT_PX = 1.0  # a star that went further has taken the light of another
# A star that does not move may be drawn this far from its place: 1e-4 of its flux.
DRAWN_WITHIN_PX = 0.01
# Below, the median shift is worth less than that of the centroids.
FEWEST_FOR_SHIFT = 10


Drawing = Callable[[Light, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PhotometrySettings:
    """Configuration of the photometry."""

    size_px: int  # width of the stamps, odd
    position_min_snr: float  # positions of fainter stars are held


class State(NamedTuple):
    """What the passes change, of n stars."""

    flux: np.ndarray  # (n,) ADU
    position_px: np.ndarray  # (n, 2)
    shift_px: np.ndarray  # (2,) of the image relative to the catalogue
    is_free: np.ndarray  # (n,) the position is fitted
    is_at_limit: np.ndarray  # (n,) bool


class FittedStars(NamedTuple):
    """Result for n stars."""

    state: State
    evaluation: Evaluation
    covariance: np.ndarray  # (n, 3, 3) of flux, x, y: by noise, and by the error of the model
    covariance_alone: np.ndarray  # (n, 3, 3) the same without neighbours
    pixels: StarPixels
    light: Light
    overlaps: Overlaps
    has_converged: np.ndarray  # (n,) bool
    n_passes: int


def fit_stars(
    psf: Psf, planes: ImagePlanes, places: Places, settings: PhotometrySettings, pool: Executor
) -> FittedStars:
    """Flux and position of all stars of an image with its PSF, by the threads of a pool."""
    widest = draw_widest(psf, settings.size_px, pool)
    overlaps = find_overlaps(places.start_px, find_reach(cut_middle(widest, settings.size_px)))
    light = draw_light(psf, planes, places.start_px, settings.size_px, pool)
    pixels = cut_pixels(planes, light.pixel)

    scene = Scene(planes)

    def look(light: Light, flux_adu: np.ndarray, draw: Drawing) -> Evaluation:
        model = draw(light, flux_adu)
        return evaluate(planes, pixels, overlaps, light, flux_adu, model, pool)

    # Fluxes alone at first, and again when each star is drawn for its flux and bright ones are seen
    # as far out as they reach.
    state = start(places)
    nobody = np.zeros_like(state.is_free)
    flux = solve(light, overlaps, look(light, state.flux, scene.draw), nobody)[0][:, 0]
    redraw(light, psf, places.start_px, flux, ~nobody, pool)
    window = choose_windows(widest, settings.size_px, flux, find_typical_noise(pixels, planes.gain))
    light = add_outskirts(light, psf, planes, places.start_px, flux, window, pool)
    step, _ = solve(light, overlaps, look(light, flux, scene.draw), nobody)
    state = state._replace(flux=flux + step[:, 0])
    for n_passes in range(1, MAX_PASSES + 1):
        draw = scene.read_out if n_passes <= DECISIONS else scene.draw
        evaluation = look(light, state.flux, draw)
        if n_passes <= DECISIONS:
            state = decide(state, overlaps, evaluation, settings)
        step, inverse = solve(light, overlaps, evaluation, state.is_free)
        has_converged = is_small(step, inverse, evaluation)
        if has_converged.all() and n_passes > DECISIONS:
            break
        moved = move(state, step, has_converged, places)
        has_moved = (moved.position_px != state.position_px).any(axis=1)
        redraw(light, psf, moved.position_px, moved.flux, has_moved & moved.is_free, pool)
        # Stars that are held need no derivatives.
        redraw_still(light, psf, moved.position_px, moved.flux, has_moved & ~moved.is_free, pool)
        state = moved
    alone = invert_alone(hold(evaluation.normal, state.is_free)).covariances()
    error_adu = psf.noise.model_error * np.abs(state.flux)
    of_model = find_model_covariance(planes, pixels, light, evaluation, error_adu, pool)
    of_model = alone @ of_model @ alone
    return FittedStars(
        state,
        evaluation,
        inverse.covariances() + of_model,
        alone + of_model,
        pixels,
        light,
        overlaps,
        has_converged,
        n_passes,
    )


def cut_middle(plane: np.ndarray, size_px: int) -> np.ndarray:
    """The window of odd width around the central pixel of a square of odd width."""
    first = len(plane) // 2 - size_px // 2
    return plane[first : first + size_px, first : first + size_px]


def start(places: Places) -> State:
    """No light, where the stars are expected; all of them may move."""
    everyone = np.ones(len(places.start_px), bool)
    return State(0.0 * everyone, places.start_px, places.shift_px, everyone, ~everyone)


def find_typical_noise(pixels: StarPixels, gain: float) -> float:
    """Of a pixel of sky beside a star, ADU."""
    sky, constant = (plane[:, 0, 0] for plane in (pixels.sky, pixels.constant))
    return float(np.sqrt(np.median(model_variance(sky, sky, gain, constant))))


def decide(
    state: State, overlaps: Overlaps, evaluation: Evaluation, settings: PhotometrySettings
) -> State:
    """Which stars may move: those that would be bright enough, with their neighbours moving."""
    inverse = invert(hold(evaluation.normal, state.is_free), overlaps.group)
    variance = np.maximum(inverse.covariances()[:, 0, 0], 0)
    is_bright = state.flux > settings.position_min_snr * np.sqrt(variance)
    return state._replace(is_free=state.is_free & is_bright)


def is_small(step: np.ndarray, inverse: Inverse, evaluation: Evaluation) -> np.ndarray:
    """Whether a step (n, 3) is small in units of the errors, which a wrong PSF makes larger."""
    variance = np.diagonal(inverse.covariances(), axis1=1, axis2=2)
    misfit = np.maximum(evaluation.chi2 / np.maximum(evaluation.n_pix, 1), 1.0)
    return (step**2 <= TOLERANCE**2 * variance * misfit[:, None]).all(axis=1)


def move(state: State, step: np.ndarray, has_converged: np.ndarray, places: Places) -> State:
    """Fluxes and positions after a step (n, 3); stars that leave their place are put back and held.

    Positions that have converged stay.
    """
    shift_px = np.clip(step[:, 1:], -MAX_STEP_PX, MAX_STEP_PX)
    position = np.where(has_converged[:, None], state.position_px, state.position_px + shift_px)
    left = state.is_free & (np.hypot(*(position - places.start_px).T) > MAX_SHIFT_PX)
    is_free = state.is_free & ~left
    shift = state.shift_px
    if is_free.sum() >= FEWEST_FOR_SHIFT:
        shift = np.median((position - places.catalogue_px)[is_free], axis=0)
    held = places.catalogue_px + shift
    is_far = np.hypot(*(held - state.position_px).T) > DRAWN_WITHIN_PX
    held = np.where(is_far[:, None], held, state.position_px)
    return State(
        state.flux + step[:, 0],
        np.where(is_free[:, None], position, held),
        shift,
        is_free,
        state.is_at_limit | left,
    )
