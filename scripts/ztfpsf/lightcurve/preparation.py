"""From a scene to arrays of the exposures that can be fitted, and why the others cannot."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from ztfpsf.lightcurve.geometry import Geometry
from ztfpsf.lightcurve.model import Exposures
from ztfpsf.lightcurve.psfs import PsfStack
from ztfpsf.lightcurve.scene import OK, Scene, SceneSettings
from ztfpsf.pocket.law import LocalPocket, deferred

MAX_OFFSET_PX = 1.5  # stamps are around the nearest pixel; maps may differ a little
CORE_RADIUS_PX = 3.0
MIN_CORE_FRACTION = 0.5
# Of the outermost point of the host, to first order: less than a hundredth of its light is amiss.
MAX_MOVE_PX = 0.1
MAX_SCALE_CHANGE = 0.05  # of pixels against those of the reference, beyond any distortion

Reasons = list[tuple[np.intp, str]]  # rows of a scene, and a sentence


class Prepared(NamedTuple):
    """Exposures of a scene; the n that can be fitted, in `rows` of the scene."""

    exposures: Exposures  # NumPy, params still empty
    rows: np.ndarray  # (n,)
    stamps: np.ndarray  # (n, S, S) ADU, as they were read; the sky where they are no numbers
    position_px: np.ndarray  # (n, 2) expected place in the image
    reference: np.ndarray  # (2, 2) Jacobian of the host's grid
    status: list[str]  # of all


def make_geometry(scene: Scene, settings: SceneSettings) -> Geometry:
    """Pixels and points of a scene."""
    skew = _find_skew(scene, _find_axes(scene, scene.status))
    moved_px = np.abs(skew).sum(axis=(1, 2)) * settings.host_radius_px
    return Geometry(
        scene.data.shape[-1],
        settings.pixel_radius_px,
        settings.host_radius_px,
        settings.fine_radius_px,
        bool((moved_px > MAX_MOVE_PX).any()),
    )


def prepare(scene: Scene, geometry: Geometry, stack: PsfStack) -> Prepared:
    """Nothing is raised: exposures that are not usable have their sentence."""
    status = list(scene.status)
    offset = scene.position_px - scene.corner_px - geometry.size_px // 2
    for row, sentence in _find_reasons(scene, offset):
        if status[row] == OK:
            status[row] = sentence
    n = len(scene.data)
    pixels = geometry.pixel_index
    data = np.asarray(scene.data, float).reshape(n, -1)[:, pixels]
    constant = np.broadcast_to(scene.constant_adu2, scene.data.shape).reshape(n, -1)[:, pixels]
    is_good = ~np.asarray(scene.is_masked, bool).reshape(n, -1)[:, pixels] & np.isfinite(data)
    is_good &= np.isfinite(constant) & (constant > 0)
    for row, sentence in _find_empty(geometry, offset, is_good):
        if status[row] == OK:
            status[row] = sentence
    reference = _find_axes(scene, status)
    skew = _find_skew(scene, reference)
    change = np.abs(np.linalg.svd(skew + np.eye(2), compute_uv=False) - 1.0)
    for row in np.flatnonzero(change.max(axis=1) > MAX_SCALE_CHANGE):
        if status[row] == OK:
            status[row] = (
                f"its map has pixels {change[row].max():.0%} off in size against the other "
                f"exposures, and {MAX_SCALE_CHANGE:.0%} are believed."
            )
    rows = np.flatnonzero(np.array([text == OK for text in status]))
    sky = np.asarray(scene.sky_adu, float)
    exposures = Exposures(
        np.where(is_good, data, 0.0)[rows],
        is_good[rows],
        np.where(is_good, constant, 1.0)[rows],
        sky[rows],
        np.asarray(scene.gain, float)[rows],
        stack.model_error[rows],
        np.asarray(scene.ratio, float)[rows],
        (~np.asarray(scene.in_baseline, bool))[rows].astype(float),
        offset[rows],
        np.asarray(scene.position_error_px, float)[rows],
        scene.jacobian[rows],
        skew[rows],
        np.asarray(scene.time_yr, float)[rows],
        np.zeros((len(rows), 0)),
    )
    stamps = np.asarray(scene.data, float)[rows]
    stamps = np.where(np.isfinite(stamps), stamps, sky[rows, None, None])
    return Prepared(exposures, rows, stamps, scene.position_px[rows], reference, status)


def free(
    prepared: Prepared, geometry: Geometry, pocket: LocalPocket, model_adu: np.ndarray | None
) -> Exposures:
    """The exposures without what the pocket of their quadrants did (docs/pocket.md).

    `model_adu`: (n, N) light in the pixels, sky included; pixels that are masked or not fitted
    stand for it, and all of them for None.
    """
    exposures = prepared.exposures
    if not np.any(pocket.drops):
        return exposures
    index, n = geometry.pixel_index, len(prepared.stamps)
    light = prepared.stamps.reshape(n, -1).copy()
    if model_adu is not None:
        light[:, index] = np.where(exposures.is_good, model_adu, light[:, index])
    change = jax.vmap(deferred)(pocket, light.reshape(prepared.stamps.shape))
    return exposures._replace(data=exposures.data - np.asarray(change).reshape(n, -1)[:, index])


def _find_reasons(scene: Scene, offset: np.ndarray) -> Reasons:
    """Rows whose numbers do not allow a fit, with sentences."""
    numbers = {
        "place": np.column_stack([scene.position_px, scene.position_error_px, scene.time_yr]),
        "Jacobian": scene.jacobian.reshape(len(scene.data), -1),
        "photometric ratio": np.column_stack([scene.ratio, scene.ratio_error]),
        "sky or gain": np.column_stack([scene.sky_adu, scene.gain]),
    }
    reasons = [
        (row, f"its {name} is not a number.")
        for name, values in numbers.items()
        for row in np.flatnonzero(~np.isfinite(values).all(axis=1))
    ]
    without = np.flatnonzero([psf is None for psf in scene.psfs])
    reasons += [(row, "has no PSF.") for row in without]
    with np.errstate(invalid="ignore"):
        dark = np.flatnonzero(~((scene.ratio > 0) & (scene.gain > 0)))
        far = np.flatnonzero(np.abs(offset).max(axis=1) > MAX_OFFSET_PX)
    reasons += [(row, "its photometric ratio or gain is not positive.") for row in dark]
    reasons += [
        (row, f"its place is {np.abs(offset[row]).max():.0f} px from the middle of its stamp.")
        for row in far
    ]
    return reasons


def _find_empty(geometry: Geometry, offset: np.ndarray, is_good: np.ndarray) -> Reasons:
    distance2 = ((geometry.pixels_px[None] - offset[:, None]) ** 2).sum(axis=-1)
    is_core = distance2 <= CORE_RADIUS_PX**2
    core, good = is_core.sum(axis=1), (is_core & is_good).sum(axis=1)
    return [
        (row, f"{good[row]} of the {core[row]} pixels around its place can be used.")
        for row in np.flatnonzero(good < MIN_CORE_FRACTION * core)
    ]


def _find_axes(scene: Scene, status: Sequence[str]) -> np.ndarray:
    """The Jacobian nearest to the median one: exposures of other fields may be turned."""
    is_known = np.isfinite(scene.jacobian).all(axis=(1, 2))
    usable = scene.jacobian[is_known & np.array([text == OK for text in status])]
    if not len(usable):
        return np.eye(2)
    off = np.abs(usable - np.median(usable, axis=0)).sum(axis=(1, 2))
    return usable[off.argmin()]


def _find_skew(scene: Scene, reference: np.ndarray) -> np.ndarray:
    """Axes of the exposures in those of the reference, less unity, (E, 2, 2); 0: not known."""
    return np.nan_to_num(scene.jacobian @ np.linalg.inv(reference) - np.eye(2))
