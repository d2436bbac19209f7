"""scipy.optimize.minimize with JAX's gradient, one problem after the other on the CPU.

`L-BFGS-B` by default: `BFGS` keeps a dense matrix of (4 n_stars)^2 and is for single stars.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax import Array

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.optimisers import Optimiser, Solution
from ztfpsf.psf.optimisers._scaled import curvature_scale, scale_problem
from ztfpsf.psf.problem.parameters import Parameters, Problem, StarData


@dataclass(frozen=True)
class Options:
    method: str = "L-BFGS-B"
    niter: int = 500
    tol: float = 1e-9  # ends when a step lowers the loss by less, relative to the loss


_Scaled = tuple[StarData, Parameters, Parameters]  # stars, start, and unit of each parameter


@partial(jax.jit, static_argnames=("model", "batch"))
def _scale(model: PsfModel, stars: StarData, start: Parameters, batch: int) -> Parameters:
    return curvature_scale(model, stars, start, batch)


@partial(jax.jit, static_argnames=("model", "batch"))
def _value_and_grad(model: PsfModel, z: Array, problem: _Scaled, batch: int) -> tuple[Array, Array]:
    return jax.value_and_grad(scale_problem(model, *problem, batch).func)(z)


@partial(jax.jit, static_argnames=("model", "batch"))
def _to_parameters(model: PsfModel, z: Array, problem: _Scaled, batch: int) -> Parameters:
    return scale_problem(model, *problem, batch).to_parameters(z)


def _minimise_one(
    model: PsfModel, stars: StarData, start: Parameters, options: Options, batch: int
) -> tuple[Parameters, np.ndarray, int]:
    scaled = stars, start, _scale(model, stars, start, batch)
    history: list[float] = []

    def func(z: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _value_and_grad(model, z, scaled, batch)
        return float(value), np.asarray(gradient)

    def record(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        history.append(float(intermediate_result.fun))

    z0 = np.zeros(sum(leaf.size for leaf in jax.tree.leaves(start)))
    history.append(func(z0)[0])
    stop = {"ftol": options.tol} if options.method == "L-BFGS-B" else {"gtol": 1e-5}
    result = scipy.optimize.minimize(
        func,
        z0,
        jac=True,
        method=options.method,
        callback=record,
        options={"maxiter": options.niter, **stop},
    )
    parameters = _to_parameters(model, jnp.asarray(result.x), scaled, batch)
    return parameters, np.asarray(history), int(result.nit)


def minimise(problem: Problem, options: Options) -> Solution:
    """See ztfpsf.psf.optimisers.Optimiser."""
    n_problems = problem.stars.data.shape[0]
    results = []
    for index in range(n_problems):
        stars, start = jax.tree.map(lambda leaf, i=index: leaf[i], (problem.stars, problem.start))
        results.append(_minimise_one(problem.model, stars, start, options, problem.batch.stars))
    histories = np.full((n_problems, options.niter + 1), np.nan)
    for row, (_, history, _) in zip(histories, results, strict=True):
        row[: len(history)] = history[: options.niter + 1]
    return Solution(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(result[0] for result in results)),
        jnp.asarray(histories),
        jnp.asarray([result[2] for result in results]),
    )


OPTIMISER = Optimiser("scipy", Options, minimise)
