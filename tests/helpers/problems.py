"""Problems with a known answer: stars drawn by GalSim, noise added here."""

from dataclasses import replace
from typing import NamedTuple

import galsim
import jax
import jax.numpy as jnp
import numpy as np
from galsim_stars import draw, ellipse, gaussian, moffat
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.models import PsfModel, get_model, list_models
from ztfpsf.psf.problem.parameters import Parameters, Problem, StarData
from ztfpsf.psf.profile.star import BACKGROUND, FLUX, POSITION, X, Y, star_psf
from ztfpsf.psf.weights.start import start_fwhm, start_profile

SKY_ADU = 150.0
GAIN = 6.0
READ_NOISE_ELECTRON = 9.0
FWHM_PX = 1.7
ALPHA = 3.0
AXIS_RATIO, THETA_DEG = 0.9, 25.0


# Models that are a profile alone.
PROFILES = [name for name in list_models() if get_model(name).grid is None]


class Truth(NamedTuple):
    model: PsfModel
    params: np.ndarray  # (K,)
    stars: np.ndarray  # (n, 4)
    expected: np.ndarray  # (n, S, S) ADU, noise-free


def true_profile(name: str) -> galsim.GSObject | None:
    """GalSim's profile for one of our models, None for a model that GalSim does not know."""
    drawers = {
        "moffat": lambda: moffat(FWHM_PX, ALPHA, AXIS_RATIO, THETA_DEG),
        "gaussian": lambda: gaussian(FWHM_PX, AXIS_RATIO, THETA_DEG),
    }
    stem = name.removesuffix("_grid")
    return drawers[stem]() if stem in drawers else None


def draw_truth(name: str, x_px: float, y_px: float, size_px: int) -> np.ndarray:
    """A star of flux 1 for a model: GalSim's, or the model's own at its start."""
    profile = true_profile(name)
    if profile is not None:
        return draw(profile, x_px, y_px, size_px)
    model = replace(get_model(name), grid=None)
    params = jnp.asarray([*model.start(FWHM_PX)], float)
    return np.asarray(_draw(model, jnp.array([x_px, y_px]), params, size_px))


_draw = jax.jit(star_psf, static_argnames=("model", "size_px"))


def disturb_start(model: PsfModel, fwhm_px: float, seed: int) -> np.ndarray:
    """Parameters around the start, (K,); wings, which have a scale of their own, stay."""
    start = np.array([float(value) for value in model.start(fwhm_px)])
    change = np.random.default_rng(seed).uniform(-0.2, 0.2, model.n_params)
    change[model.n_params - model.n_wings :] = 0.0
    return start + change


def true_params(name: str) -> np.ndarray | None:
    e1, e2 = ellipse(AXIS_RATIO, THETA_DEG)
    params = {
        "moffat": [np.log(FWHM_PX), np.log(ALPHA - 1.0), e1, e2],
        "gaussian": [np.log(FWHM_PX), e1, e2],
    }
    return np.array(params[name]) if name in params else None


def make_truth(name: str, n: int, size_px: int, seed: int) -> Truth:
    """Stars of 2e3 to 5e4 ADU at random sub-pixel positions."""
    rng = np.random.default_rng(seed)
    stars = np.stack(
        [
            rng.uniform(-0.5, 0.5, n),
            rng.uniform(-0.5, 0.5, n),
            10 ** rng.uniform(3.3, 4.7, n),
            np.full(n, SKY_ADU),
        ],
        axis=1,
    )
    stamps = np.stack([draw_truth(name, x, y, size_px) for x, y, _, _ in stars])
    expected = stars[:, FLUX, None, None] * stamps + stars[:, BACKGROUND, None, None]
    return Truth(get_model(name), true_params(name), stars, expected)


def true_variance(expected: np.ndarray) -> np.ndarray:
    return expected / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2


def make_problem(truth: Truth, n_realisations: int, seed: int) -> Problem:
    """Independent noise realisations of the same stars, one shared constant profile each."""
    rng = np.random.default_rng(seed)
    n = len(truth.expected)
    variance = true_variance(truth.expected)
    noise = rng.standard_normal((n_realisations, *truth.expected.shape)) * np.sqrt(variance)
    data = truth.expected + noise
    weight = np.broadcast_to(1.0 / variance, data.shape)
    basis = np.ones((n_realisations, n, 1))
    start = truth.stars.copy()
    start[:, POSITION] += rng.normal(0.0, 0.05, (n, 2))
    start[:, FLUX] *= 0.93
    fwhm = start_fwhm(truth.expected, np.ones_like(variance, dtype=bool), start, np.ones(n, bool))
    profile = start_profile(truth.model, fwhm, 1)
    parameters = Parameters(
        np.broadcast_to(start, (n_realisations, n, 4)),
        np.broadcast_to(profile, (n_realisations, *profile.shape)),
    )
    stars = StarData(data, weight, basis, np.zeros((n_realisations, n, 2)))
    arrays = jax.tree.map(jnp.array, (stars, parameters))
    return Problem(truth.model, *arrays, Batch(stars=min(n, 16), problems=min(n_realisations, 16)))


def make_stamps(
    truth: Truth, seed: int, n_reserved: int = 0, nx: int = 400, ny: int = 300
) -> ImageStamps:
    """The stars as stamps of one non-square image; the first `n_reserved` are held back."""
    rng = np.random.default_rng(seed)
    n, size_px = truth.expected.shape[:2]
    half = size_px // 2
    variance = true_variance(truth.expected)
    x_centre, y_centre = rng.integers(20, nx - 20, n), rng.integers(20, ny - 20, n)
    return ImageStamps(
        image="simulated",
        data=truth.expected + rng.standard_normal(variance.shape) * np.sqrt(variance),
        variance=np.full_like(variance, SKY_ADU / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2),
        good=np.ones(variance.shape, bool),
        sky_adu=np.full(n, SKY_ADU),
        x_px=x_centre + truth.stars[:, X] + rng.normal(0, 0.05, n),
        y_px=y_centre + truth.stars[:, Y] + rng.normal(0, 0.05, n),
        x0_px=x_centre - half,
        y0_px=y_centre - half,
        is_reserved=np.arange(n) < n_reserved,
        gain=GAIN,
        read_noise_electron=READ_NOISE_ELECTRON,
        nx=nx,
        ny=ny,
    )
