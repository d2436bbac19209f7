"""Settings of the fits from the section fit_psf of the configuration."""

from collections.abc import Mapping
from typing import Any

from ztfpsf.psf.grid import Grid
from ztfpsf.psf.image import FitSettings, GridSettings
from ztfpsf.psf.rejection import Clipping


def make_settings(section: Mapping[str, Any]) -> FitSettings:
    """Settings of one fit; the batch is left to the device."""
    grid = section["grid"]
    return FitSettings(
        degree=section["degree"],
        shape=section["shape"],
        clipping=Clipping(**section["clipping"]),
        grid=GridSettings(
            Grid(*(grid[key] for key in Grid._fields)), grid["degree"], tuple(grid["flux_terms"])
        ),
    )


def make_candidates(section: Mapping[str, Any]) -> list[FitSettings]:
    """The settings themselves, and with the changes that `choose_among` lists."""
    changes = [{}, *section["choose_among"]]
    return [
        make_settings({**section, **change, "grid": {**section["grid"], **change.get("grid", {})}})
        for change in changes
    ]
