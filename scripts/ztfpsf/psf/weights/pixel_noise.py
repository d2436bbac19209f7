"""The noise of an image's pixels, from its blank sky and from what stars leave over.

The sky tells the variance at one level of light (ztfpsf.stars.sky_noise). How it grows with light,
the residuals of stars tell: their variance is

    sky + light / gain + (model error x light)^2 ,

where the last term is the PSF's own error, which grows with the square of the light while noise
grows with the light itself. Written for one image; all of it can be traced by JAX.
"""

import jax
import jax.numpy as jnp
from jax import Array

from ztfpsf.noise import Noise, read_variance
from ztfpsf.psf.inputs.stack import ImagePixels
from ztfpsf.psf.profile.star import BACKGROUND, FLUX, N_STAR_PARAMETERS

N_STEPS = 8  # of the scoring; the variances of the weights are settled after three or four
OUTLIER_SIGMA = 5.0
# A pixel that its star follows so closely leaves nothing over.
MAX_LEVERAGE = 0.8
# Where stars tell nothing, the gain of the header does, with this error of the variance per ADU.
HEADER_ERROR = 3.0


def measure_noise(image: ImagePixels, model_adu: Array, stars: Array, good: Array) -> Noise:
    """Effective gain, constant variance and model error; the header's where no sky was measured.

    `model_adu`: (n, S, S) of the stars (n, 4); `good`: (n, S, S) pixels that count, of stars that
    were fitted. Photons cannot make more noise than there is in the sky: where the sky is not
    subtracted, light / gain at its level is at most its variance, and what residuals of stars show
    beyond that is the model's error.
    """
    header = Noise(image.gain, read_variance(image.read_noise_electron, image.gain))
    sky, level = image.sky_variance_adu2, image.sky_level_adu.clip(0.0)
    light = jnp.where(good, model_adu - stars[:, BACKGROUND, None, None], 0.0).clip(0.0)
    # At the sky of the star, and in the stamp.
    excess = light + (image.sky_adu.clip(0.0) - level)[:, None, None]
    start = jnp.minimum(1.0 / header.gain, _most_per_adu(sky, level))
    variance = _variance(sky, start * excess)
    leverage = _find_leverage(light, stars, jnp.where(good, 1.0 / variance, 0.0))
    counts = good & (leverage < MAX_LEVERAGE)
    squared = jnp.where(counts, image.data - model_adu, 0.0) ** 2 / (1.0 - leverage.clip(0, 0.9))

    def improve(_: int, found: tuple[Array, Array]) -> tuple[Array, Array]:
        """A step of Fisher scoring: weighted least squares of squared residuals."""
        variance = _variance(sky, found[0] * excess + found[1] * light**2)
        used = counts & (squared < OUTLIER_SIGMA**2 * variance)
        weight = jnp.where(used, 0.5 / variance**2, 0.0)
        above = squared - sky
        a, b, c = (jnp.sum(weight * term) for term in (excess**2, excess * light**2, light**4))
        u, v = (jnp.sum(weight * above * term) for term in (excess, light**2))
        prior = (image.gain / HEADER_ERROR) ** 2
        a, u = a + prior, u + prior / image.gain
        joint = (u * c - v * b) / (a * c - b**2)
        # A model without an error leaves the noise alone.
        has_error = (c > 0) & (v * a > u * b)
        per_adu = jnp.where(has_error, joint, u / a)
        per_adu = per_adu.clip(1e-3 / image.gain, _most_per_adu(sky, level))
        error = jnp.where(c > 0, (v - per_adu * b) / jnp.where(c > 0, c, 1.0), 0.0)
        return per_adu, error.clip(0.0)

    per_adu, error = jax.lax.fori_loop(0, N_STEPS, improve, (start, jnp.zeros_like(start)))
    constant = (sky - per_adu * level).clip(0.0)
    measured = Noise(1.0 / per_adu, constant, jnp.sqrt(error))
    is_known = jnp.isfinite(sky) & (sky > 0) & jnp.isfinite(per_adu)
    header = header._replace(model_error=jnp.zeros_like(start))
    return jax.tree.map(lambda one, other: jnp.where(is_known, one, other), measured, header)


def _most_per_adu(sky_variance_adu2: Array, level_adu: Array) -> Array:
    """Variance per ADU of light if all of the sky's were its photons'; none where it is dark."""
    return jnp.where(level_adu > 0, sky_variance_adu2 / level_adu.clip(1e-6), jnp.inf)


def _variance(sky_variance_adu2: Array, above: Array) -> Array:
    """In ADU^2, never far below the sky's."""
    return (sky_variance_adu2 + above).clip(0.1 * sky_variance_adu2)


def _find_leverage(light: Array, stars: Array, weight: Array) -> Array:
    """How far each pixel's own value draws the model there, (n, S, S) in 0 .. 1.

    The hat matrix's diagonal for position, flux and background of its star; differences of
    neighbouring pixels stand for the derivatives by position.
    """
    flux = jnp.where(stars[:, FLUX] > 0, stars[:, FLUX], 1.0)[:, None, None]
    columns = [*jnp.gradient(light, axis=(2, 1)), light / flux, jnp.ones_like(light)]
    # Image by image: stacked they would go through memory as often.
    rows = [[(weight * one * other).sum(axis=(1, 2)) for other in columns] for one in columns]
    matrix = jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
    diagonal = jnp.diagonal(matrix, axis1=1, axis2=2)
    empty = jnp.where(diagonal > 0, 0.0, 1.0)[:, :, None] * jnp.eye(N_STAR_PARAMETERS)
    inverse = jnp.linalg.inv(matrix + empty)[..., None, None]
    leverage = jnp.zeros_like(light)
    for i, one in enumerate(columns):
        for j, other in enumerate(columns):
            leverage += inverse[:, i, j] * one * other
    return weight * leverage
