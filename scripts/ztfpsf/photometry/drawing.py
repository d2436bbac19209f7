"""PSFs of many stars, drawn in chunks of one size so that each window size compiles once."""

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf import Psf
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.profile.star import star_psf

CHUNK = 256  # stars of one call
BATCH = 16  # of them drawn at once, so that they stay in cache


@partial(jax.jit, static_argnames=("model", "size_px"))
def _draw(model: PsfModel, offsets: Array, params: Array, size_px: int) -> Array:
    """(n, S, S) float32, drawn in double precision."""

    def one(star: tuple[Array, Array]) -> Array:
        return star_psf(model, *star, size_px).astype(jnp.float32)

    return jax.lax.map(one, (offsets, params), batch_size=BATCH)


@partial(jax.jit, static_argnames=("model", "size_px"))
def _draw_with_slopes(model: PsfModel, offsets: Array, params: Array, size_px: int) -> Array:
    """PSF and its derivatives by x and y, (n, 3, S, S) float32."""

    def one(star: tuple[Array, Array]) -> Array:
        def psf(offset: Array) -> tuple[Array, Array]:
            stamp = star_psf(model, offset, star[1], size_px)
            return stamp, stamp

        slopes, stamp = jax.jacfwd(psf, has_aux=True)(star[0])
        return jnp.concatenate([stamp[None], jnp.moveaxis(slopes, -1, 0)]).astype(jnp.float32)

    return jax.lax.map(one, (offsets, params), batch_size=BATCH)


def draw_psfs(
    psf: Psf,
    position_px: np.ndarray,
    flux_adu: np.ndarray | None,
    centre_px: np.ndarray,
    size_px: int,
    pool: Executor,
) -> np.ndarray:
    """PSFs of flux 1 on windows around central pixels.

    `position_px`: (n, 2) x and y; `flux_adu`: (n,) for PSFs that change with it, None for the
    typical flux; `centre_px`: (n, 2) integers, about a pixel away at most; `pool`: threads.
    Returns (n, S, S) float32.
    """
    shape = (size_px, size_px)
    return _in_chunks(_draw, psf, position_px, flux_adu, centre_px, size_px, shape, pool)


def draw_psfs_with_slopes(
    psf: Psf,
    position_px: np.ndarray,
    flux_adu: np.ndarray | None,
    centre_px: np.ndarray,
    size_px: int,
    pool: Executor,
) -> np.ndarray:
    """As draw_psfs, and the derivatives by x and y: (n, 3, S, S) float32."""
    shape = (3, size_px, size_px)
    return _in_chunks(
        _draw_with_slopes, psf, position_px, flux_adu, centre_px, size_px, shape, pool
    )


def _in_chunks(
    draw: Callable[..., Array],
    psf: Psf,
    position_px: np.ndarray,
    flux_adu: np.ndarray | None,
    centre_px: np.ndarray,
    size_px: int,
    shape: tuple[int, ...],
    pool: Executor,
) -> np.ndarray:
    n = len(position_px)
    drawn = np.empty((n, *shape), np.float32)
    offsets = position_px - centre_px

    def fill(start: int) -> None:
        # The last chunk repeats the last star.
        take = np.minimum(np.arange(start, start + CHUNK), n - 1)
        # Parameters of this chunk only: with a pixel grid they hold hundreds of numbers per star.
        flux = None if flux_adu is None else flux_adu[take]
        x_px, y_px = position_px[take].T
        params = psf.local_params(x_px, y_px, flux)
        chunk = draw(psf.model, offsets[take], params, size_px)
        drawn[start : start + CHUNK] = np.asarray(chunk)[: n - start]

    # JAX computes outside Python's lock.
    list(pool.map(fill, range(0, n, CHUNK)))
    return drawn
