"""What is asked for, and what comes back for each image."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from ztfpsf.errors import InputError
from ztfpsf.pocket.law import Pocket
from ztfpsf.psf.inputs.settings import FitSettings
from ztfpsf.psf.product.psf import Psf


class Request(NamedTuple):
    """What is to be fitted, and how."""

    path_to_stamps: str
    model: str
    optimiser: str
    options: Mapping[str, Any]
    settings: FitSettings
    device: str
    # Laws of the pocket by image; pixels of others are taken as they are.
    pockets: Mapping[str, Pocket] | None = None


class Products(NamedTuple):
    """Products of one image."""

    stars: pd.DataFrame
    history: pd.DataFrame
    image: dict[str, Any]  # row of the images table
    psf: Psf


Outcome = Products | InputError
