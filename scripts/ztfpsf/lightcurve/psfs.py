"""The PSFs of many exposures at one place of the sky, evaluated together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ztfpsf.errors import InputError
from ztfpsf.pocket.law import LocalPocket, Pocket
from ztfpsf.psf import Psf
from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.product.psf import PsfGrid
from ztfpsf.psf.profile.field import count_terms, field_basis
from ztfpsf.psf.profile.flux import FLUX_TERMS, FluxRange, grid_basis

NO_RANGE = FluxRange(1.0, 1.0, 1.0)  # of PSFs that do not change with flux


class PsfStack(NamedTuple):
    """PSFs of E exposures, polynomials filled up with zeros to the highest degree.

    Exposures without a PSF repeat another one.
    """

    model: PsfModel
    coefficients: np.ndarray  # (E, K, B)
    degree: int
    nx: np.ndarray  # (E,)
    ny: np.ndarray  # (E,)
    model_error: np.ndarray  # (E,) of a star's light in a pixel
    nodes: np.ndarray  # (E, G, C) float32, G = 0 for models without a grid
    grid_degree: int
    flux_range: np.ndarray  # (E, 3) ADU, the FluxRange of each
    pocket: Pocket  # (E, N_DROPS), (E, N_FLAT), (E,)

    def take(self, rows: np.ndarray) -> "PsfStack":
        """The PSFs of some exposures."""
        names = ("coefficients", "nx", "ny", "model_error", "nodes", "flux_range")
        taken = {name: getattr(self, name)[rows] for name in names}
        return self._replace(**taken, pocket=Pocket(*(array[rows] for array in self.pocket)))

    def local_pocket(self, position_px: np.ndarray) -> LocalPocket:
        """The laws of the pockets at positions (E, 2)."""
        x_px, y_px = position_px.T
        return self.pocket.at(x_px, y_px, self.nx, self.ny)

    def local_params(self, position_px: np.ndarray, light_adu: np.ndarray) -> np.ndarray:
        """Parameters at positions (E, 2) for the light (E,) that is there, (E, K + G)."""
        x_px, y_px = position_px.T
        basis = field_basis(x_px, y_px, self.nx, self.ny, self.degree)
        profiles = np.einsum("ekb,eb->ek", self.coefficients, basis)
        flux_range = FluxRange(*self.flux_range.T)
        terms = grid_basis(basis, light_adu, flux_range, self.grid_degree, list(FLUX_TERMS))
        nodes = np.matmul(self.nodes, terms[:, :, None].astype(np.float32))[:, :, 0]
        return np.concatenate([profiles, nodes], axis=1)


def stack_psfs(psfs: Sequence[Psf | None]) -> PsfStack:
    """Raises InputError when there is none, or when their models differ."""
    known = [psf for psf in psfs if psf is not None]
    if not known:
        raise InputError("none of the exposures of the light curve has a PSF; see fit_psf.")
    every = [known[0] if psf is None else psf for psf in psfs]
    model = known[0].model
    for psf in known:
        if psf.model != model:
            raise InputError(
                f"the PSFs of {known[0].image} and {psf.image} are of different models or grids; "
                "fit all exposures of a light curve with the same fit_psf settings."
            )
    grid_degree = max((psf.grid.degree for psf in every if psf.grid is not None), default=0)
    degree = max(grid_degree, *(psf.degree for psf in every))
    coefficients = np.zeros((len(every), model.n_params, count_terms(degree)))
    for row, psf in zip(coefficients, every, strict=True):
        row[:, : psf.coefficients.shape[1]] = psf.coefficients
    return PsfStack(
        model,
        coefficients,
        degree,
        np.array([psf.nx for psf in every]),
        np.array([psf.ny for psf in every]),
        np.array([float(psf.noise.model_error) for psf in every]),
        _stack_nodes([psf.grid for psf in every], grid_degree),
        grid_degree,
        np.array([NO_RANGE if psf.grid is None else psf.grid.flux_range for psf in every]),
        Pocket(*(np.array(column) for column in zip(*(psf.pocket for psf in every), strict=True))),
    )


def _stack_nodes(grids: list[PsfGrid | None], degree: int) -> np.ndarray:
    """Nodes with all terms of position and flux, those that a grid lacks 0."""
    n_field, names = count_terms(degree), list(FLUX_TERMS)
    n_nodes = max(0 if grid is None else len(grid.nodes) for grid in grids)
    nodes = np.zeros((len(grids), n_nodes, n_field + len(names)), np.float32)
    for row, grid in zip(nodes, grids, strict=True):
        if grid is not None:
            own = count_terms(grid.degree)
            row[:, :own] = grid.nodes[:, :own]
            for number, name in enumerate(grid.flux_terms):
                row[:, n_field + names.index(name)] = grid.nodes[:, own + number]
    return nodes
