"""What the stars of an image share: the two ways to pose the problem, and what they yield."""

from typing import NamedTuple, Protocol

import numpy as np

from ztfpsf.psf.inputs.stack import Chunk
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.optimisers import Solution
from ztfpsf.psf.problem.parameters import Problem
from ztfpsf.psf.solution.judgement import Judgement


class Coefficients(NamedTuple):
    """The PSFs of p images."""

    profile: np.ndarray  # (p, K, B) of the field polynomials
    grid: np.ndarray | None  # (p, M, C) of the modes
    covariance: np.ndarray  # (p, m, m) of both


class StarFits(NamedTuple):
    """Stars with the PSF at each of them; leading axes image and star, or star alone."""

    parameters: np.ndarray  # (..., 4), columns of ztfpsf.psf.profile.star
    covariance: np.ndarray  # (..., 4, 4)
    params: np.ndarray  # (..., K) of the profile
    params_covariance: np.ndarray  # (..., K, K)


class Strategy(Protocol):
    """One PSF for the image (ztfpsf.psf.solution.field), or each star's own (per_star)."""

    def pose(self, problem: Problem) -> Problem:
        """The problems to solve, from one problem for each image."""

    def read(
        self, chunk: Chunk, use: np.ndarray, solution: Solution, judgement: Judgement
    ) -> tuple[Coefficients, StarFits]:
        """PSFs, and the c stars of each image that might enter them; `use` (p, n): those that did.

        `solution` and `judgement`: of the problems that were posed.
        """

    def find_problems(self, number: int, stars: np.ndarray, n_candidates: int) -> np.ndarray:
        """Numbers of the problems of one image and its fitted stars, their places in the chunk."""

    def count_own(self, model: PsfModel) -> int:
        """Free parameters that each fitted star has for itself."""

    def count_shared(self, coefficients: np.ndarray) -> int:
        """Free parameters of the profile, coefficients (K, B), that the stars share."""
