"""The fit of scenes: host and place shared by all exposures, flux and background in each.

Gauss-Newton in rounds. The first weights are those of the sky, the next ones hold photons of the
host as well; PSFs are those of the light that each round has found. Each makes S anew, since that
of another place leads beside the solution; before the last round a part of the exposures is enough.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from ztfpsf.lightcurve.equations import (
    FIRST_CLIPPING,
    FLUX,
    LAST_CLIPPING,
    NO_CLIPPING,
    Clipping,
    Local,
    evaluate,
    evaluate_normal,
)
from ztfpsf.lightcurve.errors import make_light_curve, make_nothing
from ztfpsf.lightcurve.geometry import Geometry
from ztfpsf.lightcurve.host import Solution, find_precision, solve_shared
from ztfpsf.lightcurve.measurement import Measured, measure
from ztfpsf.lightcurve.model import N_MOTION, Drawn, Exposures, Parameters, cut, draw_light
from ztfpsf.lightcurve.preparation import Prepared, free, make_geometry, prepare
from ztfpsf.lightcurve.psfs import PsfStack, stack_psfs
from ztfpsf.lightcurve.scene import LightCurve, Scene, SceneSettings

CHUNK = 32  # exposures whose host columns are in memory at once
FIRST_EXPOSURES = 200  # whose S is enough to find weights and place
CORE_RADIUS_PX = 4.0


class State(NamedTuple):
    """Where the fit is."""

    parameters: Parameters
    flux_variance: np.ndarray  # (n,)
    light_adu: np.ndarray  # (n,) object and host in the exposure
    model_adu: np.ndarray | None  # (n, N) light in the pixels of the round before


class Task(NamedTuple):
    """A scene as the rounds see it."""

    geometry: Geometry
    stack: PsfStack
    prepared: Prepared
    motion_precision: np.ndarray  # (4,)
    order: np.ndarray  # (n,) of the exposures in chunks: each chunk spans all dates


def fit_scenes(scenes: Iterable[Scene], settings: SceneSettings) -> Iterator[LightCurve]:
    """Fit objects one after the other; code is compiled once for a size of stamps and a model.

    Raises InputError when no exposure has a PSF, or when the models of PSFs differ.
    """
    stack = known = None
    for scene in scenes:
        if stack is None or scene.psfs is not known:
            stack, known = stack_psfs(scene.psfs), scene.psfs
        yield fit_scene(scene, settings, stack)


def fit_scene(scene: Scene, settings: SceneSettings, stack: PsfStack) -> LightCurve:
    """Fit one object. `stack`: its PSFs, see stack_psfs."""
    geometry = make_geometry(scene, settings)
    prepared = prepare(scene, geometry, stack)
    n = len(prepared.rows)
    if n == 0:
        return make_nothing(scene, prepared.status)
    errors = np.repeat([settings.position_error_arcsec, settings.motion_error_arcsec_yr], 2)
    with np.errstate(divide="ignore"):
        motion_precision = 1.0 / errors**2
    n_chunks = -(-n // CHUNK)
    order = np.argsort(np.arange(n) % n_chunks, kind="stable")
    task = Task(geometry, stack.take(prepared.rows), prepared, motion_precision, order)
    with jax.enable_x64(True):
        state = _start(task)
        for number in range(settings.n_rounds):
            is_last = number == settings.n_rounds - 1
            clipping = FIRST_CLIPPING if number else NO_CLIPPING
            clipping = LAST_CLIPPING if is_last else clipping
            n_summed = n if is_last else FIRST_EXPOSURES
            state, solution, exposures = _advance(task, state, n_summed, clipping)
            if number == 0:  # of no host yet
                state = state._replace(model_adu=None)
        task = task._replace(prepared=prepared._replace(exposures=exposures))
        measured, excess = _measure(task, state)
    return make_light_curve(
        scene, task.prepared, geometry, state.parameters, measured, excess, solution
    )


def _start(task: Task) -> State:
    """Backgrounds are the medians; light is that near the middle, all of it flux without a host."""
    exposures, geometry = task.prepared.exposures, task.geometry
    data = np.where(exposures.is_good, exposures.data, np.nan)
    background = np.nanmedian(data, axis=1)
    core = (geometry.pixels_px**2).sum(axis=1) <= CORE_RADIUS_PX**2
    light = np.nansum((data - background[:, None])[:, core], axis=1)
    k, n = len(geometry.points_px), len(data)
    flux = np.zeros(n) if k else light / exposures.ratio * exposures.is_on
    parameters = Parameters(flux, background, np.zeros(k), np.zeros(N_MOTION))
    return State(parameters, np.zeros(n), light, None)


def _advance(
    task: Task, state: State, n_summed: int, clipping: Clipping
) -> tuple[State, Solution, Exposures]:
    """One round, S and gradient of the first exposures. Also its PSFs and the pixels it used."""
    prepared = task.prepared
    params = task.stack.local_params(prepared.position_px, state.light_adu)
    pocket = task.stack.local_pocket(prepared.position_px)
    exposures = free(prepared, task.geometry, pocket, state.model_adu)._replace(params=params)
    host, motion = state.parameters.host_adu, state.parameters.motion
    k = len(host) + N_MOTION
    normal, gradient, parts = np.zeros((k, k)), np.zeros(k), []
    for count, (drawn, chunk) in enumerate(_chunks(task, exposures, state)):
        local, b, is_good, model = evaluate(drawn, *chunk, clipping)
        parts.append(jax.tree.map(np.asarray, (local, is_good, model)))
        if count * CHUNK < n_summed:
            gradient += np.asarray(b)
            normal += np.asarray(evaluate_normal(drawn, *chunk, clipping))
    at_zero = gradient + normal @ np.append(host, motion)
    precision = find_precision(normal, at_zero, task.motion_precision, task.geometry.nearness)
    solution = solve_shared(normal, gradient, host, motion, task.motion_precision, precision)
    local, is_good, model = _gather(task, parts)
    exposures = exposures._replace(is_good=is_good)
    moved = _move(exposures, state, local, solution)
    return moved._replace(model_adu=model), solution, exposures


def steer(flux_adu: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Fluxes whose squares are unbiased, for derivatives by the place: noise has no place."""
    return np.sign(flux_adu) * np.sqrt(np.maximum(flux_adu**2 - variance, 0.0))


def _chunks(
    task: Task, all_exposures: Exposures, state: State
) -> Iterator[tuple[Drawn, tuple[Exposures, Parameters, np.ndarray, np.ndarray]]]:
    """CHUNK exposures at a time in order, filled up: drawn, and what the equations take."""
    parameters = state.parameters
    steering = steer(parameters.flux_adu, state.flux_variance)
    is_free = np.isfinite(task.motion_precision).astype(float)
    for start in range(0, len(task.order), CHUNK):
        rows = task.order[start : start + CHUNK]
        filled = np.concatenate([rows, np.repeat(rows[-1:], CHUNK - len(rows))])
        chunk = cut(all_exposures, filled, len(rows))
        some = parameters._replace(
            flux_adu=parameters.flux_adu[filled], background_adu=parameters.background_adu[filled]
        )
        drawn = draw_light(task.geometry, task.stack.model, chunk, parameters.motion)
        yield drawn, (chunk, some, steering[filled], is_free)


def _gather(task: Task, parts: list) -> Any:
    """Arrays of all exposures from those of chunks, in the order of the scene."""
    n = len(task.order)
    back = np.argsort(task.order)
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[:n][back], *parts)


def _move(exposures: Exposures, state: State, local: Local, solution: Solution) -> State:
    """All parameters after a step of those that are shared."""
    k = len(state.parameters.host_adu)
    rest = local.gradient - local.coupling @ solution.step
    step = np.einsum("eij,ej->ei", local.inverse, rest)
    parameters = Parameters(
        state.parameters.flux_adu + step[:, 0] * exposures.is_on,
        state.parameters.background_adu + step[:, 1],
        state.parameters.host_adu + solution.step[:k],
        state.parameters.motion + solution.step[k:],
    )
    taken = np.einsum("ej,ejk->ek", local.inverse[:, FLUX], local.coupling)
    variance = local.inverse[:, FLUX, FLUX] + np.einsum(
        "ek,kl,el->e", taken, solution.covariance, taken, optimize=True
    )
    light = parameters.flux_adu * exposures.is_on + local.matched @ parameters.host_adu
    return state._replace(
        parameters=parameters, flux_variance=variance, light_adu=exposures.ratio * light
    )


def _measure(task: Task, state: State) -> tuple[Measured, np.ndarray]:
    """Of all exposures, and the sum of the excess variance."""
    k = len(state.parameters.host_adu) + N_MOTION
    parts, excess = [], np.zeros((k, k))
    for drawn, chunk in _chunks(task, task.prepared.exposures, state):
        measured, more = measure(drawn, *chunk)
        parts.append(jax.tree.map(np.asarray, measured))
        excess += np.asarray(more)
    return _gather(task, parts), excess
