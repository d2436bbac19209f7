"""Choice of the freedom of a PSF, image by image, among settings that the configuration lists.

Every candidate is fitted. On the stars that all of them use, the one of least

    BIC = N ln(chi2 / N) + k ln N

is taken (Schwarz 1978, Ann. Stat. 6, 461; here with the variance known only up to a factor), k the
coefficients of the profile that are fitted plus those of the grid that the stars determine. The
reserved stars have no part in it: they stay fit to judge what was chosen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ztfpsf.errors import InputError
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.psf.inputs.settings import FitSettings
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.optimisers import Solver
from ztfpsf.psf.problem.objective import free_coefficients
from ztfpsf.psf.solution.fit import fit_images
from ztfpsf.psf.solution.result import ImageFit


class Chosen(NamedTuple):
    """The fit of one image, and what the alternatives were worth."""

    fit: ImageFit | InputError
    bic_above_best: tuple[float, ...]  # of every candidate; NaN without a fit; 0 of the chosen one


def fit_best(
    model: PsfModel,
    solver: Solver,
    stamps: Sequence[ImageStamps],
    candidates: Sequence[FitSettings],
    n_images: int,
) -> list[Chosen]:
    """Fit images of one size in a chunk of `n_images` by every candidate; see fit_images.

    The size of the model's grid, if it has one, is that of each candidate.
    """
    fits = [
        fit_images(settings.set_grid(model), solver, stamps, settings, n_images)
        for settings in candidates
    ]
    chosen = []
    for image, of_image in zip(stamps, zip(*fits, strict=True), strict=True):
        criterion = compare(image, of_image, candidates[0].clipping.pixel_sigma)
        best = int(np.argmin(np.where(np.isfinite(criterion), criterion, np.inf)))
        above = tuple(float(value) for value in criterion - criterion[best])
        chosen.append(Chosen(of_image[best], above))
    return chosen


def compare(
    stamps: ImageStamps, fits: Sequence[ImageFit | InputError], clipped_at_sigma: float
) -> np.ndarray:
    """BIC of every fit of an image, (candidates,); NaN where there is none.

    A pixel that a fit clipped counts as one just at the limit, so that no model gains by clipping.
    """
    done = [(i, fit) for i, fit in enumerate(fits) if isinstance(fit, ImageFit)]
    criterion = np.full(len(fits), np.nan)
    is_common = np.ones(len(stamps.data), bool)
    for _, fit in done:
        is_common &= fit.is_fitted
    n_pix = int(stamps.good[is_common].sum())
    for i, fit in done if n_pix else []:
        n_clipped = n_pix - int(fit.quality.n_pix[is_common].sum())
        chi2 = float(fit.quality.chi2[is_common].sum()) + clipped_at_sigma**2 * n_clipped
        criterion[i] = n_pix * np.log(chi2 / n_pix) + count_coefficients(fit) * np.log(n_pix)
    return criterion


def count_coefficients(fit: ImageFit) -> float:
    """Coefficients of the PSF that a fit determines; those of a grid count in part."""
    n_terms = fit.psf.coefficients.shape[1]
    profile = float(free_coefficients(fit.psf.model, n_terms).sum())
    return profile + float(fit.n_effective.sum())
