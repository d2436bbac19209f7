"""The background of each star, as the sky around its stamp says it.

In a stamp of 25 px the wings of a star and a flat background look alike: with backgrounds that are
free, wings of a per cent of the light hide in them, and the flux of all stars is wrong by as much.
A ring beyond the stamp (ztfpsf.stars.cutting) knows the background under the star,

    background_i = ring_i - flux_i R + c,

with R the mean of the PSF over the ring and c what the stars of the image have in common: a ring
leaves more of its faint sources out than a stamp does, or fewer. The error of a background is that
of its ring and the scatter of the stars around this equation.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.inputs.stack import ImagePixels
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.profile.pixels import offsets
from ztfpsf.psf.profile.rings import ring_mean
from ztfpsf.psf.profile.star import BACKGROUND, FLUX, X, Y
from ztfpsf.ring import ring_radii
from ztfpsf.robust import fit_clipped

OUTER_RADIUS_PX = 8.0  # pixels of a stamp further out tell its background
FEWEST_STARS = 10  # to measure c


class Outskirts(NamedTuple):
    """Of n stars: the background that their outer pixels have, and the ring's light of theirs."""

    background_adu: Array  # (n,) at the fitted flux, position and profile; NaN without pixels
    error_adu: Array  # (n,)
    ring_light_adu: Array  # (n,) flux R


def measure_outskirts(
    model: PsfModel,
    image: ImagePixels,
    models_adu: Array,
    stars: Array,
    params: Array,
    weight: Array,
) -> Outskirts:
    """`models_adu`: (n, S, S) of the stars (n, 4); `weight`: (n, S, S) 1/ADU^2, 0 where masked."""
    size_px = image.data.shape[-1]
    centre = jnp.asarray(offsets(size_px))
    distance2 = (centre - stars[:, X, None])[:, None, :] ** 2
    distance2 += (centre - stars[:, Y, None])[:, :, None] ** 2
    weight = jnp.where(distance2 > OUTER_RADIUS_PX**2, weight, 0.0)
    sky = image.data - models_adu + stars[:, BACKGROUND, None, None]
    total = weight.sum(axis=(1, 2))
    mean = (weight * sky).sum(axis=(1, 2)) / total
    ring = ring_mean(model, params, *ring_radii(size_px))
    return Outskirts(mean, total**-0.5, stars[:, FLUX] * ring)


def find_around(
    outskirts: Outskirts, flux_adu: Array, sky_adu: Array, sky_error_adu: Array, is_good: Array
) -> np.ndarray:
    """Background from the sky around each star of one image, and 1 / its variance, (n, 2).

    `is_good`: (n,) stars that tell c; with a term in flux, so that wings that are not yet right
    leave it alone. Without an error of the sky the background stays free.
    """
    of_stamp, of_stamp_error, ring_light, flux, ring, error, good = map(
        np.asarray, (*outskirts, flux_adu, sky_adu, sky_error_adu, is_good)
    )
    expected = ring - ring_light
    known = np.isfinite(error) & (error > 0) & np.isfinite(expected)
    used = known & good & np.isfinite(of_stamp)
    common, variance = 0.0, np.where(known, error, np.inf) ** 2
    if used.sum() >= FEWEST_STARS:
        design = np.stack([np.ones(used.sum()), flux[used] / flux[used].max()], axis=1)
        errors = np.hypot(of_stamp_error, error)[used]
        fit = fit_clipped(design, (of_stamp - expected)[used], errors, FEWEST_STARS)
        if np.isfinite(fit.coefficients[0]):
            common = fit.coefficients[0]
            variance = variance + fit.scatter**2 + fit.covariance[0, 0]
    return np.stack([np.where(known, expected + common, 0.0), 1.0 / variance], axis=1)
