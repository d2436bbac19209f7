"""One PSF for the image, that varies over the field."""

import jax
import numpy as np

from ztfpsf.psf.inputs.stack import Chunk
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.optimisers import Solution
from ztfpsf.psf.problem.parameters import Problem
from ztfpsf.psf.profile.field import propagate
from ztfpsf.psf.profile.star import N_STAR_PARAMETERS
from ztfpsf.psf.solution.judgement import Judgement
from ztfpsf.psf.solution.strategy import Coefficients, StarFits


class Field:
    """See ztfpsf.psf.solution.strategy.Strategy."""

    def pose(self, problem: Problem) -> Problem:
        return problem

    def read(
        self, chunk: Chunk, use: np.ndarray, solution: Solution, judgement: Judgement
    ) -> tuple[Coefficients, StarFits]:
        basis = np.asarray(chunk.stack.basis)[:, : chunk.size.n_candidates]
        found, covariance = jax.tree.map(np.asarray, (solution.parameters, judgement.covariance))
        n_profile = found.profile[0].size
        of_profile = covariance.coefficients[:, :n_profile, :n_profile]
        params = np.einsum("pnb,pkb->pnk", basis, found.profile)
        params_covariance = np.stack(
            [propagate(one, its) for one, its in zip(of_profile, basis, strict=True)]
        )
        return (
            Coefficients(found.profile, found.grid, covariance.coefficients),
            StarFits(found.stars, covariance.stars, params, params_covariance),
        )

    def find_problems(self, number: int, stars: np.ndarray, n_candidates: int) -> np.ndarray:
        return np.array([number])

    def count_own(self, model: PsfModel) -> int:
        return N_STAR_PARAMETERS

    def count_shared(self, coefficients: np.ndarray) -> int:
        return coefficients.size
