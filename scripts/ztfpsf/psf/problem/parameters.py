"""The weighted least-squares problem that every optimiser solves: its data and its parameters.

One problem is a set of stars that share one PSF: all stars of an image, or a single star. The
model of star i in its stamp is

    m_i = flux_i P(pixel - (x_i, y_i); params_i) + background_i,   params_i = coefficients @ basis_i

(ztfpsf.psf.problem.objective). Here: arrays of one problem; a leading axis of problems is added by
those who solve many.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ztfpsf.psf.inputs.settings import Batch
from ztfpsf.psf.models import PsfModel


class GridTerms(NamedTuple):
    """What the residual grid of a problem depends on. C = terms, M = modes, G = nodes."""

    basis: Array  # (n, C) terms of field position and flux at each star
    modes: Array  # (G, M) node values of unit coefficients
    precision: Array  # (M, C) of the prior of the coefficients
    profile_precision: Array  # (B,) the same for the profile's terms, 0 for the first


class Pixels(NamedTuple):
    """What is compared with the models of the stars."""

    data: Array  # (n, S, S) ADU
    weight: Array  # (n, S, S) 1/ADU^2, 0 where masked
    around: Array  # (n, 2) background that the sky around says (ADU), and 1 / its variance


class StarData(NamedTuple):
    """Data of the stars of one problem. S = stamp size, B = terms of the field polynomial."""

    data: Array  # (n, S, S) ADU
    weight: Array  # (n, S, S) 1/ADU^2, 0 where masked
    basis: Array  # (n, B) polynomial terms at the star's position
    around: Array  # (n, 2) background that the sky around says (ADU), and 1 / its variance
    grid: GridTerms | None = None

    @property
    def pixels(self) -> Pixels:
        """Without what the PSF depends on."""
        return Pixels(self.data, self.weight, self.around)


class Parameters(NamedTuple):
    """Free parameters of one problem. K = profile parameters of the model."""

    stars: Array  # (n, 4), columns of ztfpsf.psf.profile.star
    profile: Array  # (K, B) polynomial coefficients of each profile parameter
    grid: Array | None = None  # (M, C) coefficients of the modes

    def coefficients(self) -> Array:
        """Those of the profile and the grid in the order of the normal equations, (m,)."""
        if self.grid is None:
            return self.profile.ravel()
        return jnp.concatenate([self.profile.ravel(), self.grid.ravel()])

    def replace_all(self, stars: Array, coefficients: Array) -> "Parameters":
        """Others of the same sizes, from stars (n, 4) and coefficients (m,)."""
        profile, grid = jnp.split(coefficients, [self.profile.size])
        return Parameters(
            stars,
            profile.reshape(self.profile.shape),
            None if self.grid is None else grid.reshape(self.grid.shape),
        )


class Problem(NamedTuple):
    """Independent problems of one size; every array has the leading axis `problem`."""

    model: PsfModel
    stars: StarData  # (p, n, ...)
    start: Parameters  # (p, n, 4), (p, K, B)
    batch: Batch
