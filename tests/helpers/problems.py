"""Problems with a known answer: stars drawn by GalSim, noise added here."""

from types import ModuleType
from typing import NamedTuple

import galsim
import jax
import jax.numpy as jnp
import numpy as np
from galsim_stars import draw, ellipse, gaussian, moffat
from ztfpsf.psf.image import ImageStamps
from ztfpsf.psf.models import get_model, list_models
from ztfpsf.psf.problem import Batch, Parameters, Problem, Stars
from ztfpsf.psf.start import start_fwhm, start_shape

SKY_ADU = 150.0
GAIN = 6.0
READ_NOISE_ELECTRON = 9.0
FWHM_PX = 1.7
ALPHA = 3.0
AXIS_RATIO, THETA_DEG = 0.9, 25.0


# Models that are a profile alone.
PROFILES = [name for name in list_models() if not hasattr(get_model(name), "BASE")]


class Truth(NamedTuple):
    model: ModuleType
    shape: np.ndarray  # (K,)
    star: np.ndarray  # (n, 4)
    expected: np.ndarray  # (n, S, S) ADU, noise-free


def true_profile(name: str) -> galsim.GSObject:
    drawers = {
        "moffat": lambda: moffat(FWHM_PX, ALPHA, AXIS_RATIO, THETA_DEG),
        "gaussian": lambda: gaussian(FWHM_PX, AXIS_RATIO, THETA_DEG),
    }
    # A new model needs no new truth to pass the contract: any star will do.
    return drawers.get(name.removesuffix("_grid"), drawers["moffat"])()


def true_shape(name: str) -> np.ndarray | None:
    e1, e2 = ellipse(AXIS_RATIO, THETA_DEG)
    shapes = {
        "moffat": [np.log(FWHM_PX), np.log(ALPHA - 1.0), e1, e2],
        "gaussian": [np.log(FWHM_PX), e1, e2],
    }
    return np.array(shapes[name]) if name in shapes else None


def make_truth(name: str, n: int, size_px: int, seed: int) -> Truth:
    """Stars of 2e3 to 5e4 ADU at random sub-pixel positions."""
    rng = np.random.default_rng(seed)
    star = np.stack(
        [
            rng.uniform(-0.5, 0.5, n),
            rng.uniform(-0.5, 0.5, n),
            10 ** rng.uniform(3.3, 4.7, n),
            np.full(n, SKY_ADU),
        ],
        axis=1,
    )
    profile = true_profile(name)
    stamps = np.stack([draw(profile, x, y, size_px) for x, y, _, _ in star])
    expected = star[:, 2, None, None] * stamps + star[:, 3, None, None]
    return Truth(get_model(name), true_shape(name), star, expected)


def true_variance(expected: np.ndarray) -> np.ndarray:
    return expected / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2


def make_problem(truth: Truth, n_realisations: int, seed: int) -> Problem:
    """Independent noise realisations of the same stars, one shared constant shape each."""
    rng = np.random.default_rng(seed)
    n = len(truth.expected)
    variance = true_variance(truth.expected)
    noise = rng.standard_normal((n_realisations, *truth.expected.shape)) * np.sqrt(variance)
    data = truth.expected + noise
    weight = np.broadcast_to(1.0 / variance, data.shape)
    basis = np.ones((n_realisations, n, 1))
    start = truth.star.copy()
    start[:, :2] += rng.normal(0.0, 0.05, (n, 2))
    start[:, 2] *= 0.93
    fwhm = start_fwhm(truth.expected, np.ones_like(variance, dtype=bool), start, np.ones(n, bool))
    shape = start_shape(truth.model, fwhm, 1)
    parameters = Parameters(
        np.broadcast_to(start, (n_realisations, n, 4)),
        np.broadcast_to(shape, (n_realisations, *shape.shape)),
    )
    arrays = jax.tree.map(jnp.array, (Stars(data, weight, basis), parameters))
    return Problem(truth.model, *arrays, Batch(stars=min(n, 16), problems=min(n_realisations, 16)))


def make_stamps(truth: Truth, seed: int, n_reserved: int = 0, nx: int = 400, ny: int = 300):
    """The stars as stamps of one non-square image; the first `n_reserved` are held back."""
    rng = np.random.default_rng(seed)
    n, size_px = truth.expected.shape[:2]
    half = size_px // 2
    variance = true_variance(truth.expected)
    x_centre, y_centre = rng.integers(20, nx - 20, n), rng.integers(20, ny - 20, n)
    return ImageStamps(
        data=truth.expected + rng.standard_normal(variance.shape) * np.sqrt(variance),
        variance=np.full_like(variance, SKY_ADU / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2),
        good=np.ones(variance.shape, bool),
        sky_adu=np.full(n, SKY_ADU),
        x_px=x_centre + truth.star[:, 0] + rng.normal(0, 0.05, n),
        y_px=y_centre + truth.star[:, 1] + rng.normal(0, 0.05, n),
        x0_px=x_centre - half,
        y0_px=y_centre - half,
        is_reserved=np.arange(n) < n_reserved,
        gain=GAIN,
        read_noise_electron=READ_NOISE_ELECTRON,
        nx=nx,
        ny=ny,
    )
