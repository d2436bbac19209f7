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

from ztfpsf.psf.pixels import offsets

CORE_RADIUS_PX = 4.0
MAD_TO_SIGMA = 1.4826
FEWEST_REFERENCES = 5
BISECTIONS = 45  # values further apart than 3e-14 of their range are told apart


class Clipping(NamedTuple):
    """How pixels and stars are rejected."""

    rounds: int = 3
    pixel_sigma: float = 5.0
    pixel_fraction: float = 0.3  # of the star's own light in that pixel
    star_sigma: float = 6.0
    min_good_fraction: float = 0.5  # of the stamp's pixels


class Image(NamedTuple):
    """What a rejection looks at; stars that only fill up the array have no good pixel."""

    data: Array  # (n, S, S) ADU, sky included
    good: Array  # (n, S, S) bool, not masked
    sky_adu: Array  # (n,)
    is_reference: Array  # (n,) bool, may be fitted: neither reserved nor a filling
    gain: Array  # e-/ADU
    read_noise_electron: Array


class Kept(NamedTuple):
    """What a rejection leaves."""

    good: Array  # (n, S, S) bool
    variance: Array  # (n, S, S) ADU^2
    is_usable: Array  # (n,) bool: neither outlier nor short of pixels
    has_pixels: Array  # (n,) bool


def model_variance(
    model_adu: Array, sky_adu: Array, gain: Array, read_noise_electron: Array
) -> Array:
    """Poisson noise of the model, never below that of the sky, plus read noise, in ADU^2.

    `model_adu`: (n, S, S), sky included; `sky_adu`: (n,); `gain` in e-/ADU.
    """
    floor = sky_adu.clip(0.0)[:, None, None]
    return model_adu.clip(floor) / gain + (read_noise_electron / gain) ** 2


def mean_of(values: Array, where: Array) -> Array:
    """Mean of each stamp over some of its pixels, (n,); 0 without any."""
    return (values * where).sum(axis=(1, 2)) / where.sum(axis=(1, 2)).clip(1)


def is_core(size_px: int, star: Array) -> Array:
    """Pixels whose centres are within CORE_RADIUS_PX of the star, (n, S, S) bool."""
    grid = offsets(size_px)
    dx = (grid - star[:, 0:1])[:, None, :]
    dy = (grid - star[:, 1:2])[:, :, None]
    return dx**2 + dy**2 <= CORE_RADIUS_PX**2


def median(values: Array, where: Array, axis: int) -> Array:
    """Median of the finite values that are asked for; 0 without any.

    By bisection: on all devices faster than to sort.
    """
    where = where & jnp.isfinite(values)
    n = where.sum(axis=axis, keepdims=True)

    def count(limit: Array) -> Array:
        return (where & (values <= limit)).sum(axis=axis, keepdims=True)

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = 0.5 * (low + high)
        is_above = 2 * count(middle) >= n
        return jnp.where(is_above, low, middle), jnp.where(is_above, middle, high)

    low = jnp.where(where, values, jnp.inf).min(axis=axis, keepdims=True)
    high = jnp.where(where, values, -jnp.inf).max(axis=axis, keepdims=True)
    _, limit = jax.lax.fori_loop(0, BISECTIONS, halve, (low, high))
    below = where & (values <= limit)
    lower = jnp.where(below, values, -jnp.inf).max(axis=axis)
    upper = jnp.where(where & ~below, values, jnp.inf).min(axis=axis)
    is_shared = (2 * below.sum(axis=axis) == n.squeeze(axis)) & jnp.isfinite(upper)
    found = jnp.where(is_shared, 0.5 * (lower + jnp.where(is_shared, upper, 0.0)), lower)
    return jnp.where(n.squeeze(axis) > 0, found, 0.0)


def find_outliers(
    image: Image, model_adu: Array, star: Array, variance: Array, clipping: Clipping
) -> Array:
    """Pixels further from the model than its noise and error allow, (n, S, S) bool.

    `star`: (n, 4). The model's error is a fraction of the star's own light, and what the reference
    stars have in common: a misfit that repeats from star to star is no cosmic ray and no neighbour.
    """
    flux = star[:, 2].clip(0.0)
    residual = image.data - model_adu
    misfit = _common_misfit(residual, flux, image)
    light = (model_adu - star[:, 3, None, None]).clip(0.0)
    error = jnp.hypot(clipping.pixel_fraction * light, flux[:, None, None] * misfit)
    # A model slightly off in width or position errs by a fraction of the brighter neighbour pixel.
    error = _largest_neighbour(_largest_neighbour(error, 1), 2)
    return residual**2 > clipping.pixel_sigma**2 * variance + error**2


def _common_misfit(residual: Array, flux: Array, image: Image) -> Array:
    """Size of the median residual per flux of the brighter half of the stars, (S, S)."""
    typical = median(flux, image.is_reference, axis=0)
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
    typical = median(window, inside, axis=1)
    scatter = MAD_TO_SIGMA * median(jnp.abs(window - typical[:, None]), inside, axis=1)
    stands_out = ln_chi2 - typical > clipping.star_sigma * scatter.clip(0.02)
    return bad | (stands_out & (n >= FEWEST_REFERENCES))


def has_enough_pixels(good: Array, clipping: Clipping) -> Array:
    """Stars with the asked fraction of good pixels, (n,) bool."""
    return good.mean(axis=(1, 2)) >= clipping.min_good_fraction


def reject(image: Image, model_adu: Array, star: Array, clipping: Clipping) -> Kept:
    """New variances, bad pixels and bad stars from the models (n, S, S) of all stars (n, 4)."""
    variance = model_variance(model_adu, image.sky_adu, image.gain, image.read_noise_electron)
    outliers = find_outliers(image, model_adu, star, variance, clipping)
    good = image.good & ~outliers
    has_pixels = has_enough_pixels(good, clipping)
    squared = (image.data - model_adu) ** 2 / variance
    is_reference = has_pixels & image.is_reference
    # The whole stamp after clipping, and the core before: a companion or a cosmic ray there
    # leaves no clean measure of the star behind.
    bad = find_bad_stars(mean_of(squared, good), star[:, 2], is_reference, clipping)
    core = mean_of(squared, image.good & is_core(image.data.shape[-1], star))
    bad |= find_bad_stars(core, star[:, 2], is_reference, clipping)
    # A star whose fit ran away has no model; its weight is 0, and 0 times NaN would not be.
    variance = jnp.where(jnp.isfinite(variance), variance, 1.0)
    return Kept(good, variance, has_pixels & ~bad, has_pixels)
