"""Loops over problems, and over their stars that are in use: those after them cost nothing.

How many they are is a number, not a size of arrays: one compiled loop serves few and many stars.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def count_used(weight: Array) -> Array:
    """Stars up to the last one with weight in each problem, (p,). `weight`: (p, n, S, S)."""
    is_used = (weight > 0).any(axis=(2, 3))
    return jnp.max(jnp.where(is_used, jnp.arange(1, is_used.shape[1] + 1), 0), axis=1)


def map_batched(one: Callable[[Any], Any], arrays: Any, at_once: int) -> Any:
    """`one` of all problems or stars, the leading axis of `arrays`, `at_once` of them together."""
    # One by one, the code has no axis for them, which takes half the time to trace and compile.
    return jax.lax.map(one, arrays, batch_size=None if at_once == 1 else at_once)


def _map_block(one: Callable[..., Any], block: tuple, size: int) -> Any:
    if size > 1:
        return jax.vmap(one)(*block)
    alone = jax.tree.map(lambda leaf: leaf[0], block)
    return jax.tree.map(lambda leaf: leaf[None], one(*alone))


def map_stars(one: Callable[..., Any], arrays: tuple, n_used: Array | int, size: int) -> Any:
    """`one(*arrays)` of each of the first stars, `size` of them at a time; 0 for the others."""
    n = len(arrays[0])
    size = min(size, n)

    def add_block(number: Array, found: Any) -> Any:
        # The last block may repeat stars of the one before.
        first = jnp.minimum(number * size, n - size)
        block = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, size), arrays)
        return jax.tree.map(
            lambda whole, part: jax.lax.dynamic_update_slice_in_dim(whole, part, first, 0),
            found,
            _map_block(one, block, size),
        )

    first = jax.tree.map(lambda leaf: leaf[0], arrays)
    shapes = jax.eval_shape(one, *first)
    zeros = jax.tree.map(lambda leaf: jnp.zeros((n, *leaf.shape), leaf.dtype), shapes)
    return jax.lax.fori_loop(0, -(-n_used // size), add_block, zeros)


def sum_blocks(
    add: Callable[..., Array], total: Array, arrays: tuple, n_used: Array | int, size: int
) -> Array:
    """`total` after `add(total, *block)` for blocks of the first stars; zeros fill the last one."""
    n = len(arrays[0])
    size = min(size, n)
    padded = jax.tree.map(
        lambda leaf: jnp.pad(leaf, ((0, -n % size), *[(0, 0)] * (leaf.ndim - 1))), arrays
    )

    def add_block(number: Array, total: Array) -> Array:
        first = number * size
        block = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, size), padded)
        return add(total, *block)

    return jax.lax.fori_loop(0, -(-n_used // size), add_block, total)
