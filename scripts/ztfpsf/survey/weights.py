"""Weights of the measurements in a round: errors, extra scatter, what is left out."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple, TypeVar

import numpy as np

from ztfpsf.survey.block import Block
from ztfpsf.survey.loops import weigh

Result = TypeVar("Result")

MAX_WAITING = 8  # results of blocks that nobody has taken yet
# Bins of the stars' magnitudes, instrumental or calibrated, for the scatter beyond the errors.
BRIGHTEST_MAG, BIN_MAG, N_BINS = -20.0, 0.5, 100


class Kept(NamedTuple):
    """What is used of a block, small enough to stay in memory for the whole survey."""

    bits: np.ndarray  # (n / 8,) uint8, packed: the measurement is used
    magnitude_bin: np.ndarray  # (S,) uint8


class Weights(NamedTuple):
    """What is used of every block, and the scatter that is added to the errors."""

    kept: list[Kept]
    scatter_mag: np.ndarray  # (N_BINS,)


def start_weights(blocks: Sequence[Block], executor: Executor, scatter_mag: float) -> Weights:
    """Everything is used, with the same scatter beyond the errors."""
    kept = executor.map(_start, (blocks,) * len(blocks), range(len(blocks)))
    return Weights(list(kept), np.full(N_BINS, scatter_mag))


def _start(blocks: Sequence[Block], index: int) -> Kept:
    block = blocks[index]
    return Kept(pack(np.ones(len(block.mag), bool)), np.zeros(block.n_stars, np.uint8))


def pack(is_used: np.ndarray) -> np.ndarray:
    return np.packbits(is_used)


def unpack(block: Block, kept: Kept) -> np.ndarray:
    """Which measurements are used, (n,) uint8, 0 or 1."""
    return np.unpackbits(kept.bits, count=len(block.mag))


def find_bin(magnitude_mag: np.ndarray) -> np.ndarray:
    """Bin of each star's magnitude, uint8."""
    place = (magnitude_mag - BRIGHTEST_MAG) / BIN_MAG
    return np.clip(place, 0, N_BINS - 1).astype(np.uint8)


def find_variance(block: Block, kept: Kept, scatter_mag: np.ndarray) -> np.ndarray:
    """Variance of each measurement with the scatter beyond its error, (n,) float32, mag^2."""
    return block.variance_mag2 + block.of_stars(_find_extra(kept, scatter_mag))


def find_weight(block: Block, kept: Kept, scatter_mag: np.ndarray) -> np.ndarray:
    """1 / variance of what is used, 0 of the rest, (n,) float32."""
    extra = _find_extra(kept, scatter_mag)
    return weigh(block.star_start, kept.bits, block.variance_mag2, extra)


def _find_extra(kept: Kept, scatter_mag: np.ndarray) -> np.ndarray:
    return np.square(scatter_mag).astype(np.float32)[kept.magnitude_bin]


def map_blocks(
    function: Callable[..., Result],
    blocks: Sequence[Block],
    weights: Weights,
    executor: Executor,
    *arguments: object,
) -> Iterator[Result]:
    """`function(block, kept, scatter_mag, *arguments)` of every block, in order.

    A worker takes the block from `blocks` itself: where that reads files, it reads its own. Not
    more than a few results wait to be used, so that memory stays bounded.
    """
    waiting: list[Future[Result]] = []
    for index, kept in enumerate(weights.kept):
        waiting.append(
            executor.submit(_call, function, blocks, index, kept, weights.scatter_mag, arguments)
        )
        if len(waiting) > MAX_WAITING:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _call(
    function: Callable[..., Result],
    blocks: Sequence[Block],
    index: int,
    kept: Kept,
    scatter_mag: np.ndarray,
    arguments: tuple[object, ...],
) -> Result:
    return function(blocks[index], kept, scatter_mag, *arguments)
