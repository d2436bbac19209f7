"""One row per image and product: where each file is."""

import os
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import pandas as pd

from ztfpsf.names import parse_quadrant
from ztfpsf.overview.images import fill

# Columns of the table of images that the index repeats.
OF_IMAGE = (
    "image",
    "unit",
    "night",
    "start",
    "field",
    "filtercode",
    "ccdid",
    "qid",
    "status",
    "verdict",
)


class Product(NamedTuple):
    """A kind of file; "" where it belongs to no model and optimiser."""

    rule: str
    product: str  # name of the rule's output
    model: str
    optimiser: str
    path: str  # pattern, see ztfpsf.overview.images.fill


def make_index(images: pd.DataFrame, products: Sequence[Product]) -> pd.DataFrame:
    """The files that are there, image by image. `images`: table of overview.images."""
    names = [parse_quadrant(image) for image in images["image"]]
    is_there = cache(os.path.isfile)
    tables = []
    for product in products:
        paths = [
            fill(product.path, unit, name) for unit, name in zip(images["unit"], names, strict=True)
        ]
        columns = product._asdict() | {"path": paths}
        table = images[list(OF_IMAGE)].assign(**columns)
        tables.append(table[[is_there(path) for path in paths]])
    return pd.concat(tables).sort_index(kind="stable").reset_index(drop=True)
