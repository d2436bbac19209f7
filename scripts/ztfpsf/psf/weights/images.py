"""What a round looks at in the stars of all images of a chunk: noise, pixels, stars, sky around."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.pocket.law import deferred
from ztfpsf.psf.inputs.settings import Clipping
from ztfpsf.psf.inputs.stack import Chunk, ImagePixels
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.problem.blocks import map_batched
from ztfpsf.psf.problem.star_fit import StarsInPsf
from ztfpsf.psf.profile.star import FLUX
from ztfpsf.psf.weights.around import Outskirts, find_around, measure_outskirts
from ztfpsf.psf.weights.pixel_noise import measure_noise
from ztfpsf.psf.weights.rejection import Kept, has_enough_pixels, reject


@jax.jit
def find_weight(kept: Kept) -> Array:
    return kept.good / kept.variance


@partial(jax.jit, static_argnames="clipping")
def have_enough_pixels(good: Array, clipping: Clipping) -> Array:
    return jax.vmap(has_enough_pixels, (0, None))(good, clipping)


Looked = tuple[ImagePixels, Array, StarsInPsf, Kept, np.ndarray, np.ndarray]


@jax.jit
def free(image: ImagePixels, models: Array) -> Array:
    """Pixels minus what the pocket changes in their models, (p, n, S, S).

    What is masked is seen, not modelled: a neighbour fills the pocket as well.
    """
    scene = jnp.where(image.good, models, image.data)
    return image.data - jax.vmap(jax.vmap(deferred))(image.pocket, scene)


@partial(jax.jit, static_argnames=("model", "clipping", "problems"))
def reject_all(
    model: PsfModel, arrays: Looked, clipping: Clipping, problems: int
) -> tuple[Kept, Outskirts]:
    """What is kept of some stars, and as before of the others.

    Images, models of their stars, the stars, what was kept before, which of them (p, n) are looked
    at, and which were fitted: their pixels tell the noise.
    """

    def reject_one(one: Looked) -> tuple[Kept, Outskirts]:
        image, models, (stars, params), before, among, is_fitted = one
        seen = image._replace(good=image.good & among[:, None, None])
        noise = measure_noise(seen, models, stars, before.good & is_fitted[:, None, None])
        now = reject(seen, models, stars, noise, clipping)
        pixels = among[:, None, None]
        kept = Kept(
            jnp.where(pixels, now.good, before.good),
            jnp.where(pixels, now.variance, before.variance),
            jnp.where(among, now.is_usable, before.is_usable),
            jnp.where(among, now.has_pixels, before.has_pixels),
            noise,
        )
        weight = kept.good / kept.variance
        return kept, measure_outskirts(model, image, models, stars, params, weight)

    return map_batched(reject_one, arrays, problems)


def find_all_around(
    chunk: Chunk, stars: Array, kept: Kept, outskirts: Outskirts, among: np.ndarray
) -> np.ndarray:
    """The background that the sky around each star says, (p, n, 2); some stars (p, n) tell it."""
    image = chunk.stack.image
    is_good = np.asarray(kept.is_usable) & among
    arrays = (outskirts, stars, image.sky_adu, image.sky_error_adu, is_good)
    outskirts, stars, *others = jax.tree.map(np.asarray, arrays)
    arrays = (outskirts, stars[..., FLUX], *others)
    images = (jax.tree.map(lambda leaf, i=i: leaf[i], arrays) for i in range(chunk.n_images))
    return np.stack([find_around(*one) for one in images])
