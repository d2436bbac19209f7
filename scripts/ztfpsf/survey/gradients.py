"""Preconditioned conjugate gradients."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Operator = Callable[[np.ndarray], np.ndarray]


class Solved(NamedTuple):
    unknowns: np.ndarray  # (size,)
    residual: np.ndarray  # (size,) b - N x
    iterations: int
    change_mag: float  # the largest change that is still expected


def solve(
    multiply: Operator,
    precondition: Operator,
    residual: np.ndarray,
    start: np.ndarray,
    tolerance: float,
    max_iterations: int,
) -> Solved:
    """Solve N x = b for a symmetric N without negative eigenvalues, b in its range.

    `residual` is b - N start.
    Ends when the preconditioned residual, what the next step would change at once if the
    preconditioner were exact, is nowhere above `tolerance`, or after `max_iterations`.
    """
    x = start.copy()
    residual, step = residual.copy(), np.zeros_like(x)
    power = 1.0
    for iteration in range(max_iterations + 1):
        corrected = precondition(residual)
        change = float(np.abs(corrected).max(initial=0.0))
        if change <= tolerance or iteration == max_iterations:
            break
        previous, power = power, float(residual @ corrected)
        step = corrected + (power / previous if iteration else 0.0) * step
        image = multiply(step)
        length = power / float(step @ image)
        x += length * step
        residual -= length * image
    return Solved(x, residual, iteration, change)
