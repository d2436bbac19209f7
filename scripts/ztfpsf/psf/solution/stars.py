"""All stars of the images in the PSF of their image: fitted, reserved and rejected ones."""

import jax
import numpy as np
from jax import Array

from ztfpsf.psf.inputs.stack import Chunk, ImagePixels, list_rows
from ztfpsf.psf.problem.images import covariances, draw, local_params, own_covariances, refit
from ztfpsf.psf.problem.parameters import Parameters
from ztfpsf.psf.problem.star_fit import StarsInPsf
from ztfpsf.psf.profile.field import propagate
from ztfpsf.psf.profile.star import FLUX, is_core
from ztfpsf.psf.solution.result import Quality
from ztfpsf.psf.solution.strategy import Coefficients, StarFits
from ztfpsf.psf.weights.rejection import Kept, mean_of
from ztfpsf.psf.weights.rounds import Cleaned


def fit_all_stars(
    chunk: Chunk, cleaned: Cleaned, coefficients: Coefficients, fitted: StarFits
) -> tuple[StarFits, Quality]:
    """Fitted stars as the fit left them, the others in its PSF; both (p, n).

    `fitted`: (p, c) the stars that might enter the PSF.
    """
    model, batch, use = chunk.model, chunk.settings.batch, cleaned.is_fitted(chunk)
    data, n, k = cleaned.data(chunk), chunk.size.n_candidates, model.n_params
    grid = None if coefficients.grid is None else jax.device_put(coefficients.grid)
    best = Parameters(cleaned.best.stars, jax.device_put(coefficients.profile), grid)
    known = StarsInPsf(best.stars, local_params(model, best, data))
    rows = list_rows(np.asarray(chunk.stack.is_star) & ~use)
    known = known._replace(stars=refit(model, known, data, rows, batch.stars))
    covariance, n_candidates = jax.device_put(coefficients.covariance), chunk.size.n_candidates
    errors = covariances(model, known, data, covariance, rows, n_candidates, batch)
    used = use[:, :n]
    others = StarFits(
        np.array(known.stars),
        np.array(errors),
        np.array(known.params[..., :k]),
        _propagate(coefficients, np.asarray(chunk.stack.basis)),
    )
    for array, of_fitted in zip(others, fitted, strict=True):
        array[:, :n][used] = of_fitted[used]
    params = known.params.at[..., :k].set(others.params)
    in_psf = StarsInPsf(jax.device_put(others.parameters), params)
    models = draw(model, in_psf, chunk.size.size_px, batch.stars)
    quality = _measure(cleaned.image(chunk), cleaned.kept, models, in_psf.stars)
    model_error = cleaned.kept.noise.model_error
    own, of_model = own_covariances(model, in_psf, data, model_error, batch)
    of_psf = np.maximum((others.covariance - own)[..., FLUX, FLUX], 0.0) ** 0.5
    others = others._replace(covariance=others.covariance + np.asarray(of_model))
    chi2, n_pix, core_chi2 = (np.asarray(part) for part in quality)
    return others, Quality(chi2, n_pix, core_chi2, of_psf)


def _propagate(coefficients: Coefficients, basis: np.ndarray) -> np.ndarray:
    """Covariance of the profile at all stars, (p, n, K, K). `basis`: (p, n, B)."""
    size = coefficients.profile[0].size
    return np.stack(
        [
            propagate(covariance[:size, :size], its)
            for covariance, its in zip(coefficients.covariance, basis, strict=True)
        ]
    )


@jax.jit
def _measure(
    image: ImagePixels, kept: Kept, models: Array, stars: Array
) -> tuple[Array, Array, Array]:
    """chi2, number of pixels and core chi2 of all stars, (p, n)."""

    def measure_one(
        image: ImagePixels, kept: Kept, models: Array, stars: Array
    ) -> tuple[Array, Array, Array]:
        squared = (image.data - models) ** 2 / kept.variance
        # Clipped against the model, the core would look the better the worse the model: only
        # what the image's own mask marks is left out of this figure.
        core = image.good & is_core(image.data.shape[-1], stars)
        chi2 = (squared * kept.good).sum(axis=(1, 2))
        return chi2, kept.good.sum(axis=(1, 2)), mean_of(squared, core)

    return jax.vmap(measure_one)(image, kept, models, stars)
