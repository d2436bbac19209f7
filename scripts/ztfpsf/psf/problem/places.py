"""Coefficients of polynomials, and what they amount to at the places of the stars.

A star sees K profile parameters and M modes of the grid. Each is a sum of coefficients times terms
of the star's place and flux: B terms for the profile, C for the grid, m = K B + M C coefficients in
all. A matrix of all coefficients is a sum over stars of small matrices times products of terms:
formed so, it costs a fraction of what products of (n, m) arrays do.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.problem.blocks import sum_blocks
from ztfpsf.psf.problem.objective import free_coefficients
from ztfpsf.psf.problem.parameters import StarData

STARS_AT_ONCE = 64  # in sums of M x M matrices


class Terms(NamedTuple):
    """Terms at n stars."""

    profile: Array  # (n, B)
    free: Array  # (K, B), 0 where a coefficient is held
    grid: Array | None  # (n, C)


def make_terms(model: PsfModel, stars: StarData) -> Terms:
    """Those of a problem."""
    free = jnp.asarray(free_coefficients(model, stars.basis.shape[1]))
    return Terms(stars.basis, free, stars.grid and stars.grid.basis)


def list_pairs(terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """First and second of each pair of terms of the grid."""
    assert terms.grid is not None  # the caller's
    return np.triu_indices(terms.grid.shape[1])


def sum_profile_vectors(terms: Terms, vectors: Array) -> Array:
    """Sum over stars of vectors (n, K) of the profile they see, as one of coefficients, (K B,)."""
    return (jnp.einsum("nk,nb->kb", vectors, terms.profile) * terms.free).ravel()


def sum_vectors(terms: Terms, vectors: Array) -> Array:
    """Sum over stars of vectors (n, K + M) of what they see, as one of coefficients, (m,)."""
    k = len(terms.free)
    of_profile = sum_profile_vectors(terms, vectors[:, :k])
    if terms.grid is None:
        return of_profile
    of_grid = jnp.einsum("ng,nc->gc", vectors[:, k:], terms.grid)
    return jnp.concatenate([of_profile, of_grid.ravel()])


def see(terms: Terms, coefficients: Array) -> Array:
    """What each star sees of coefficients (m,), (n, K + M)."""
    size = terms.free.size
    of_profile = terms.profile @ (coefficients[:size].reshape(terms.free.shape) * terms.free).T
    if terms.grid is None:
        return of_profile
    of_grid = terms.grid @ coefficients[size:].reshape(-1, terms.grid.shape[1]).T
    return jnp.concatenate([of_profile, of_grid], axis=1)


def sum_profile(terms: Terms, rows: Array) -> Array:
    """Sum over stars of rows (n, K, K + M) of the profile, (K B, m)."""
    basis, free = terms.profile, terms.free
    k = len(free)
    pairs = basis[:, :, None] * basis[:, None, :]
    own = jnp.einsum("nkl,nbc->kblc", rows[:, :, :k], pairs)
    own = (own * free[:, :, None, None] * free).reshape(free.size, -1)
    if terms.grid is None:
        return own
    pairs = basis[:, :, None] * terms.grid[:, None, :]
    beside = jnp.einsum("nkg,nbc->kbgc", rows[:, :, k:], pairs) * free[:, :, None, None]
    return jnp.concatenate([own, beside.reshape(free.size, -1)], axis=1)


def sum_products(terms: Terms, left: Array, right: Array) -> Array:
    """Sum over stars of left^T right, (m, m), which is symmetric; both (n, r, K + M)."""
    k = len(terms.free)
    of_profile = sum_profile(terms, jnp.einsum("nrk,nrl->nkl", left[:, :, :k], right))
    if terms.grid is None:
        return join(terms, of_profile, None)
    first, second = list_pairs(terms)

    def add_stars(total: Array, one: Array, other: Array, basis: Array) -> Array:
        products = jnp.einsum("nrk,nrl->nkl", one, other)
        pairs = basis[:, first] * basis[:, second]
        return total + pairs.T @ products.reshape(len(one), -1)

    n_modes = left.shape[2] - k
    total = jnp.zeros((len(first), n_modes**2))
    arrays = (left[:, :, k:], right[:, :, k:], terms.grid)
    total = sum_blocks(add_stars, total, arrays, len(left), STARS_AT_ONCE)
    return join(terms, of_profile, total.reshape(-1, n_modes, n_modes))


def join(terms: Terms, of_profile: Array, of_grid: Array | None) -> Array:
    """The symmetric matrix (m, m) whose first rows are the profile's, (K B, m).

    `of_grid`: (pairs, M, M) of the modes, for each pair of terms.
    """
    if of_grid is None or terms.grid is None:
        return of_profile
    size, n_terms, n_modes = len(of_profile), terms.grid.shape[1], of_grid.shape[-1]
    number = np.zeros((n_terms, n_terms), int)
    first, second = list_pairs(terms)
    number[first, second] = number[second, first] = np.arange(len(first))
    blocks = jnp.transpose(of_grid[number], (2, 0, 3, 1)).reshape(n_modes * n_terms, -1)
    below = jnp.concatenate([of_profile[:, size:].T, blocks], axis=1)
    return jnp.concatenate([of_profile, below])


def see_matrix(terms: Terms, matrix: Array, rows: Array) -> Array:
    """rows E matrix E^T rows^T of each star, (n, r, r), E the terms: coefficients as it sees them.

    `rows`: (n, r, K + M); `matrix`: (m, m), symmetric.
    """
    size, k = terms.free.size, len(terms.free)
    free = (terms.free[:, :, None, None] * terms.free).reshape(size, size)
    shape = (*terms.free.shape, *terms.free.shape)
    own = (matrix[:size, :size] * free).reshape(shape)
    basis = terms.profile

    def couple(blocks: Array, one: Array, other: Array) -> Array:
        """Sum over terms of blocks (i, B, j, C), (n, i, j)."""
        half = jnp.einsum("ibjc,nb->nijc", blocks, one)
        return jnp.einsum("nijc,nc->nij", half, other)

    seen = jnp.einsum("nrk,nkl,nsl->nrs", rows[..., :k], couple(own, basis, basis), rows[..., :k])
    if terms.grid is None:
        return seen
    n_terms = terms.grid.shape[1]
    beside = (matrix[:size, size:] * terms.free.reshape(size, 1)).reshape(
        *terms.free.shape, -1, n_terms
    )
    mixed = jnp.einsum("nkg,nsg->nks", couple(beside, basis, terms.grid), rows[..., k:])
    mixed = jnp.einsum("nrk,nks->nrs", rows[..., :k], mixed)
    n_modes = rows.shape[2] - k
    first, second = list_pairs(terms)
    blocks = matrix[size:, size:].reshape(n_modes, n_terms, n_modes, n_terms)
    blocks = jnp.transpose(blocks, (1, 3, 0, 2))
    # Of the two orders of a pair the sum is symmetric.
    blocks = blocks[first, second] * np.where(first == second, 1.0, 2.0)[:, None, None]
    blocks = 0.5 * (blocks + jnp.swapaxes(blocks, 1, 2))
    flat = blocks.reshape(len(first), -1)

    def one_star(star: tuple[Array, Array]) -> Array:
        its_rows, basis = star
        of_grid = ((basis[first] * basis[second]) @ flat).reshape(n_modes, n_modes)
        return its_rows @ of_grid @ its_rows.T

    of_grid = jax.lax.map(one_star, (rows[..., k:], terms.grid), batch_size=STARS_AT_ONCE)
    return seen + mixed + jnp.swapaxes(mixed, 1, 2) + of_grid
