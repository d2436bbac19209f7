"""Errors of a solution, and how far it is from the minimum; the same for all optimisers."""

from functools import partial
from typing import NamedTuple

import jax
from jax import Array

from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.optimisers import Solution
from ztfpsf.psf.problem.elimination import Covariance, covariance
from ztfpsf.psf.problem.images import find_normal
from ztfpsf.psf.problem.normal import NormalEquations
from ztfpsf.psf.problem.parameters import Problem

EDM_TOLERANCE = 0.01  # expected decrease of chi2 that is left where a fit has converged


class Judgement(NamedTuple):
    """Quality of a solution, leading axis `problem`."""

    covariance: Covariance
    edm: Array  # (p,) expected decrease of chi2 to the minimum (Minuit's EDM)


def judge(problem: Problem, solution: Solution) -> Judgement:
    """Judge the solutions of all problems."""
    normal = solution.normal
    if normal is None:
        normal = find_normal(problem.model, problem.stars, solution.parameters, problem.batch)
    return _judge(normal, problem.batch)


@partial(jax.jit, static_argnames="batch")
def _judge(normal: NormalEquations, batch: Batch) -> Judgement:
    found = jax.lax.map(covariance, normal, batch_size=batch.problems)
    return Judgement(*found)
