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
from ztfpsf.psf.problem.blocks import count_used
from ztfpsf.psf.problem.elimination import solve
from ztfpsf.psf.problem.levenberg_marquardt import FIRST_DAMPING, NEAR_DAMPING, Limits
from ztfpsf.psf.problem.levenberg_marquardt import minimise as minimise_problem
from ztfpsf.psf.problem.normal import NormalEquations, normal_equations
from ztfpsf.psf.problem.parameters import Parameters, Problem, StarData

HISTORY = 50  # steps that are recorded, at least


@dataclass(frozen=True)
class Options:
    niter: int = 50
    tol: float = 5e-3  # ends when a step is expected to lower chi2 by less


@partial(jax.jit, static_argnames=("model", "n_history", "batch"))
def _minimise(
    model: PsfModel,
    stars: StarData,
    start: Parameters,
    limits: Limits,
    n_history: int,
    batch: Batch,
) -> Solution:
    n_used = count_used(stars.weight)

    def minimise_one(stars_and_start: tuple[StarData, Parameters]) -> Solution:
        one_stars, one_start = stars_and_start

        def evaluate(parameters: Parameters) -> NormalEquations:
            return normal_equations(model, parameters, one_stars, n_used, batch.stars)

        state = minimise_problem(
            evaluate,
            lambda normal, damping: solve(normal, damping, one_start),
            one_start,
            limits,
            n_history,
        )
        return Solution(state.parameters, state.history, state.iteration, state.normal)

    return jax.lax.map(minimise_one, (stars, start), batch_size=batch.problems)


def minimise_within(problem: Problem, limits: Limits) -> Solution:
    """Minimise every problem; other limits of up to HISTORY steps are not compiled anew."""
    n_history = max(HISTORY, int(limits.niter))
    return _minimise(problem.model, problem.stars, problem.start, limits, n_history, problem.batch)


def minimise(problem: Problem, options: Options) -> Solution:
    """See ztfpsf.psf.optimisers.Optimiser."""
    # A grid starts near its minimum.
    damping = FIRST_DAMPING if problem.start.grid is None else NEAR_DAMPING
    return minimise_within(problem, Limits(options.niter, options.tol, damping))


OPTIMISER = Optimiser("gauss_newton", Options, minimise)
