"""Variance from the model, and which pixels and stars of an image are left out of a fit.

An observed pixel is no measure of its own noise: weights taken from it bias faint stars low.
The variance here is that of the model. A pixel is clipped against the model with a tolerance that
grows with the star's own light, so that a model that misses the core by some per cent is not
repaired by removing the core. Written for one image; all of it can be traced by JAX.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ztfpsf.noise import Noise, model_variance
from ztfpsf.psf.inputs.settings import Clipping
from ztfpsf.psf.inputs.stack import ImagePixels
from ztfpsf.psf.profile.star import BACKGROUND, FLUX, is_core
from ztfpsf.psf.weights.median import median, median_and_mad
from ztfpsf.robust import MAD_TO_SIGMA

FEWEST_REFERENCES = 5


class Kept(NamedTuple):
    """What a rejection leaves."""

    good: Array  # (n, S, S) bool
    variance: Array  # (n, S, S) ADU^2
    is_usable: Array  # (n,) bool: neither outlier nor short of pixels
    has_pixels: Array  # (n,) bool
    noise: Noise


def mean_of(values: Array, where: Array) -> Array:
    """Mean of each stamp over some of its pixels, (n,); 0 without any."""
    return (values * where).sum(axis=(1, 2)) / where.sum(axis=(1, 2)).clip(1)


def find_outliers(
    image: ImagePixels, model_adu: Array, stars: Array, variance: Array, clipping: Clipping
) -> Array:
    """Pixels further from the model than its noise and error allow, (n, S, S) bool.

    `stars`: (n, 4). The model's error is a fraction of the star's own light, and what the reference
    stars have in common: a misfit that repeats from star to star is no cosmic ray and no neighbour.
    """
    flux = stars[:, FLUX].clip(0.0)
    residual = image.data - model_adu
    misfit = _common_misfit(residual, flux, image)
    light = (model_adu - stars[:, BACKGROUND, None, None]).clip(0.0)
    error = jnp.hypot(clipping.pixel_fraction * light, flux[:, None, None] * misfit)
    # A model slightly off in width or position errs by a fraction of the brighter neighbour pixel.
    error = _largest_neighbour(_largest_neighbour(error, 1), 2)
    return residual**2 > clipping.pixel_sigma**2 * variance + error**2


def _common_misfit(residual: Array, flux: Array, image: ImagePixels) -> Array:
    """Size of the median residual per flux of the brighter half of the stars, (S, S)."""
    typical = jnp.nanmedian(jnp.where(image.is_reference, flux, jnp.nan))
    bright = image.is_reference & (flux >= typical) & (flux > 0.0)
    relative = residual / jnp.where(bright, flux, 1.0)[:, None, None]
    relative = jnp.where(image.good, relative, 0.0)
    return jnp.abs(median(relative, jnp.broadcast_to(bright[:, None, None], image.good.shape), 0))


def _largest_neighbour(values: Array, axis: int) -> Array:
    """Largest of each pixel and the two beside it along an axis."""
    n = values.shape[axis]
    before = jnp.roll(values, 1, axis).at[(slice(None),) * axis + (0,)].set(0.0)
    after = jnp.roll(values, -1, axis).at[(slice(None),) * axis + (n - 1,)].set(0.0)
    return jnp.maximum(values, jnp.maximum(before, after))


def find_bad_stars(
    chi2_per_pixel: Array, flux_adu: Array, is_reference: Array, clipping: Clipping
) -> Array:
    """Stars whose chi2 per pixel stands out among stars of similar flux, (n,) bool.

    Where the model is wrong, chi2 grows with flux: each star is compared with the median of the
    reference stars near it in flux, and its excess with their scatter. Reserved stars are judged
    but are no reference.
    """
    bad = ~jnp.isfinite(chi2_per_pixel) | ~jnp.isfinite(flux_adu) | (flux_adu <= 0)
    is_reference = is_reference & ~bad
    n = is_reference.sum()
    by_flux = jnp.argsort(jnp.where(is_reference, flux_adu, jnp.inf))
    ranked_flux = jnp.where(is_reference, flux_adu, jnp.inf)[by_flux]
    ln_chi2 = jnp.log(chi2_per_pixel.clip(1e-3))
    rank = jnp.searchsorted(ranked_flux, flux_adu)
    reach = max(10, len(flux_adu) // 20)
    step = jnp.arange(-reach, reach + 1)
    place = rank[:, None] + step
    half = jnp.maximum(10, n // 20)
    inside = (jnp.abs(step) <= half) & (place >= 0) & (place < n)
    window = ln_chi2[by_flux][place.clip(0, len(flux_adu) - 1)]
    typical, mad = median_and_mad(window, inside, axis=1)
    scatter = MAD_TO_SIGMA * mad
    stands_out = ln_chi2 - typical > clipping.star_sigma * scatter.clip(0.02)
    return bad | (stands_out & (n >= FEWEST_REFERENCES))


def has_enough_pixels(good: Array, clipping: Clipping) -> Array:
    """Stars with the asked fraction of good pixels, (n,) bool."""
    return good.mean(axis=(1, 2)) >= clipping.min_good_fraction


def reject(
    image: ImagePixels, model_adu: Array, stars: Array, noise: Noise, clipping: Clipping
) -> Kept:
    """New variances, bad pixels and bad stars from the models (n, S, S) of all stars (n, 4)."""
    sky_adu = image.sky_adu[:, None, None]
    variance = model_variance(model_adu, sky_adu, noise.gain, noise.constant_adu2)
    outliers = find_outliers(image, model_adu, stars, variance, clipping)
    good = image.good & ~outliers
    has_pixels = has_enough_pixels(good, clipping)
    squared = (image.data - model_adu) ** 2 / variance
    is_reference = has_pixels & image.is_reference
    # The whole stamp after clipping, and the core before: a companion or a cosmic ray there
    # leaves no clean measure of the star behind.
    core = image.good & is_core(image.data.shape[-1], stars)
    chi2 = jnp.stack([mean_of(squared, good), mean_of(squared, core)])
    bad = jax.vmap(lambda its: find_bad_stars(its, stars[:, FLUX], is_reference, clipping))(chi2)
    bad = bad.any(axis=0)
    # A star whose fit ran away has no model; its weight is 0, and 0 times NaN would not be.
    variance = jnp.where(jnp.isfinite(variance), variance, 1.0)
    return Kept(good, variance, has_pixels & ~bad, has_pixels, noise)
