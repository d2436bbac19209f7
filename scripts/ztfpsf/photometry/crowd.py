"""The step of stars in crowds, where groups overlap too much to be solved one by one."""

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from ztfpsf.photometry.equations import Evaluation
from ztfpsf.photometry.light import Light
from ztfpsf.photometry.normal import Inverse

RELATIVE_RESIDUAL = 0.05
MAX_ITERATIONS = 20


def solve_crowd(
    crowd: np.ndarray,
    light: Light,
    evaluation: Evaluation,
    inverse: Inverse,
    is_free: np.ndarray,
) -> np.ndarray:
    """The step (c, 3) of the stars `crowd`, (c,) of n.

    GMRES (Saad & Schultz 1986) on the pixels: the light that a step adds is drawn, and read by
    every stamp that it reaches. The groups are the preconditioner.
    """
    columns, pixel = evaluation.columns, light.pixel[crowd]
    slot = columns.slot[crowd]
    weighted = columns.weighted[slot]
    added = columns.plain[slot] + columns.mean[slot, :, None, None]
    plane = np.zeros(evaluation.model.size, np.float32)
    keep = np.stack([np.ones(len(crowd)), is_free[crowd], is_free[crowd]], axis=1)
    scale = inverse.scale[crowd] * keep
    everywhere = np.zeros(inverse.scale.shape)

    def multiply(vector: np.ndarray) -> np.ndarray:
        unknowns = (vector.reshape(-1, 3) * scale).astype(np.float32)
        plane[pixel] = 0
        np.add.at(plane, pixel, np.einsum("nkij,nk->nij", added, unknowns))
        return (np.einsum("nkij,nij->nk", weighted, plane[pixel]) * scale).ravel()

    def precondition(vector: np.ndarray) -> np.ndarray:
        everywhere[crowd] = vector.reshape(-1, 3) / inverse.scale[crowd]
        return (inverse.apply(everywhere)[crowd] / inverse.scale[crowd]).ravel()

    shape = (3 * len(crowd), 3 * len(crowd))
    solution, _ = gmres(
        LinearOperator(shape, multiply),
        (evaluation.normal.gradient[crowd] * scale).ravel(),
        M=LinearOperator(shape, precondition),
        rtol=RELATIVE_RESIDUAL,
        restart=MAX_ITERATIONS,
        maxiter=1,
    )
    return solution.reshape(-1, 3) * scale
