"""The likelihood of a scene, for those who want to sample it or to fit more than fluxes.

    (fitted,) = fit_scenes([scene], settings)
    data, start = make_data(scene, settings, fitted)
    log_likelihood(start, data) + log_prior(start, data)

Pure functions of JAX: jax.grad gives slopes, jax.vmap many points at once, and samplers need no
more. In double precision: call them within jax.enable_x64(True).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.lightcurve.equations import find_variance
from ztfpsf.lightcurve.geometry import Geometry
from ztfpsf.lightcurve.model import Exposures, Parameters, draw_light, draw_target, place
from ztfpsf.lightcurve.preparation import free, make_geometry, prepare
from ztfpsf.lightcurve.psfs import stack_psfs
from ztfpsf.lightcurve.scene import LightCurve, Scene, SceneSettings
from ztfpsf.psf.models import PsfModel


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("exposures", "variance_adu2", "host", "host_precision", "motion_precision"),
    meta_fields=("geometry", "model"),
)
@dataclass(frozen=True)
class SceneData:
    """What a likelihood is about: n exposures that can be fitted, on N pixels; a JAX pytree."""

    geometry: Geometry
    model: PsfModel
    exposures: Exposures
    variance_adu2: Any  # (n, N) of the pixels
    host: Any  # (n, N, K) light of the host's points, which does not depend on parameters
    host_precision: Any  # (K, K) ADU^-2, of the points' prior of mean 0
    motion_precision: Any  # (4,) of shift (arcsec^-2) and motion (arcsec/yr)^-2; inf: held at 0


def make_data(
    scene: Scene, settings: SceneSettings, fitted: LightCurve
) -> tuple[SceneData, Parameters]:
    """Data of a scene, and the parameters of its fit, where a chain may start.

    PSFs and variances are those of the light that was found. Exposures and pixels that the fit
    left out are left out here as well.
    """
    geometry = make_geometry(scene, settings)
    stack = stack_psfs(scene.psfs)
    prepared = prepare(scene, geometry, stack)
    rows = prepared.rows
    light = scene.ratio[rows] * (fitted.flux_adu + fitted.host_adu)[rows]
    stack = stack.take(rows)
    params = stack.local_params(prepared.position_px, light)
    pixels = fitted.residuals.reshape(len(scene.data), -1)[rows][:, geometry.pixel_index]
    exposures = prepared.exposures._replace(params=params, is_good=np.isfinite(pixels))
    errors = np.repeat([settings.position_error_arcsec, settings.motion_error_arcsec_yr], 2)
    points = np.zeros(0) if fitted.host is None else fitted.host.point_adu
    motion = np.append(fitted.shift_arcsec, fitted.motion_arcsec_yr)
    with jax.enable_x64(True), np.errstate(divide="ignore"):
        exposures = Exposures(*(jnp.asarray(array) for array in exposures))
        start = Parameters(fitted.flux_adu[rows], fitted.background_adu[rows], points, motion)
        start = Parameters(*(jnp.asarray(array) for array in start))
        drawn = draw_light(geometry, stack.model, exposures, start.motion)
        host = drawn.host.astype(float)
        star = (exposures.is_on * start.flux_adu)[:, None] * drawn.psf
        above = star + host @ start.host_adu
        model = np.asarray(above + start.background_adu[:, None])
        freed = free(prepared, geometry, stack.local_pocket(prepared.position_px), model)
        exposures = exposures._replace(data=jnp.asarray(freed.data))
        variance = find_variance(exposures, above)
        variance = variance + (exposures.model_error[:, None] * star) ** 2
        precision = jnp.asarray(np.zeros((0, 0)) if fitted.host is None else fitted.host.precision)
        priors = (precision, jnp.asarray(1.0 / errors**2))
        return SceneData(geometry, stack.model, exposures, variance, host, *priors), start


def draw_scene(parameters: Parameters, data: SceneData) -> Array:
    """Light in the pixels, (n, N) ADU.

    `parameters`: flux_adu (n,), background_adu (n,), host_adu (K,), motion (4,).
    """
    exposures = data.exposures
    motion = jnp.where(jnp.isinf(data.motion_precision), 0.0, parameters.motion)
    psf = draw_target(data.geometry, data.model, place(exposures, motion), exposures.params)
    scale = exposures.ratio * exposures.is_on * parameters.flux_adu
    light = scale[:, None] * psf + data.host @ parameters.host_adu
    return light + parameters.background_adu[:, None]


def log_likelihood(parameters: Parameters, data: SceneData) -> Array:
    """ln p(pixels | parameters), without what does not depend on them; Gaussian noise."""
    residual = data.exposures.data - draw_scene(parameters, data)
    squares = jnp.where(data.exposures.is_good, residual**2 / data.variance_adu2, 0.0)
    return -0.5 * jnp.sum(squares)


def log_prior(parameters: Parameters, data: SceneData) -> Array:
    """ln p(parameters): Gaussians of host and place, flat in flux and background."""
    precision = jnp.where(jnp.isinf(data.motion_precision), 1.0, data.motion_precision)
    host = parameters.host_adu @ data.host_precision @ parameters.host_adu
    return -0.5 * (host + jnp.sum(precision * parameters.motion**2))
