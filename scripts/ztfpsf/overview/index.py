"""One row per image and product: where each file is."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ztfpsf.names import parse_quadrant
from ztfpsf.overview.images import fill

# Columns of the table of images that the index repeats.
IMAGE_COLUMNS = (
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
    """The files that are there. `images`: table of overview.images."""
    rows = []
    for unit, mine in images.groupby("unit", sort=False):
        for image in mine[list(IMAGE_COLUMNS)].to_dict("records"):
            name = parse_quadrant(image["image"])
            rows += [
                image | product._asdict() | {"path": fill(product.path, unit, name)}
                for product in products
            ]
    table = pd.DataFrame(rows, columns=[*IMAGE_COLUMNS, *Product._fields])
    is_there = {path: Path(path).is_file() for path in table["path"].unique()}
    return table[table["path"].map(is_there).astype(bool)].reset_index(drop=True)
