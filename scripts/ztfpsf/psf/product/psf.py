"""The PSF of an image as an object that draws it."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ztfpsf.errors import InputError
from ztfpsf.noise import Noise
from ztfpsf.pocket.law import NO_POCKET, Pocket, deferred
from ztfpsf.psf.inputs.padding import padded_size
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.profile.field import field_basis, propagate
from ztfpsf.psf.profile.flux import FluxRange, grid_basis
from ztfpsf.psf.profile.rings import light_within
from ztfpsf.psf.profile.star import star_psf


class PsfGrid(NamedTuple):
    """The residual grid of a PSF: its nodes as functions of field position and flux."""

    nodes: np.ndarray  # (G, C)
    error: np.ndarray  # (G, C)
    degree: int  # of the field polynomial
    flux_terms: tuple[str, ...]
    flux_range: FluxRange


class Psf(NamedTuple):
    """PSF of one image: polynomials of the field position for each profile parameter."""

    image: str
    model: PsfModel
    coefficients: np.ndarray  # (K, B)
    covariance: np.ndarray  # (K B, K B)
    degree: int
    nx: int
    ny: int
    noise: Noise  # of the image's pixels
    # Relative error of fluxes by the error of the PSF, which all stars of the image share.
    flux_error: float
    grid: PsfGrid | None = None
    # Of the pixels, not of the PSF: it draws the light.
    pocket: Pocket = NO_POCKET

    def local_params(
        self, x_px: np.ndarray, y_px: np.ndarray, flux_adu: np.ndarray | None = None
    ) -> np.ndarray:
        """The PSF at positions (n,), as `ztfpsf.psf.profile.star.star_psf` takes it, (n, K + G).

        The profile parameters, followed by the nodes of the grid if the model has one. `flux_adu`:
        (n,) where the PSF changes with flux; by default that of a typical fitted star, the median,
        which is good for comparing places and images. To compare with the pixels of a star, give
        its own flux: any from 0 on.
        """
        basis = self._basis(x_px, y_px)
        profiles = basis @ self.coefficients.T
        if self.grid is None:
            return profiles
        grid = self.grid
        flux = np.full(len(basis), grid.flux_range.typical) if flux_adu is None else flux_adu
        terms = grid_basis(basis, flux, grid.flux_range, grid.degree, grid.flux_terms)
        return np.concatenate([profiles, terms @ grid.nodes.T], axis=1)

    def stamp(
        self, x_px: float, y_px: float, size_px: int = 25, flux_adu: float | None = None
    ) -> np.ndarray:
        """PSF of a star at (x_px, y_px), integrated over each pixel.

        Drawn on the `size_px` x `size_px` window (odd) around the nearest pixel,
        floor(position + 0.5), [row, column]; flux 1 over the whole plane, so that the sum falls
        short of 1 by the light outside the window. float64. `flux_adu`: see `local_params`.
        Raises InputError when the size is not odd.
        """
        if size_px < 1 or size_px % 2 == 0:
            raise InputError(f"size_px is {size_px}; a stamp has an odd number of pixels.")
        nearest = np.floor(np.array([x_px, y_px]) + 0.5)
        flux = None if flux_adu is None else np.array([flux_adu])
        params = self.local_params(np.array([x_px]), np.array([y_px]), flux)[0]
        with jax.enable_x64(True):
            offset = np.array([x_px, y_px]) - nearest
            return np.asarray(_draw(self.model, offset, params, size_px))

    def pixels(
        self, x_px: float, y_px: float, flux_adu: float, sky_adu: float, size_px: int = 25
    ) -> np.ndarray:
        """What the pixels of a star alone on the sky hold, ADU, without noise.

        Sky and light on the window of `stamp`, read out through the pocket of the quadrant if its
        law was known to the fit (docs/pocket.md).
        """
        scene = sky_adu + flux_adu * self.stamp(x_px, y_px, size_px, flux_adu)
        with jax.enable_x64(True):
            local = self.pocket.at(x_px, y_px, self.nx, self.ny)
            return scene + np.asarray(deferred(local, scene))

    def describe(self, x_px: float, y_px: float) -> dict[str, tuple[float, float]]:
        """Value and error of every profile parameter in the field's terms at a position."""
        basis = self._basis(np.array([x_px]), np.array([y_px]))
        values, errors = describe_params(
            self.model, basis @ self.coefficients.T, propagate(self.covariance, basis)
        )
        return {name: (float(values[name][0]), float(errors[name][0])) for name in values}

    @property
    def typical_flux_adu(self) -> float:
        """Flux that is drawn unless another is asked for; NaN where none changes the PSF."""
        changes = self.grid is not None and len(self.grid.flux_terms) > 0
        return self.grid.flux_range.typical if self.grid is not None and changes else np.nan

    def far_light(self, radius_px: float) -> tuple[float, float]:
        """Part of the light farther than that from a star at the centre of the image, its error."""
        basis = self._basis(np.array([0.5 * (self.nx - 1)]), np.array([0.5 * (self.ny - 1)]))
        with jax.enable_x64(True):
            found = _far_light(self.model, (basis @ self.coefficients.T)[0], radius_px)
        value, slope = map(np.asarray, found)
        (covariance,) = propagate(self.covariance, basis)
        return float(value), float(np.sqrt(max(slope @ covariance @ slope, 0.0)))

    def _basis(self, x_px: np.ndarray, y_px: np.ndarray) -> np.ndarray:
        return field_basis(x_px, y_px, self.nx, self.ny, self.degree)


_draw = jax.jit(star_psf, static_argnames=("model", "size_px"))


@partial(jax.jit, static_argnames="model")
def _far_light(model: PsfModel, params: Array, radius_px: float) -> tuple[Array, Array]:
    """Light outside a circle, and its derivative by the parameters (K,)."""

    def far(vector: Array) -> tuple[Array, Array]:
        light = 1.0 - light_within(model, vector, radius_px)
        return light, light

    # Forwards: compiled in half the time.
    slope, light = jax.jacfwd(far, has_aux=True)(params)
    return light, slope


def describe_params(
    model: PsfModel, params: np.ndarray, covariance: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Parameters (n, K) in the field's terms, errors by linear propagation; each (n,) by name.

    `covariance`: (n, K, K).
    """
    # One star more often than not, else a few hundred: two sizes to compile.
    size = 1 if len(params) == 1 else padded_size(len(params))
    padded = np.concatenate([params, np.repeat(params[:1], size - len(params), axis=0)])
    with jax.enable_x64(True):
        found = _describe(model, padded.astype(float))
    value, jacobian = (np.asarray(part)[: len(params)] for part in found)
    variance = np.einsum("ndk,nkl,ndl->nd", jacobian, covariance, jacobian)
    error = np.sqrt(np.maximum(variance, 0.0))
    names = model.Description._fields
    return dict(zip(names, value.T, strict=True)), dict(zip(names, error.T, strict=True))


@partial(jax.jit, static_argnames="model")
def _describe(model: PsfModel, params: Array) -> tuple[Array, Array]:
    """Description of parameters (n, K) and its derivative."""

    def describe(vector: Array) -> Array:
        return jnp.stack(list(model.describe(model.Params(*vector))))

    return jax.vmap(describe)(params), jax.vmap(jax.jacfwd(describe))(params)
