"""Simulated images, drawn by our own Moffat: neither GalSim nor any file is needed."""

import jax
import jax.numpy as jnp
import numpy as np
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.psf.inputs.settings import Batch, FitSettings
from ztfpsf.psf.models import get_model
from ztfpsf.psf.problem.star_fit import StarsInPsf, draw_stars
from ztfpsf.psf.running.chunks import choose_batch
from ztfpsf.psf.weights.start import start_profile

SKY_ADU, GAIN, READ_NOISE_ELECTRON = 150.0, 6.2, 9.5
FWHM_PX = 2.0
NX, NY = 3072, 3080


def make_images(n: int, n_stars: int, size_px: int) -> list[ImageStamps]:
    """Images of the same stars with other fluxes and noise; a fifth of the stars is reserved."""
    rng = np.random.default_rng(1)
    offset = rng.uniform(-0.5, 0.5, (n_stars, 2))
    centre = rng.integers(size_px, NX - size_px, (n_stars, 2))
    light = _draw(offset, size_px)
    images = []
    for number in range(n):
        flux = 10 ** rng.uniform(3.3, 5.0, n_stars)
        expected = flux[:, None, None] * light + SKY_ADU
        variance = expected / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2
        position = centre + offset + rng.normal(0.0, 0.05, offset.shape)
        images.append(
            ImageStamps(
                image=f"simulated {number}",
                data=expected + rng.standard_normal(expected.shape) * np.sqrt(variance),
                variance=variance,
                good=np.ones(expected.shape, bool),
                sky_adu=np.full(n_stars, SKY_ADU),
                x_px=position[:, 0],
                y_px=position[:, 1],
                x0_px=centre[:, 0] - size_px // 2,
                y0_px=centre[:, 1] - size_px // 2,
                is_reserved=np.arange(n_stars) % 5 == 0,
                gain=GAIN,
                read_noise_electron=READ_NOISE_ELECTRON,
                nx=NX,
                ny=NY,
            )
        )
    return images


def _draw(offset_px: np.ndarray, size_px: int) -> np.ndarray:
    """Stars of flux 1, (n, S, S)."""
    n = len(offset_px)
    model = get_model("moffat")
    stars = np.concatenate([offset_px, np.ones((n, 1)), np.zeros((n, 1))], axis=1)
    params = np.repeat(start_profile(model, FWHM_PX, 1).T, n, axis=0)
    with jax.default_device(jax.devices("cpu")[0]):
        in_psf = StarsInPsf(jnp.asarray(stars), jnp.asarray(params))
        return np.asarray(draw_stars(model, in_psf, size_px, min(n, 64)))


def settings_of(device: jax.Device, n_images: int, degree: int = 2) -> FitSettings:
    """The default settings, in pieces that suit a device."""
    batch = choose_batch(device, n_images)
    return FitSettings(degree=degree, batch=Batch(batch.stars, batch.problems))
