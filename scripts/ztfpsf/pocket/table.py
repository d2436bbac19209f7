"""The laws of a unit's images as a table: a row per image, measured, given, or none and why."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.errors import InputError
from ztfpsf.io import read_table
from ztfpsf.names import QuadrantName
from ztfpsf.pocket.edge import N_COLUMNS, Edge, predict_edge
from ztfpsf.pocket.flat import N_TERMS
from ztfpsf.pocket.law import KNOTS_ADU, N_DROPS, NO_POCKET, Pocket, capacity_adu, keep

if TYPE_CHECKING:  # tables do without what measures a law
    from ztfpsf.pocket.estimate import LawFit

RULE = "measure_pocket"
DROPS = [f"drop_{k + 1}" for k in range(N_DROPS)]
FLAT = [f"flat_{k + 1}" for k in range(N_TERMS)]
LAW = [*DROPS, *FLAT, "direction"]
# How the law of an image was found.
MEASURED, GIVEN, NONE = "measured", "given", "none"
QUADRANT = ["ccdid", "qid", "mjd"]


class Law(NamedTuple):
    """What is known of the pocket of an image."""

    source: str  # MEASURED, GIVEN or NONE
    reason: str  # of NONE; where a given one is from
    pocket: Pocket
    numbers: Mapping[str, float]  # of LawFit, in the columns of the table


def describe_fit(fit: "LawFit") -> dict[str, float]:
    """The numbers of a law that was measured: with errors, and L(t) at the knots."""
    knots = KNOTS_ADU[1:]
    kept, error = keep(fit.drops, knots), fit.error_adu(knots)
    return {
        "n_stars": float(fit.n_stars),
        "chi2_per_pixel": fit.chi2_per_pixel,
        "held_adu": fit.held_adu,
        "held_error_adu": fit.held_error_adu,
        "capacity_adu": float(capacity_adu(fit.drops)),
        "capacity_error_adu": float(error[-1]),
        **{f"law_{t:.0f}_adu": float(value) for t, value in zip(knots, kept, strict=True)},
        **{f"law_error_{t:.0f}_adu": float(value) for t, value in zip(knots, error, strict=True)},
    }


def describe_edge(edge: Edge | None, pocket: Pocket) -> dict[str, float]:
    """What the columns read first lack of the sky, and what the law says of that.

    edge_misfit_adu: the largest difference, in excess of three errors.
    """
    if edge is None:
        return {}
    predicted, _ = predict_edge(pocket.drops, edge.sky_adu)
    row = {"edge_sky_adu": edge.sky_adu}
    for i in range(N_COLUMNS):
        row[f"lost_{i + 1}_adu"] = float(edge.sky_adu - edge.observed_adu[i])
        row[f"lost_error_{i + 1}_adu"] = float(edge.error_adu[i])
        row[f"lost_law_{i + 1}_adu"] = float(edge.sky_adu - predicted[i])
    off = np.abs(edge.observed_adu - predicted) - 3.0 * edge.error_adu
    return row | {"edge_misfit_adu": float(max(off.max(), 0.0))}


def make_row(name: QuadrantName, law: Law, edge: Edge | None) -> dict[str, Any]:
    """The row of an image."""
    return {
        "image": str(name),
        "law": law.source,
        "reason": law.reason,
        "ccdid": name.ccdid,
        "qid": name.qid,
        "mjd": name.mjd,
        "direction": float(law.pocket.direction),
        **dict(zip(DROPS, np.asarray(law.pocket.drops, float), strict=True)),
        **dict(zip(FLAT, np.asarray(law.pocket.flat, float), strict=True)),
        **law.numbers,
        **describe_edge(edge, law.pocket),
    }


def read_pockets(path: str | Path) -> dict[str, Pocket]:
    """The pocket of every image of a table. Raises InputError."""
    table = read_table(path, RULE, ["image", *LAW])
    return {row["image"]: read_pocket(row) for _, row in table.iterrows()}


def read_pocket(row: pd.Series) -> Pocket:
    """That of a row of the table."""
    drops, flat = (row[names].to_numpy(float) for names in (DROPS, FLAT))
    return Pocket(drops, flat, np.array(float(row["direction"])))


def read_misfits(path: str | Path) -> pd.Series:
    """By how much first columns are not those of their law, ADU, by image; NaN without either."""
    table = read_table(path, RULE, ["image", "law"]).set_index("image")
    if "edge_misfit_adu" not in table:
        return pd.Series(np.nan, table.index)
    return table["edge_misfit_adu"].where(table["law"] != NONE)


def read_laws(path: str | Path) -> pd.DataFrame:
    """The measured laws of a table, or of all tables of a folder. Raises InputError without any."""
    folder = Path(path)
    paths = sorted(folder.glob("*_pocket.parquet")) if folder.is_dir() else [folder]
    columns = ["image", "law", *QUADRANT, *LAW]
    tables = [read_table(one, RULE, columns) for one in paths]
    laws = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    laws = laws[laws["law"] == MEASURED]
    if laws.empty:
        raise InputError(
            f"{path}: holds no law that was measured; give a table of the rule {RULE}, or the "
            "folder of such tables, in the config key measure_pocket.law."
        )
    return laws


def find_law(laws: pd.DataFrame, name: QuadrantName, flat: np.ndarray, max_days: float) -> Law:
    """The law of a quadrant that was measured nearest in time, with the flat of the image.

    Raises InputError where there is none within `max_days`.
    """
    quadrant = f"CCD {name.ccdid} quadrant {name.qid}"
    mine = laws[(laws["ccdid"] == name.ccdid) & (laws["qid"] == name.qid)]
    if mine.empty:
        raise InputError(f"{name}: no law of {quadrant} among those given.")
    days = (mine["mjd"] - name.mjd).abs()
    if days.min() > max_days:
        raise InputError(
            f"{name}: the nearest law of {quadrant} is {days.min():.0f} days away, more than "
            f"measure_pocket.max_days = {max_days:g}; measure one of this time."
        )
    row = mine.loc[days.idxmin()]
    return Law(GIVEN, f"that of {row['image']}", read_pocket(row)._replace(flat=flat), {})


def no_law(reason: str) -> Law:
    """Pixels are taken as they are."""
    return Law(NONE, reason, NO_POCKET, {})
