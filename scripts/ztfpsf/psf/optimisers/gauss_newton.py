"""Gauss-Newton with Levenberg-Marquardt damping on the arrow structure: the default.

A few steps of O(pixels) each from the start of `ztfpsf.psf.weights.start`; more where the model is
wrong.
"""

from dataclasses import dataclass
from functools import partial

import jax

from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.optimisers import Optimiser, Solution
from ztfpsf.psf.problem import levenberg_marquardt
from ztfpsf.psf.problem.elimination import solve
from ztfpsf.psf.problem.normal import NormalEquations, normal_equations
from ztfpsf.psf.problem.parameters import Parameters, Problem, StarData


@dataclass(frozen=True)
class Options:
    niter: int = 50
    tol: float = 5e-3  # ends when a step is expected to lower chi2 by less


@partial(jax.jit, static_argnames=("model", "options", "batch"))
def _minimise(
    model: PsfModel, stars: StarData, start: Parameters, options: Options, batch: Batch
) -> Solution:
    def minimise_one(stars_and_start: tuple[StarData, Parameters]) -> Solution:
        one_stars, one_start = stars_and_start

        def evaluate(parameters: Parameters) -> NormalEquations:
            return normal_equations(model, parameters, one_stars, batch.stars)

        state = levenberg_marquardt.minimise(
            evaluate,
            lambda normal, damping: solve(normal, damping, one_start),
            one_start,
            options.niter,
            options.tol,
        )
        return Solution(state.parameters, state.history, state.iteration, state.normal)

    return jax.lax.map(minimise_one, (stars, start), batch_size=batch.problems)


def minimise(problem: Problem, options: Options) -> Solution:
    """See ztfpsf.psf.optimisers.Optimiser."""
    return _minimise(problem.model, problem.stars, problem.start, options, problem.batch)


OPTIMISER = Optimiser("gauss_newton", Options, minimise)
