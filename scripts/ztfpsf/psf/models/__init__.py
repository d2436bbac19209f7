"""PSF models, one file each; the file name is the model's name in the configuration.

A file defines `MODEL`, a `PsfModel` of that name. Files whose name begins with an underscore are
shared helpers, not models.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from jax import Array

from ztfpsf.errors import InputError
from ztfpsf.psf.profile.residual_grid import ResidualGrid

P = TypeVar("P", bound=NamedTuple)
D = TypeVar("D", bound=NamedTuple)


class GaussianPrior(NamedTuple):
    """A weak prior of a parameter that the data may leave open."""

    name: str
    mean: float
    sigma: float


@dataclass(frozen=True)
class Wings:
    """Light far from the star, linear in its parameters, that is fitted beside a grid.

    `names`: the last of `Params`. `functions(dx_px, dy_px) -> (L, ...) px^-2`: one for each name,
    at pixel centres; `light`: their integrals over the plane. The PSF is (1 - sum c light) profile
    + sum c functions, of integral 1; without a grid the c keep the values of `start`.
    """

    names: tuple[str, ...]
    functions: Callable[[Array, Array], Array]
    light: tuple[float, ...]


@dataclass(frozen=True)
class PsfModel(Generic[P, D]):
    """A profile, written for one star, and what a fit has to know of it.

    `name`: that of the file.
    `Params`: NamedTuple of the profile parameters, real numbers without limits; K of them.
    `start(fwhm_px) -> Params`: where a fit begins.
    `profile(dx_px, dy_px, params) -> px^-2`: surface brightness at an offset from the star's
        centre, elementwise, of integral 1 over the plane, differentiable by JAX.
    `Description`: NamedTuple of the same in the field's terms, with units in the names. One of them
        is `fwhm_px`, the FWHM of the profile before integration over the pixel; the others become
        columns as they are.
    `describe(params) -> Description`.
    `radial(t, *shape)`: of a profile that is (2 / FWHM)^2 radial(t), with t the squared elliptical
        radius of ztfpsf.psf.models._elliptical; `shape` are its parameters but ln_fwhm, e1, e2 and
        wings. With it fits are several times faster.
    `constant`: parameters that are the same over the field.
    `settled`: parameters that are found without the grid and then kept.
    `prior`: of parameters that the data may leave open.
    `grid`: the residual that is added to the profile (ztfpsf.psf.profile.residual_grid), if any;
        the configuration replaces its size.
    `wings`: light far out that is added to the profile, if any.

    Two models are equal, and share compiled code, when all of that is. Raises InputError when a
    name is none of `Params`, or no FWHM is described.
    """

    name: str
    Params: type[P]
    start: Callable[[float], P]
    profile: Callable[[Array, Array, P], Array]
    Description: type[D]
    describe: Callable[[P], D]
    radial: Callable[..., Array] | None = None
    constant: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    prior: tuple[GaussianPrior, ...] = ()
    grid: ResidualGrid | None = None
    wings: Wings | None = None

    def __post_init__(self) -> None:
        named = {*self.constant, *self.settled, *(prior.name for prior in self.prior)}
        unknown = named - set(self.Params._fields)
        if unknown:
            raise InputError(
                f"model '{self.name}' names {', '.join(sorted(unknown))}, and its parameters are "
                f"{', '.join(self.Params._fields)}: correct constant, settled or prior."
            )
        if self.wings is not None and self.wings.names != self.Params._fields[-self.n_wings :]:
            raise InputError(
                f"model '{self.name}' has the wings {', '.join(self.wings.names)}, which must "
                f"be the last of its parameters {', '.join(self.Params._fields)}, in this order."
            )
        if "fwhm_px" not in self.Description._fields:
            raise InputError(
                f"model '{self.name}' describes {', '.join(self.Description._fields)}, and not its "
                "FWHM: add fwhm_px to Description."
            )

    @property
    def n_params(self) -> int:
        """Number of profile parameters, K."""
        return len(self.Params._fields)

    @property
    def is_varying(self) -> np.ndarray:
        """Parameters that vary over the field, (K,) bool."""
        return np.array([name not in self.constant for name in self.Params._fields])

    @property
    def n_wings(self) -> int:
        """Number of parameters of the wings, the last ones, L."""
        return 0 if self.wings is None else len(self.wings.names)

    @property
    def shape_names(self) -> list[str]:
        """Parameters of `radial`."""
        own = self.Params._fields[: self.n_params - self.n_wings]
        return [name for name in own if name not in ("ln_fwhm", "e1", "e2")]


def list_models() -> list[str]:
    """Names of the models there are."""
    return sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))


def get_model(name: str) -> PsfModel:
    """The model of a name. Raises InputError for an unknown one, and when its file has no such."""
    if name not in list_models():
        raise InputError(f"'{name}' is not a PSF model; choose one of {', '.join(list_models())}.")
    module = importlib.import_module(f"ztfpsf.psf.models.{name}")
    model = vars(module).get("MODEL")
    if not isinstance(model, PsfModel) or model.name != name:
        raise InputError(
            f"{module.__file__}: expected MODEL, a PsfModel named '{name}'; see docs/extending.md."
        )
    return model
