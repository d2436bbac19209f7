"""Errors of a solution, and how far it is from the minimum; the same for all optimisers."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.optimisers import Solution
from ztfpsf.psf.problem.blocks import map_batched
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
        model, stars, start, batch = problem
        is_problem = np.ones(len(start.stars), bool)
        normal = find_normal(model, stars, solution.parameters, is_problem, batch)
    return _judge(normal, problem.batch)


@partial(jax.jit, static_argnames="batch")
def _judge(normal: NormalEquations, batch: Batch) -> Judgement:
    return Judgement(*map_batched(covariance, normal, batch.problems))
