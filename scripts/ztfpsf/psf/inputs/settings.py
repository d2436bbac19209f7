"""Settings of a fit that are neither the model's nor the optimiser's."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ztfpsf.psf.models import PsfModel
from ztfpsf.psf.profile.field import list_degrees
from ztfpsf.psf.profile.flux import FLUX_TERMS
from ztfpsf.psf.profile.residual_grid import ResidualGrid


@dataclass(frozen=True)
class Clipping:
    """How pixels and stars are rejected; see ztfpsf.psf.weights.rejection."""

    rounds: int = 3
    pixel_sigma: float = 5.0
    pixel_fraction: float = 0.3  # of the star's own light in that pixel
    star_sigma: float = 6.0
    min_good_fraction: float = 0.5  # of the stamp's pixels


@dataclass(frozen=True)
class GridSettings:
    """The residual grid of models that have one, and what it may depend on."""

    geometry: ResidualGrid = field(default_factory=ResidualGrid)
    degree: int = 2  # of the field polynomial at most; the stars decide
    flux_terms: tuple[str, ...] = tuple(FLUX_TERMS)

    def groups(self) -> np.ndarray:
        """Number of the precision that each term of a grid has, (C,).

        There is one for each degree of the field polynomial and for each flux term.
        """
        first = self.degree + 1
        return np.array([*list_degrees(self.degree), *range(first, first + len(self.flux_terms))])


@dataclass(frozen=True)
class Batch:
    """How much is worked on at once: small on a CPU to stay in cache, large on a GPU."""

    stars: int
    problems: int


@dataclass(frozen=True)
class FitSettings:
    """What the section fit_psf of the configuration says, and the batch that suits the device."""

    degree: int = 3
    grid: GridSettings = GridSettings()
    strategy: str = "field"  # one polynomial for the image, or "per_star"
    noise: str = "measured"  # on the image, or "header"
    clipping: Clipping = Clipping()
    batch: Batch = Batch(stars=64, problems=1)

    def set_grid(self, model: PsfModel) -> PsfModel:
        """The model with the configured grid, if it has one."""
        return model if model.grid is None else replace(model, grid=self.grid.geometry)


def make_settings(section: Mapping[str, Any]) -> FitSettings:
    """Settings of one fit from the section fit_psf; the batch is left to the device."""
    grid = section["grid"]
    geometry = ResidualGrid(grid["spacing_px"], grid["radius_px"], grid["n_modes"])
    return FitSettings(
        degree=section["degree"],
        strategy=section["strategy"],
        noise=section["noise"],
        clipping=Clipping(**section["clipping"]),
        grid=GridSettings(geometry, grid["degree"], tuple(grid["flux_terms"])),
    )
