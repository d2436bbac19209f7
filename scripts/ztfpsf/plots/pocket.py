"""The law of the pocket and the columns that tell it."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ztfpsf.plots.style import BLUE, CYCLE, GREY, RED, make_figure, make_text_figure
from ztfpsf.pocket.edge import N_COLUMNS
from ztfpsf.pocket.law import KNOTS_ADU, LocalPocket, deferred, keep
from ztfpsf.pocket.table import DROPS, GIVEN, MEASURED

HEIGHT_IN = 2.6
STAR_FLUXES_ADU = (500.0, 1000.0, 3000.0, 10000.0)
SIGMA_PX = 0.75  # of the star of the right panel
MOST = 12  # images


def draw_pocket(table: pd.DataFrame, title: str) -> Figure:
    """Laws with their errors; what first columns lack, with the law; trails of stars by flux.

    `table`: of the rule measure_pocket. One law per quadrant is drawn.
    """
    laws = table[table["law"].isin([MEASURED, GIVEN])]
    laws = laws.drop_duplicates(["ccdid", "qid"]).head(MOST)
    if laws.empty:
        reasons = table["reason"].value_counts()
        return make_text_figure(f"{title}: no law of the pocket: {reasons.index[0]}.")
    figure = make_figure(HEIGHT_IN)
    axes = figure.subplots(1, 3)
    for colour, (_, row) in zip(np.resize(CYCLE, len(laws)), laws.iterrows(), strict=True):
        _draw_law(axes[0], row, colour)
        _draw_edge(axes[1], row, colour)
    _draw_trails(axes[2], laws.iloc[0])
    axes[0].set(xlabel="charge in the register (ADU)", ylabel="kept by the pocket (ADU)")
    axes[0].legend()
    axes[1].set(xlabel="column, in read order", ylabel="sky that is missing (ADU)")
    axes[1].set_yscale("symlog", linthresh=1.0)
    axes[2].set(xlabel="pixels behind the star", ylabel="change by the pocket (ADU)")
    axes[2].legend(title="flux (ADU)")
    figure.suptitle(title)
    return figure


def _draw_law(axes: Axes, row: pd.Series, colour: str) -> None:
    charge = np.linspace(0.0, KNOTS_ADU[-1], 500)
    kept = keep(row[DROPS].to_numpy(float), charge)
    axes.plot(charge, kept, color=colour, label=f"c{row['ccdid']:02d} q{row['qid']}")
    if row["law"] != MEASURED:
        return
    names = [f"{t:.0f}_adu" for t in KNOTS_ADU[1:]]
    value, error = (row[[f"{kind}_{n}" for n in names]] for kind in ("law", "law_error"))
    axes.errorbar(
        KNOTS_ADU[1:], value.astype(float), error.astype(float), fmt="o", color=colour, ms=2.5
    )


def _draw_edge(axes: Axes, row: pd.Series, colour: str) -> None:
    if not np.isfinite(row.get("edge_sky_adu", np.nan)):
        return
    columns = np.arange(1, N_COLUMNS + 1)
    lost, error, law = (
        row[[f"{kind}_{i}_adu" for i in columns]].to_numpy(float)
        for kind in ("lost", "lost_error", "lost_law")
    )
    axes.plot(columns, law, color=colour)
    axes.errorbar(columns, lost, error, fmt="o", color=colour)


def _draw_trails(axes: Axes, row: pd.Series) -> None:
    pocket = LocalPocket(row[DROPS].to_numpy(float), 1.0, 1.0)
    sky = row.get("edge_sky_adu", np.nan)
    sky = float(sky) if np.isfinite(sky) else 150.0
    offset = np.arange(-12, 13)
    light = np.exp(-0.5 * (offset / SIGMA_PX) ** 2)
    light /= light.sum() * np.sqrt(2.0 * np.pi) * SIGMA_PX
    axes.axhline(0.0, color=GREY, linewidth=0.6)
    for flux, colour in zip(STAR_FLUXES_ADU, (BLUE, *CYCLE[2:4], RED), strict=True):
        change = np.asarray(deferred(pocket, sky + flux * light[None]))[0]
        axes.plot(offset, change, marker="o", color=colour, label=f"{flux:g}")
    axes.set(xlim=(-3.5, 5.5))
