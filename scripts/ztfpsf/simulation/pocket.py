"""The true pocket of the serial register: it catches electrons one after the other, by chance.

Before each pixel it gives all that it holds back to the register. Of the electrons there, one after
the other, each is caught with probability CATCH (1 - (q / C)^sharpness) while q are held, C the
capacity. The number held after t electrons has a distribution, which is followed electron by
electron (a pure birth process); its mean and variance are what each pixel of each row draws from.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

CATCH = 0.85  # an empty pocket that caught all would not empty itself in the overscan
# Electrons after which a pocket of any capacity in ADU is as full as it gets, in capacities.
FULL = 8


class Catch(NamedTuple):
    """Electrons held after t = 0, 1, 2, ... electrons."""

    mean: np.ndarray
    sigma: np.ndarray


@lru_cache(maxsize=4)
def make_catch(capacity: int, sharpness: float) -> Catch:
    """Mean and scatter of a pocket of so many electrons."""
    held = np.arange(capacity + 1)
    chance = CATCH * (1.0 - (held / capacity) ** sharpness)
    probability = np.zeros(capacity + 1)
    probability[0] = 1.0
    means, sigmas = [], []
    for _ in range(FULL * capacity):
        mean = probability @ held
        means.append(mean)
        sigmas.append(float(probability @ (held - mean) ** 2) ** 0.5)
        caught = probability * chance
        probability -= caught
        probability[1:] += caught[:-1]
    return Catch(np.array(means), np.array(sigmas))


def defer(
    electrons: np.ndarray,
    n_overscan: int,
    capacity: int,
    sharpness: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Electrons as they are read, (ny, nx + n_overscan) float32, of rows (ny, nx) in read order."""
    ny, nx = electrons.shape
    catch = make_catch(capacity, sharpness)
    last = len(catch.mean) - 1
    read = np.zeros((nx + n_overscan, ny), np.float32)
    read[:nx] = electrons.T
    held = np.zeros(ny, np.float32)
    for column in read:
        column += held
        here = np.clip(column, 0, last).astype(int)
        drawn = catch.mean[here] + catch.sigma[here] * random.standard_normal(ny)
        held = np.clip(np.rint(drawn), 0, np.minimum(np.maximum(column, 0), capacity))
        held = held.astype(np.float32)
        column -= held
    return np.ascontiguousarray(read.T)
