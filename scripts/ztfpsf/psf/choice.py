"""Choice of the freedom of a PSF, image by image, among settings that the configuration lists.

Every candidate is fitted. On the stars that all of them use, the one of least

    BIC = N ln(chi2 / N) + k ln N

is taken (Schwarz 1978, Ann. Stat. 6, 461; here with the variance known only up to a factor), k the
coefficients of the profile that are fitted plus those of the grid that the stars determine. The
reserved stars have no part in it: they stay fit to judge what was chosen.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ztfpsf.errors import InputError
from ztfpsf.psf.fit import fit_images
from ztfpsf.psf.grid import add_grid, get_grid
from ztfpsf.psf.image import FitSettings, ImageStamps
from ztfpsf.psf.problem import free_coefficients
from ztfpsf.psf.results import ImageFit


class Chosen(NamedTuple):
    """The fit of one image, its model and settings, and what the alternatives were worth."""

    fit: ImageFit | InputError
    model: Any
    settings: FitSettings
    bic_above_best: tuple[float, ...]  # of every candidate; NaN without a fit; 0 of the chosen one


def fit_best(
    model: ModuleType,
    optimiser: ModuleType,
    options: tuple,
    stamps: Sequence[ImageStamps],
    candidates: Sequence[FitSettings],
    n_images: int,
) -> list[Chosen]:
    """Fit images of one size in a chunk of `n_images` by every candidate; see fit_images.

    `model`: the module of a PSF model, without its grid.
    """
    models = [add_grid(model, settings.grid.grid) for settings in candidates]
    fits = [
        fit_images(full, optimiser, options, stamps, settings, n_images)
        for full, settings in zip(models, candidates, strict=True)
    ]
    chosen = []
    for image, of_image in zip(stamps, zip(*fits, strict=True), strict=True):
        criterion = compare(models, image, of_image, candidates[0].clipping.pixel_sigma)
        best = int(np.argmin(np.where(np.isfinite(criterion), criterion, np.inf)))
        above = tuple(float(value) for value in criterion - criterion[best])
        chosen.append(Chosen(of_image[best], models[best], candidates[best], above))
    return chosen


def compare(
    models: Sequence[Any],
    stamps: ImageStamps,
    fits: Sequence[ImageFit | InputError],
    clipped_at_sigma: float,
) -> np.ndarray:
    """BIC of every fit of an image, (candidates,); NaN where there is none.

    A pixel that a fit clipped counts as one just at the limit, so that no model gains by clipping.
    """
    done = [i for i, fit in enumerate(fits) if isinstance(fit, ImageFit)]
    criterion = np.full(len(fits), np.nan)
    is_common = np.ones(len(stamps.data), bool)
    for i in done:
        is_common &= fits[i].is_fitted
    n_pix = int(stamps.good[is_common].sum())
    for i in done if n_pix else []:
        n_clipped = n_pix - int(fits[i].n_pix[is_common].sum())
        chi2 = float(fits[i].chi2[is_common].sum()) + clipped_at_sigma**2 * n_clipped
        n_free = count_coefficients(models[i], fits[i])
        criterion[i] = n_pix * np.log(chi2 / n_pix) + n_free * np.log(n_pix)
    return criterion


def count_coefficients(model: Any, fit: ImageFit) -> float:
    """Coefficients of the PSF that a fit determines; those of a grid count in part."""
    profile = float(free_coefficients(model, fit.coefficients.shape[1]).sum())
    return profile if get_grid(model) is None else profile + float(fit.grid.n_effective.sum())
