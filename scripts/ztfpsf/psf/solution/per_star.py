"""Each star's own PSF, and a polynomial through them afterwards."""

import jax
import jax.numpy as jnp
import numpy as np

from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.inputs.stack import Chunk
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.optimisers import Solution
from ztfpsf.psf.problem.parameters import Parameters, Problem
from ztfpsf.psf.profile.star import N_STAR_PARAMETERS
from ztfpsf.psf.solution.judgement import Judgement
from ztfpsf.psf.solution.strategy import Coefficients, StarFits
from ztfpsf.robust import fit_clipped


class PerStar:
    """See ztfpsf.psf.solution.strategy.Strategy."""

    def pose(self, problem: Problem) -> Problem:
        p, n = problem.start.stars.shape[:2]
        single = jax.tree.map(lambda leaf: leaf.reshape(p * n, 1, *leaf.shape[2:]), problem.stars)
        constant = problem.start.profile[:, None, :, :1]
        profile = jnp.broadcast_to(constant, (p, n, *constant.shape[2:]))
        return Problem(
            problem.model,
            single._replace(basis=jnp.ones((p * n, 1, 1))),
            Parameters(
                problem.start.stars.reshape(p * n, 1, -1),
                profile.reshape(p * n, *profile.shape[2:]),
            ),
            Batch(stars=1, problems=problem.batch.stars),
        )

    def read(
        self, chunk: Chunk, use: np.ndarray, solution: Solution, judgement: Judgement
    ) -> tuple[Coefficients, StarFits]:
        p, c = chunk.n_images, chunk.size.n_candidates
        basis = np.asarray(chunk.stack.basis)[:, :c]
        found, covariance = jax.tree.map(np.asarray, (solution.parameters, judgement.covariance))
        params = found.profile.reshape(p, c, -1)
        k = params.shape[-1]
        params_covariance = covariance.coefficients.reshape(p, c, k, k)
        fields = [
            fit_field(params[i, used], params_covariance[i, used], basis[i, used])
            for i, used in enumerate(use[:, :c])
        ]
        coefficients, matrix = (np.stack(part) for part in zip(*fields, strict=True))
        stars = found.stars.reshape(p, c, N_STAR_PARAMETERS)
        star_covariance = covariance.stars.reshape(p, c, N_STAR_PARAMETERS, N_STAR_PARAMETERS)
        return (
            Coefficients(coefficients, None, matrix),
            StarFits(stars, star_covariance, params, params_covariance),
        )

    def find_problems(self, number: int, stars: np.ndarray, n_candidates: int) -> np.ndarray:
        return number * n_candidates + stars

    def count_own(self, model: PsfModel) -> int:
        return N_STAR_PARAMETERS + model.n_params

    def count_shared(self, coefficients: np.ndarray) -> int:
        return 0


def fit_field(
    params: np.ndarray, params_covariance: np.ndarray, basis: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Field polynomial through the parameters of single stars, each by itself.

    `params`: (n, K), `params_covariance`: (n, K, K), `basis`: (n, B). Returns coefficients (K, B)
    and their covariance (K B, K B), of ztfpsf.robust.fit_clipped; 0 where there are too few stars.
    """
    k, n_terms = params.shape[1], basis.shape[1]
    coefficients = np.zeros((k, n_terms))
    blocks = np.zeros((k, n_terms, k, n_terms))
    errors = np.sqrt(np.diagonal(params_covariance, axis1=1, axis2=2))
    for row in range(k):
        fit = fit_clipped(basis, params[:, row], errors[:, row], min_values=n_terms)
        coefficients[row] = np.nan_to_num(fit.coefficients)
        blocks[row, :, row, :] = np.nan_to_num(fit.covariance)
    return coefficients, blocks.reshape(k * n_terms, k * n_terms)
