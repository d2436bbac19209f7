"""The PSFs of the images of a chunk: weights, the asked optimiser, errors, reserved stars.

Weights and rejections are found first, by a few rounds of Gauss-Newton
(ztfpsf.psf.weights.rounds); then the optimiser in question minimises that fixed objective, a
profile from the moment start, a grid from where the rounds ended. So all optimisers answer the same
question, and their answers can be compared.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from ztfpsf.errors import InputError
from ztfpsf.psf.clock import compile_clock
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.psf.inputs.settings import FitSettings
from ztfpsf.psf.inputs.stack import Chunk, make_chunk
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.optimisers import Solver
from ztfpsf.psf.problem.images import local_params, make_problem
from ztfpsf.psf.solution.field import Field
from ztfpsf.psf.solution.judgement import judge
from ztfpsf.psf.solution.per_star import PerStar
from ztfpsf.psf.solution.result import ChunkFit, ImageFit
from ztfpsf.psf.solution.stars import fit_all_stars
from ztfpsf.psf.solution.strategy import Strategy
from ztfpsf.psf.weights.rounds import FEWEST_STARS, clean, explain_too_few

STRATEGIES: dict[str, Strategy] = {"field": Field(), "per_star": PerStar()}


def fit_image(
    model: PsfModel, solver: Solver, stamps: ImageStamps, settings: FitSettings
) -> ImageFit:
    """Fit one image, a chunk of one. Raises InputError when fewer than three stars can be used."""
    (fit,) = fit_images(model, solver, [stamps], settings, 1)
    if isinstance(fit, InputError):
        raise fit
    return fit


def fit_images(
    model: PsfModel,
    solver: Solver,
    stamps: Sequence[ImageStamps],
    settings: FitSettings,
    n_images: int,
) -> list[ImageFit | InputError]:
    """Fit images of one size (ztfpsf.psf.inputs.stack.measure_size) in a chunk of `n_images`.

    An image of which fewer than three stars can be used is an error in its place.
    """
    if settings.strategy == "per_star" and model.grid is not None:
        raise InputError(
            "config key fit_psf.strategy is per_star, and no single star defines a pixel grid: "
            "set it to field, or take a model without grid."
        )
    counts = [int((~image.is_reserved).sum()) for image in stamps]
    fitted = [image for image, n in zip(stamps, counts, strict=True) if n >= FEWEST_STARS]
    fits = iter(_fit_chunk(make_chunk(model, fitted, settings, n_images), solver) if fitted else [])
    return [next(fits) if n >= FEWEST_STARS else InputError(explain_too_few(n)) for n in counts]


class FittedStars(NamedTuple):
    """Stars of an image in a PSF; of those that entered it alone the numbers mean something."""

    parameters: np.ndarray  # (n, 4), columns of ztfpsf.psf.profile.star
    params: np.ndarray  # (n, K) of the profile
    is_fitted: np.ndarray  # (n,) bool


def find_stars(model: PsfModel, stamps: ImageStamps, settings: FitSettings) -> FittedStars:
    """The stars that enter the PSF of an image, by a model without grid, after `clean` alone."""
    chunk = make_chunk(model, [stamps], settings, 1)
    cleaned = clean(chunk)
    best, use = cleaned.best, cleaned.is_fitted(chunk)
    params = local_params(model, best, cleaned.data(chunk))
    (place,) = chunk.places
    return FittedStars(*(np.asarray(part)[0, place] for part in (best.stars, params, use)))


def _fit_chunk(chunk: Chunk, solver: Solver) -> list[ImageFit | InputError]:
    strategy = STRATEGIES[chunk.settings.strategy]
    cleaned = clean(chunk)
    use = cleaned.is_fitted(chunk)
    problem = make_problem(chunk, use, cleaned.data(chunk), cleaned.start)
    fewest = np.minimum(cleaned.fewest, use.sum(axis=1))
    problem = strategy.pose(problem)
    with compile_clock() as clock:
        solution = jax.block_until_ready(solver(problem))
    judgement = judge(problem, solution)
    coefficients, fitted = strategy.read(chunk, use, solution, judgement)
    stars, quality = fit_all_stars(chunk, cleaned, coefficients, fitted)
    fit = ChunkFit(
        chunk, strategy, cleaned, coefficients, stars, quality, solution, judgement, clock
    )
    return [
        fit.read_image(i)
        if fewest[i] >= FEWEST_STARS
        else InputError(explain_too_few(int(fewest[i])))
        for i in range(len(chunk.stamps))
    ]
