"""Normal equations of the law from stars: whose PSF, positions, fluxes and skies are free as well.

The model of a pixel is what the law makes of a row of light, sky + f P. Unknown are four numbers of
each star, which are eliminated star by star; what the PSF is beyond its profile, on a grid:
constant, varying over the field, and with flux (brighter-fatter); and the drops of the law. Where a
PSF alone could imitate the law, only its change with flux and sky decides.

A star sees each mode of the grid once, whatever terms multiply it. So its share in the equations is
a small matrix of what it sees, and the sum over stars is one of such matrices times products of
terms: a ninth of the work of derivatives by all unknowns.
"""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.noise import Noise, model_variance
from ztfpsf.pocket.law import KNOTS_ADU, N_DROPS, SETTLING_PX, WIDTHS_ADU, keep, share, slope
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.profile.residual_grid import ResidualGrid, spline_weights
from ztfpsf.psf.profile.star import BACKGROUND, FLUX, N_STAR_PARAMETERS, POSITION, star_psf

HALF_PX = 6  # of the pixels that count, around the star
WIDTH_PX = 2 * HALF_PX + 1
MODEL_ERROR = 0.02  # of a star's light in a pixel, which no grid describes: less weight for cores
ROBUST_SIGMA = 5.0  # residuals of more count less and less
BATCH = 32  # stars at once
# Modes of the grid that depend on nothing, x, y, flux, x^2, xy and y^2: those of most variance.
COUNTS = (120, 60, 60, 60, 20, 20, 20)
GEOMETRY = ResidualGrid(spacing_px=0.5, radius_px=float(HALF_PX), n_modes=max(COUNTS))
N_GRID = sum(COUNTS)
N_SHARED = N_GRID + N_DROPS
PAIRS = np.triu_indices(len(COUNTS))  # of the terms


class Stars(NamedTuple):
    """n stars; the rows of their stamps are in read order, and so are x and the profile."""

    stars: Array  # (n, 4)
    profile: Array  # (n, K) without grid
    terms: Array  # (n, len(COUNTS)) on which the grid depends
    data: Array  # (n, S, S) ADU
    good: Array  # (n, S, S) bool
    sky_adu: Array  # (n,)


class Unknowns(NamedTuple):
    """What stars share."""

    grid: Array  # (N_GRID,)
    drops: Array  # (N_DROPS,)


class Own(NamedTuple):
    """n stars: what their steps need once the shared one is known, and chi2."""

    inverse: Array  # (n, 4, 4)
    gradient: Array  # (n, 4)
    coupling: Array  # (n, 4, N_SHARED)
    chi2: Array  # (n,)
    n_pix: Array  # (n,)


class _Pixels(NamedTuple):
    """One star: residuals, weights and derivatives of the WIDTH_PX^2 pixels that count."""

    residual: Array
    weight: Array
    slopes: Array  # (.., 4 + M + N_DROPS) by its own numbers, modes of its grid and drops
    chi2: Array


class _Share(NamedTuple):
    """One star's share in the equations, with what it sees of the grid: M modes, and the drops."""

    own: Own  # without leading axis
    matrix: Array  # (M + N_DROPS, M + N_DROPS), the star's own numbers eliminated
    gradient: Array  # (M + N_DROPS,)


class _Sums(NamedTuple):
    """Sums of shares over stars, times terms where they concern the grid."""

    grid: Array  # (pairs, M, M)
    border: Array  # (terms, M, N_DROPS)
    drops: Array  # (N_DROPS, N_DROPS)
    grid_gradient: Array  # (terms, M)
    drops_gradient: Array  # (N_DROPS,)


@partial(jax.jit, static_argnames="model")
def accumulate(
    model: PsfModel, modes: Array, stars: Stars, unknowns: Unknowns, noise: Noise
) -> tuple[Array, Array, Own]:
    """Matrix and gradient of the shared unknowns, the stars' own eliminated; n a multiple of BATCH.

    `modes`: (G, M) of the grid of the model, see ztfpsf.psf.profile.grid_modes.
    """

    def add(sums: _Sums, part: Stars) -> tuple[_Sums, Own]:
        share = jax.vmap(lambda star: _find_share(model, modes, star, unknowns, noise))(part)
        terms, m = part.terms, modes.shape[1]
        pairs = terms[:, PAIRS[0]] * terms[:, PAIRS[1]]
        more = _Sums(
            jnp.tensordot(pairs.T, share.matrix[:, :m, :m], 1),
            jnp.tensordot(terms.T, share.matrix[:, :m, m:], 1),
            share.matrix[:, m:, m:].sum(axis=0),
            terms.T @ share.gradient[:, :m],
            share.gradient[:, m:].sum(axis=0),
        )
        return jax.tree.map(jnp.add, sums, more), share.own

    parts = jax.tree.map(lambda leaf: leaf.reshape(-1, BATCH, *leaf.shape[1:]), stars)
    t, m = len(COUNTS), modes.shape[1]
    shapes = (len(PAIRS[0]), m, m), (t, m, N_DROPS), (N_DROPS, N_DROPS), (t, m), (N_DROPS,)
    sums, own = jax.lax.scan(add, _Sums(*map(jnp.zeros, shapes)), parts)
    own = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), own)
    return (*_assemble(sums), own)


def _assemble(sums: _Sums) -> tuple[Array, Array]:
    """Matrix and gradient of all shared unknowns: of each term the modes that it has."""
    number = np.zeros((len(COUNTS), len(COUNTS)), int)
    number[PAIRS] = number.T[PAIRS] = np.arange(len(PAIRS[0]))
    terms = range(len(COUNTS))
    border = jnp.concatenate([sums.border[i, : COUNTS[i]] for i in terms])
    rows = [
        jnp.concatenate([sums.grid[number[i, j], : COUNTS[i], : COUNTS[j]] for j in terms], axis=1)
        for i in terms
    ]
    matrix = jnp.concatenate([jnp.concatenate(rows), border], axis=1)
    matrix = jnp.concatenate([matrix, jnp.concatenate([border.T, sums.drops], axis=1)])
    gradient = [sums.grid_gradient[i, : COUNTS[i]] for i in terms]
    return matrix, jnp.concatenate([*gradient, sums.drops_gradient])


def _find_share(
    model: PsfModel, modes: Array, star: Stars, unknowns: Unknowns, noise: Noise
) -> _Share:
    pixels = _differentiate(model, modes, star, unknowns, noise)
    weighted = (pixels.slopes * pixels.weight[:, None]).T
    gram, gradient = weighted @ pixels.slopes, weighted @ pixels.residual
    s = N_STAR_PARAMETERS
    scale = jnp.sqrt(jnp.diagonal(gram)[:s]).clip(1e-30)
    unit = gram[:s, :s] / scale / scale[:, None] + 1e-9 * jnp.eye(s)
    inverse = jnp.linalg.inv(unit) / scale / scale[:, None]
    coupling = gram[:s, s:]
    along = inverse @ coupling
    of_terms = [t * coupling[:, :n] for t, n in zip(star.terms, COUNTS, strict=True)]
    seen = jnp.concatenate([*of_terms, coupling[:, modes.shape[1] :]], axis=1)
    own = Own(inverse, gradient[:s], seen, pixels.chi2, (pixels.weight > 0).sum())
    return _Share(own, gram[s:, s:] - coupling.T @ along, gradient[s:] - gradient[:s] @ along)


def _differentiate(
    model: PsfModel, modes: Array, star: Stars, unknowns: Unknowns, noise: Noise
) -> _Pixels:
    size_px = star.data.shape[-1]
    first = size_px // 2 - HALF_PX
    inner = slice(first, first + WIDTH_PX)
    bounds = [sum(COUNTS[:i]) for i in range(len(COUNTS) + 1)]
    grids = [unknowns.grid[a:b] for a, b in pairwise(bounds)]
    nodes = jnp.zeros(len(modes))
    for term, n, grid in zip(star.terms, COUNTS, grids, strict=True):
        nodes += term * (modes[:, :n] @ grid)
    params = jnp.concatenate([star.profile, nodes])

    def psf(offset_px: Array) -> tuple[Array, Array]:
        stamp = star_psf(model, offset_px, params, size_px)
        return stamp, stamp

    by_position, stamp = jax.jacfwd(psf, has_aux=True)(star.stars[POSITION])
    light = star.stars[FLUX] * stamp
    # What is masked is seen, not modelled: a neighbour fills the pocket as well.
    scene = jnp.where(star.good, light + star.stars[BACKGROUND], star.data)[inner]
    charge = _fill_rows(unknowns.drops, scene)[:, inner]
    model_adu = charge - keep(unknowns.drops, charge)

    moved = star.stars[FLUX] * by_position[inner, inner]
    flat = jnp.ones((WIDTH_PX, WIDTH_PX, 1))
    own = jnp.concatenate([moved, stamp[inner, inner, None], flat], axis=-1)
    by_modes = _differentiate_modes(modes, star)
    slopes = jnp.concatenate([own, by_modes], axis=-1) * star.good[inner, inner, None]
    slopes = _pass_through(unknowns.drops, charge, slopes)

    variance = model_variance(model_adu, star.sky_adu, noise.gain, noise.constant_adu2)
    residual = star.data[inner, inner] - model_adu
    weight = star.good[inner, inner] / (variance + (MODEL_ERROR * light[inner, inner]) ** 2)
    squared = residual**2 * weight
    robust = weight / (1.0 + squared / ROBUST_SIGMA**2)
    return _Pixels(
        residual.ravel(),
        robust.ravel(),
        slopes.reshape(WIDTH_PX**2, -1),
        (squared / (1.0 + squared / ROBUST_SIGMA**2)).sum(),
    )


def _differentiate_modes(modes: Array, star: Stars) -> Array:
    """Derivatives of a star's light by the modes of its grid, (WIDTH_PX, WIDTH_PX, M)."""
    x, y = star.stars[POSITION]
    rows, columns = (spline_weights(GEOMETRY, offset, WIDTH_PX) for offset in (y, x))
    square = modes.reshape(GEOMETRY.width, GEOMETRY.width, -1)
    return star.stars[FLUX] * jnp.einsum("aj,jkm,bk->abm", rows, square, columns)


def _fill_rows(drops: Array, light_adu: Array) -> Array:
    """The charge t of the pixels of rows (r, S) in read order, which begin in a row all alike."""

    def read(held: Array, light: Array) -> tuple[Array, Array]:
        return keep(drops, light + held), light + held

    empty = jnp.zeros(len(light_adu))
    held = jax.lax.fori_loop(0, SETTLING_PX, lambda _, held: read(held, light_adu[:, 0])[0], empty)
    return jax.lax.scan(read, held, light_adu.T)[1].T


def _pass_through(drops: Array, charge_adu: Array, slopes: Array) -> Array:
    """Derivatives of what is observed, from those of the light (r, c, p); the drops' come last.

    (r, c, p + N_DROPS). `charge_adu`: (r, c) in the register.
    """
    kept = slope(drops, charge_adu)[..., None]
    terms = [share(charge_adu, KNOTS_ADU[k], WIDTHS_ADU[k]) for k in range(N_DROPS)]
    by_drops = jnp.stack(terms, axis=-1)
    n_light = slopes.shape[-1]
    slopes = jnp.pad(slopes, ((0, 0), (0, 0), (0, N_DROPS)))
    added = jnp.pad(by_drops, ((0, 0), (0, 0), (n_light, 0)))

    def read(held: Array, pixel: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        its_slopes, its_added, its_kept = pixel
        total = its_slopes + held
        held = its_kept * total + its_added
        return held, total - held

    # Before the first pixel: a row all alike, in which the sky is as free as here.
    before = jnp.zeros_like(slopes[:, 0]).at[:, BACKGROUND].set(1.0)
    first = (kept[:, 0] * before + added[:, 0]) / (1.0 - kept[:, 0])
    columns = jax.tree.map(lambda part: jnp.moveaxis(part, 1, 0), (slopes, added, kept))
    return jnp.moveaxis(jax.lax.scan(read, first, columns)[1], 0, 1)
