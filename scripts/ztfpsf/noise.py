"""The noise of pixels: photons of the model and a constant, in ADU^2.

An observed pixel is no measure of its own noise: weights taken from it bias faint stars low. The
variance is that of the model. Works on arrays of NumPy and of JAX alike.
"""

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:  # the jobs that cut stamps need no JAX
    from jax import Array

Plane = TypeVar("Plane", np.ndarray, "Array")
Number = TypeVar("Number", float, np.ndarray, "Array")

# Of pixels whose own signal is their model.
NO_SKY = np.zeros((), np.float32)


class Noise(NamedTuple):
    """Noise of the pixels of an image, as its header says or as it was measured."""

    gain: Any  # e-/ADU: variance by photons is light / gain
    constant_adu2: Any  # variance beside the photons
    # Error of the PSF as a fraction of a star's light in a pixel. In errors, not in weights and
    # chi2: those tell whether a PSF is right.
    model_error: Any = 0.0


def model_variance(
    model_adu: Plane, sky_adu: Plane, gain: float | Plane, constant_adu2: float | Plane
) -> Plane:
    """Variance max(model, sky, 0) / gain + constant, in ADU^2.

    `model_adu`: with the sky in it; `gain`: e-/ADU; `constant_adu2`: what does not come from
    photons, see read_variance. All broadcast against each other; float32 stays float32.
    """
    return model_adu.clip(sky_adu.clip(0.0)) / gain + constant_adu2


def read_variance(read_noise_electron: Number, gain: Number) -> Number:
    """Variance of the read-out, (read noise / gain)^2 in ADU^2. `gain`: e-/ADU."""
    return (read_noise_electron / gain) ** 2


def split_constant(
    variance_adu2: np.ndarray,
    data_adu: np.ndarray,
    model_adu: np.ndarray,
    gain: float,
    default_adu2: float,
) -> np.ndarray:
    """What a calibrated variance holds beside its pixels' photons: read noise, flat, bias.

    variance - max(data, 0) / gain in ADU^2, all (..., S, S); `default_adu2` where the variance is
    not a positive number, or leaves none beside the photons of `model_adu`, which holds the sky.
    """
    rest = variance_adu2 - data_adu.clip(0.0) / gain
    is_known = (variance_adu2 > 0) & np.isfinite(rest) & (rest + model_adu.clip(0.0) / gain > 0)
    return np.where(is_known, rest, default_adu2)
