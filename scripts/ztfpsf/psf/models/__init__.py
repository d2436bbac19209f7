"""PSF models, one file each; the file name is the model's name in the configuration.

A model file defines, for one star:

- `Shape`: NamedTuple of the fitted shape parameters, unconstrained real numbers;
- `start(fwhm_px) -> Shape`: shape to start a fit from;
- `profile(dx_px, dy_px, shape) -> px^-2`: surface brightness at an offset from the star's
  centre, elementwise, integral over the plane 1, differentiable by JAX;
- `describe(shape) -> NamedTuple`: the same shape in the field's terms, units in the field names.

It may further define

- `CONSTANT`: names of shape parameters that are the same over the field;
- `SETTLED`: names of shape parameters that are found without the grid and then kept;
- `PRIOR`: `{name: (mean, sigma)}`, weak Gaussian priors of parameters that data may leave open;
- `BASE`: the module of a profile; the model is that profile plus a residual grid (ztfpsf.psf.grid).

Files whose name begins with an underscore are shared helpers, not models.
"""

import importlib
from pathlib import Path
from types import ModuleType

from ztfpsf.errors import InputError


def list_models() -> list[str]:
    """Names of the models there are."""
    return sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))


def get_model(name: str) -> ModuleType:
    """The module of a model. Raises InputError for an unknown name."""
    if name not in list_models():
        raise InputError(f"'{name}' is not a PSF model; choose one of {', '.join(list_models())}.")
    return importlib.import_module(f"ztfpsf.psf.models.{name}")
