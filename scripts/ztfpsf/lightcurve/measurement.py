"""What a solution says about each exposure: flux, variance, couplings, chi2 and residuals."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ztfpsf.lightcurve.equations import (
    BACKGROUND,
    FLUX,
    NO_CLIPPING,
    eliminate,
    find_variance,
    make_columns,
)
from ztfpsf.lightcurve.model import Drawn, Exposures, Parameters


class Measured(NamedTuple):
    """Of E exposures. The flux is a sum of pixels: F = sum l d - t (host, motion)."""

    flux_adu: Any  # (E,) also where it is known to be 0
    variance_adu2: Any  # (E,) sum l^2 V, V with the photons of the object
    background_variance_adu2: Any  # (E,)
    coupling: Any  # (E, K + 4) t
    correlation: Any  # (E, K + 4) sum l (V - 1/W) W M, of the flux with host and motion
    host_adu: Any  # (E,) host's light that is taken for flux without its model
    loss: Any  # (E,) part of the flux lost by an error of the place of 1 px in each axis
    chi2: Any  # (E,)
    n_pix: Any  # (E,)
    information: Any  # (E,) of the host, to share out its degrees of freedom
    residual: Any  # (E, N) in units of sigma, NaN where not good


@jax.jit
def measure(
    drawn: Drawn,
    exposures: Exposures,
    parameters: Parameters,
    steering_flux: Array,
    is_free: Array,
) -> tuple[Measured, Array]:
    """Also the sum of M^T W (V - 1/W) W M, (K + 4, K + 4).

    M: derivatives by host and motion less their part along flux and background.
    """
    columns = make_columns(drawn, exposures, parameters, steering_flux, NO_CLIPPING)
    weight, psf = columns.weight, columns.psf
    local = eliminate(columns, jnp.ones_like(exposures.is_on), is_free)
    by_local = jnp.einsum("eij,ejk->eik", local.inverse, local.coupling)
    flux = parameters.flux_adu * exposures.is_on
    step = jnp.einsum("ej,ej->e", local.inverse[:, FLUX], local.gradient)
    ones = jnp.ones_like(psf)
    taps = [
        (local.inverse[:, row, :1] * psf + local.inverse[:, row, 1:] * ones) * weight
        for row in (FLUX, BACKGROUND)
    ]
    object_light = columns.above - columns.host_light
    assumed = find_variance(exposures, columns.host_light)
    variance = find_variance(exposures, columns.above)
    variance = variance + (exposures.model_error[:, None] * object_light) ** 2
    excess = jnp.where(exposures.is_good, variance - assumed, 0.0).clip(0.0)
    rest, motion = _project(columns.host, columns.motion, psf, by_local, is_free)
    tapped = (taps[FLUX] * excess * weight).astype(jnp.float32)
    correlation = jnp.concatenate(
        [
            jnp.einsum("en,enk->ek", tapped, rest).astype(psf.dtype),
            jnp.einsum("en,ejn->ej", tapped.astype(psf.dtype), motion),
        ],
        axis=1,
    )
    whole = jnp.concatenate([rest, jnp.moveaxis(motion, 1, 2).astype(jnp.float32)], axis=2)
    rows = whole * (weight * jnp.sqrt(excess))[:, :, None].astype(jnp.float32)
    rows = rows.reshape(-1, whole.shape[2])
    gradient2 = jnp.einsum("ein,en->e", drawn.slopes**2, weight)
    k = columns.host.shape[2]
    measured = Measured(
        flux_adu=flux + step,
        variance_adu2=jnp.einsum("en,en->e", taps[FLUX] ** 2, variance),
        background_variance_adu2=jnp.einsum("en,en->e", taps[BACKGROUND] ** 2, variance),
        coupling=by_local[:, FLUX],
        correlation=correlation,
        host_adu=by_local[:, FLUX, :k] @ parameters.host_adu,
        loss=0.5 * local.inverse[:, FLUX, FLUX] * gradient2,
        chi2=jnp.sum(jnp.where(exposures.is_good, columns.residual**2 / variance, 0.0), axis=1),
        n_pix=exposures.is_good.sum(axis=1),
        information=jnp.sum(weight, axis=1) * exposures.ratio**2,
        residual=jnp.where(exposures.is_good, columns.residual / jnp.sqrt(variance), jnp.nan),
    )
    return measured, (rows.T @ rows).astype(psf.dtype)


def _project(
    host: Array, motion: Array, psf: Array, by_local: Array, is_free: Array
) -> tuple[Array, Array]:
    """Derivatives by host (E, N, K) and motion (E, 4, N) less their part along L."""
    k = host.shape[2]
    part = by_local[:, :, :k].astype(jnp.float32)
    single = psf.astype(jnp.float32)[:, :, None]
    rest = host - single * part[:, FLUX, None, :] - part[:, BACKGROUND, None, :]
    along = by_local[:, :, k:, None]
    motion = motion * is_free[:, None] - along[:, FLUX] * psf[:, None, :] - along[:, BACKGROUND]
    return rest, motion
