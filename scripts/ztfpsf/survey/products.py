"""Writing a solution: zero points, stars, star flat, fields, residuals, and the record."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ztfpsf.io import write_parts
from ztfpsf.star_flat import N_QUADRANTS
from ztfpsf.survey.dataset import read_cells
from ztfpsf.survey.design import QUADRANT
from ztfpsf.survey.errors import Modes, find_gradient, find_unit_covariance, find_weak_modes
from ztfpsf.survey.residues import COLOUR_BINS, Residues, iterate_stars
from ztfpsf.survey.solution import Solution
from ztfpsf.survey.terms import N_COEFFICIENTS
from ztfpsf.survey.weights import BIN_MAG, BRIGHTEST_MAG, N_BINS

OK = "ok"
SLOPES = ("u", "v", "u2", "uv", "v2")


def make_zero_points(solution: Solution, residues: Residues) -> pd.DataFrame:
    """One row per exposure, or quadrant of one that has stars: mag = -2.5 log10(flux) + zero point.

    Errors are scaled by sqrt(chi2 / n) where that is above 1.
    """
    fit, units = solution.fit, solution.units
    coefficients = -units.layout.split(fit.unknowns)[0][:-1]
    covariance = find_unit_covariance(fit, solution.covariance)[:-1]
    sums = residues.units
    chi2 = sums.chi2[:-1] / np.maximum(sums.n[:-1], 1.0)
    error = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0))
    error *= np.sqrt(np.maximum(chi2, 1.0))[:, None]
    group = fit.coarse.space.groups.group[:-1]
    component = np.append(fit.coarse.space.groups.component, -1)[group]
    per_exposure = N_QUADRANTS if units.kind == QUADRANT else 1
    exposures = solution.exposures.loc[solution.exposures.index.repeat(per_exposure)]
    table = exposures.reset_index(drop=True).drop(columns=["airmass_to_east", "airmass_to_north"])
    if per_exposure > 1:
        table.insert(1, "rcid", np.tile(np.arange(N_QUADRANTS), len(solution.exposures)))
    known = fit.normal.is_fitted[:-1] | fit.bad_units[:-1]
    table["zero_point_mag"] = np.where(known, coefficients[:, 0], np.nan)
    table["zero_point_error_mag"] = error[:, 0]
    for k in range(1, N_COEFFICIENTS[units.terms.degree]):
        table[f"slope_{SLOPES[k - 1]}_mag"] = np.where(known, coefficients[:, k], np.nan)
        table[f"slope_{SLOPES[k - 1]}_error_mag"] = error[:, k]
    table["chi2_per_star"] = chi2
    table["n_stars"] = sums.n[:-1].astype(int)
    table["n_rejected"] = sums.n_rejected[:-1].astype(int)
    table["component"] = np.where(group >= 0, component, -1)
    table["is_anchored"] = fit.coarse.space.groups.is_anchored[:-1]
    table["status"] = _describe(fit.bad_units[:-1], known, sums.n[:-1], component)
    return table[table["n_stars"] + table["n_rejected"] > 0] if per_exposure > 1 else table


def _describe(
    bad: np.ndarray, known: np.ndarray, n: np.ndarray, component: np.ndarray
) -> np.ndarray:
    """What is wrong with each unit, in a sentence."""
    status = np.full(len(bad), OK, object)
    status[component > 0] = "no star connects it with the main component: its zero is its own."
    status[~known] = "no star of it passed the cuts."
    status[bad] = "its stars scatter too much: clouds, or a bad PSF; left out of the stars."
    return status


def make_fields(solution: Solution, modes: Modes) -> pd.DataFrame:
    """One row per field (quadrant of a field) and component, with the weak modes."""
    groups = solution.covariance.space.groups
    number = groups.field // N_QUADRANTS if solution.units.kind == QUADRANT else groups.field
    centres = solution.exposures.drop_duplicates("field").set_index("field")
    zero_point = -solution.units.layout.split(solution.fit.unknowns)[0][:, 0]
    is_in = groups.group >= 0
    n = np.bincount(groups.group[is_in], minlength=groups.n)
    variance = np.diagonal(solution.covariance.zero_points)
    table = pd.DataFrame(
        {
            "field": number,
            "ra_deg": centres["ra_deg"].reindex(number).to_numpy(),
            "dec_deg": centres["dec_deg"].reindex(number).to_numpy(),
            "component": groups.component,
            "n_units": n,
            "zero_point_mag": np.bincount(groups.group[is_in], zero_point[is_in], groups.n) / n,
            "zero_point_error_mag": np.sqrt(np.maximum(variance, 0.0)),
        }
    )
    for index, pattern in enumerate(modes.pattern, start=1):
        table[f"mode_{index}"] = pattern
    return table


def make_record(solution: Solution, residues: Residues) -> dict[str, Any]:
    """Numbers of the solution as a whole."""
    fit, layout = solution.fit, solution.units.layout
    common, errors = layout.split(fit.unknowns)[1], solution.covariance.common
    bins = BRIGHTEST_MAG + BIN_MAG * (np.arange(N_BINS) + 0.5)
    chi2, n = residues.chi2_magnitude
    seen = n > 0
    groups = solution.covariance.space.groups
    first = layout.counts["star_flat"]
    record: dict[str, Any] = {
        "n_measurements": int(residues.units.n.sum() + residues.units.n_rejected.sum()),
        "n_rejected": int(residues.units.n_rejected.sum()),
        "n_units": int(fit.normal.is_fitted.sum()),
        "n_bad_units": int(fit.bad_units.sum()),
        "n_fields": int(groups.n),
        "n_components": len(np.unique(groups.component)),
        "chi2_per_dof": float(chi2.sum() / max(n.sum(), 1.0)),
        "iterations": fit.iterations,
        "expected_change_mmag": 1e3 * fit.change_mag,
        "slope_width_mmag": (1e3 * fit.polynomial_mag).tolist(),
        "magnitude": bins[seen].tolist(),
        "scatter_mmag": (1e3 * fit.weights.scatter_mag[seen]).tolist(),
        "chi2_of_magnitude": (chi2[seen] / n[seen]).tolist(),
        "colour_mag": (0.5 * (COLOUR_BINS[1:] + COLOUR_BINS[:-1])).tolist(),
        "chi2_of_colour": [
            float(c / m) if m else None for c, m in zip(*residues.chi2_colour, strict=True)
        ],
        "notes": solution.notes,
    }
    for name in ("colour", "airmass", "linearity"):
        values = getattr(common, name)
        if len(values):
            record[f"{name}_mmag"] = (1e3 * values).tolist()
            record[f"{name}_error_mmag"] = (1e3 * errors[first : first + len(values)]).tolist()
        first += len(values)
    return record | _describe_sky(solution)


def _describe_sky(solution: Solution) -> dict[str, Any]:
    """Gradient across the largest component, and the weak modes."""
    modes = find_weak_modes(solution.covariance)
    fields = make_fields(solution, modes)
    names, counts = np.unique(fields["component"], return_counts=True)
    is_main = fields["component"] == (names[np.argmax(counts)] if len(names) else -1)
    main = np.flatnonzero(is_main & np.isfinite(fields["ra_deg"]))
    record: dict[str, Any] = {"weak_modes_mmag": (1e3 * modes.error_mag).tolist()}
    if len(main) >= 3:
        gradient = find_gradient(
            fields["zero_point_mag"].to_numpy()[main],
            solution.covariance.zero_points[np.ix_(main, main)],
            fields["ra_deg"].to_numpy()[main],
            fields["dec_deg"].to_numpy()[main],
        )
        record["gradient_mmag_deg"] = {k: 1e3 * float(v) for k, v in gradient._asdict().items()}
    return record


def write_stars(solution: Solution, path: str | Path, provenance: Mapping[str, Any]) -> None:
    """Write the stars with their positions and magnitudes, block by block."""
    write_parts(_iterate_stars(solution), path, provenance)


def _iterate_stars(solution: Solution) -> Iterable[pd.DataFrame]:
    blocks = solution.blocks
    rows = iterate_stars(solution.fit, solution.covariance, solution.units)
    for cells, table in zip(blocks.cells, rows, strict=True):
        stars = read_cells(blocks.root, cells, "stars")
        stars = stars.drop(columns=["reference_mag", "reference_error_mag"])
        yield stars.merge(table, on="star_id")
