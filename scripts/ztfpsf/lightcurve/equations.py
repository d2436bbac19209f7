"""Normal equations of a scene, flux and background of each exposure eliminated.

With L_e = [a_e P_e, 1] (flux, background), X_e = [host points, motion] and weights W_e,

    D_e = L^T W L,  C_e = L^T W X,
    S = sum_e X^T W X - C^T D^-1 C,   b = sum_e X^T W r - C^T D^-1 L^T W r .

Products of host columns are of single precision, in parts that are summed in double. Residuals are
of double precision, and the solution is where their gradient vanishes: it does not depend on S.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ztfpsf.lightcurve.model import Drawn, Exposures, Parameters
from ztfpsf.noise import model_variance

FLUX, BACKGROUND = 0, 1  # columns of L
CLIP_FRACTION = 0.3  # that a PSF may be wrong by


class Clipping(NamedTuple):
    """Which pixels are left out: beyond `sigma` and CLIP_FRACTION of the light above the sky.

    Of their squares only those above `worst` times the largest of the exposure: what the worst
    pixel draws the model to makes others look bad.
    """

    sigma: float
    worst: float


NO_CLIPPING = Clipping(float("inf"), 0.0)
FIRST_CLIPPING = Clipping(5.0, 0.25)
LAST_CLIPPING = Clipping(5.0, 0.0)


class Columns(NamedTuple):
    """Derivatives of the light in the pixels of E exposures, and what is left over."""

    psf: Array  # (E, N) ratio times the PSF, where the flux is known to be 0 as well
    host: Array  # (E, N, K) float32
    motion: Array  # (E, 4, N)
    host_light: Array  # (E, N) ADU
    above: Array  # (E, N) ADU, host and object
    residual: Array  # (E, N) ADU, 0 where not good
    weight: Array  # (E, N) ADU^-2, without the photons of the object
    is_good: Array  # (E, N)


class Local(NamedTuple):
    """What belongs to each exposure; arrays of NumPy or JAX."""

    inverse: Any  # (E, 2, 2) D^-1
    coupling: Any  # (E, 2, K + 4) C
    gradient: Any  # (E, 2) L^T W r
    matched: Any  # (E, K) sum P H / sum P^2, what the host's points add to the light at the place


def make_columns(
    drawn: Drawn,
    exposures: Exposures,
    parameters: Parameters,
    steering_flux: Array,
    clipping: Clipping,
) -> Columns:
    """`steering_flux`: (E,) with which the derivatives by motion are made, see fit.steer.

    Pixels that are too far off are left out, see Clipping.
    """
    psf = drawn.psf
    host_light = (drawn.host @ parameters.host_adu.astype(jnp.float32)).astype(psf.dtype)
    shift = jnp.einsum("ein,eij->ejn", drawn.slopes, exposures.jacobian)
    shift = shift * steering_flux[:, None, None]
    motion = jnp.concatenate([shift, shift * exposures.time_yr[:, None, None]], axis=1)
    flux = (parameters.flux_adu * exposures.is_on)[:, None]
    above = flux * psf + host_light
    residual = exposures.data - above - parameters.background_adu[:, None]
    moved2 = jnp.sum(drawn.slopes**2, axis=1) * (flux * exposures.offset_error_px[:, None]) ** 2
    variance = find_variance(exposures, above) + moved2
    limit = clipping.sigma**2 * variance + (CLIP_FRACTION * above) ** 2
    excess = jnp.where(exposures.is_good, residual**2 / limit, 0.0)
    worst = clipping.worst * jnp.max(excess, axis=1, keepdims=True)
    is_good = exposures.is_good & (excess <= jnp.maximum(worst, 1.0))
    weight = jnp.where(is_good, 1.0 / find_variance(exposures, host_light), 0.0)
    residual = jnp.where(is_good, residual, 0.0)
    return Columns(psf, drawn.host, motion, host_light, above, residual, weight, is_good)


def find_variance(exposures: Exposures, above: Array) -> Array:
    """Of pixels with light above the sky (E, N), ADU^2."""
    sky, gain = exposures.sky_adu[:, None], exposures.gain[:, None]
    return model_variance(sky + above, sky, gain, exposures.constant_adu2)


def eliminate(columns: Columns, is_on: Array, is_free: Array) -> Local:
    """D^-1, C and the gradient; `is_on`: (E,) flux is unknown; `is_free`: (4,) motion is."""
    local = jnp.stack([columns.psf * is_on[:, None], jnp.ones_like(columns.psf)], axis=1)
    weighted = local * columns.weight[:, None, :]
    normal = jnp.einsum("ein,ejn->eij", weighted, local)
    # Unknowns that no pixel depends on stay where they are.
    idle = jnp.diagonal(normal, axis1=1, axis2=2) <= 0
    normal = normal + jnp.eye(2) * idle[:, :, None]
    single = weighted.astype(jnp.float32)
    by_host = jnp.einsum("ein,enk->eik", single, columns.host).astype(weighted.dtype)
    by_motion = jnp.einsum("ein,ejn->eij", weighted, columns.motion) * is_free
    coupling = jnp.concatenate([by_host, by_motion], axis=2)
    gradient = jnp.einsum("ein,en->ei", weighted, columns.residual)
    single = (columns.psf / jnp.sum(columns.psf**2, axis=1, keepdims=True)).astype(jnp.float32)
    matched = jnp.einsum("en,enk->ek", single, columns.host)
    return Local(jnp.linalg.inv(normal), coupling, gradient, matched)


def share(columns: Columns, local: Local, is_free: Array) -> Array:
    """b of the exposures, (K + 4,)."""
    weighted = columns.weight * columns.residual
    by_host = jnp.einsum("enk,en->ek", columns.host, weighted.astype(jnp.float32))
    by_motion = jnp.einsum("ejn,en->j", columns.motion, weighted) * is_free
    by_host = by_host.astype(weighted.dtype).sum(axis=0)
    taken = jnp.einsum("eik,eij,ej->k", local.coupling, local.inverse, local.gradient)
    return jnp.concatenate([by_host, by_motion]) - taken


def multiply(host: Array, motion: Array, weight: Array, local: Array, inverse: Array) -> Array:
    """X^T W X less the part of the local unknowns, (K + 4, K + 4), sum over the exposures."""
    k = host.shape[2]
    root = host * jnp.sqrt(weight)[:, :, None].astype(jnp.float32)
    rows = root.reshape(host.shape[0] * host.shape[1], k)
    weighted = motion * weight[:, None, :]
    corner = jnp.einsum("ejn,eln->jl", weighted, motion)
    side = jnp.einsum("enk,ejn->kj", host, weighted.astype(jnp.float32)).astype(corner.dtype)
    square = (rows.T @ rows).astype(corner.dtype)
    whole = jnp.block([[square, side], [side.T, corner]])
    return whole - jnp.einsum("eik,eij,ejl->kl", local, inverse, local, optimize=True)


@jax.jit
def evaluate(
    drawn: Drawn,
    exposures: Exposures,
    parameters: Parameters,
    steering_flux: Array,
    is_free: Array,
    clipping: Clipping,
) -> tuple[Local, Array, Array, Array]:
    """Of the exposures: their own equations, their share of b, good pixels, and the model there."""
    columns = make_columns(drawn, exposures, parameters, steering_flux, clipping)
    local = eliminate(columns, exposures.is_on, is_free)
    model = columns.above + parameters.background_adu[:, None]
    return local, share(columns, local, is_free), columns.is_good, model


@jax.jit
def evaluate_normal(
    drawn: Drawn,
    exposures: Exposures,
    parameters: Parameters,
    steering_flux: Array,
    is_free: Array,
    clipping: Clipping,
) -> Array:
    """Their share of S."""
    columns = make_columns(drawn, exposures, parameters, steering_flux, clipping)
    local = eliminate(columns, exposures.is_on, is_free)
    motion = columns.motion * is_free[:, None]
    return multiply(columns.host, motion, columns.weight, local.coupling, local.inverse)
