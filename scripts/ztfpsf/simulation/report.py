"""A comparison with the truth in Markdown."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

TITLES = {
    "pixels": "Calibrated pixels against the noiseless image, in the noise predicted",
    "psf": "Fitted PSF against the true one, on a grid over the image (T is the size squared)",
    "stars": "Stars, fitted minus true",
}


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""
    parts = [f"# {record['unit']} against the truth of its simulation"]
    for name, title in TITLES.items():
        rows = record[name]
        if isinstance(rows, Mapping):
            rows = [{"image": image, **row} for image, row in rows.items()]
        parts.append(f"{title}:\n\n{_table(pd.DataFrame(rows))}")
    return "\n\n".join(parts) + "\n"


def _table(rows: pd.DataFrame) -> str:
    lines = [rows.columns, ["---"] * len(rows.columns), *rows.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if np.isnan(value) else f"{value:.4g}"
