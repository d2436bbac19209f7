"""Errors of a solution, and how far it is from the minimum; the same for all optimisers."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.optimisers import Solution
from ztfpsf.psf.problem.elimination import Covariance, covariance, solve
from ztfpsf.psf.problem.images import find_normal
from ztfpsf.psf.problem.normal import NormalEquations
from ztfpsf.psf.problem.parameters import Parameters, Problem

EDM_TOLERANCE = 0.01  # expected decrease of chi2 that is left where a fit has converged


class Judgement(NamedTuple):
    """Quality of a solution, leading axis `problem`."""

    covariance: Covariance
    edm: Array  # (p,) expected decrease of chi2 to the minimum (Minuit's EDM)


def judge(problem: Problem, solution: Solution) -> Judgement:
    """Judge the solutions of all problems."""
    normal, found = solution.normal, solution.parameters
    if normal is None:
        normal = find_normal(problem.model, problem.stars, found, problem.batch)
    return _judge(normal, found, problem.batch)


@partial(jax.jit, static_argnames="batch")
def _judge(normal: NormalEquations, parameters: Parameters, batch: Batch) -> Judgement:
    def judge_one(one: tuple[NormalEquations, Parameters]) -> Judgement:
        its_normal, its_parameters = one
        edm = solve(its_normal, jnp.zeros(()), its_parameters).chi2_decrease
        return Judgement(covariance(its_normal), edm)

    return jax.lax.map(judge_one, (normal, parameters), batch_size=batch.problems)
