"""Rule solve_ratios: how much light each exposure of a group got, from its stars."""

import logging

import numpy as np
import pandas as pd
from ztfpsf.errors import InputError
from ztfpsf.focal_plane import SHAPE
from ztfpsf.group.tables import make_ratios_table
from ztfpsf.io import make_provenance, read_table, write_table
from ztfpsf.jobs import job
from ztfpsf.survey.ratios import Measurements, make_no_ratios
from ztfpsf.survey.ratios import solve_ratios as solve

logger = logging.getLogger("ztfpsf")
RULE = "match_stars"


def solve_ratios(
    *,
    path_to_exposures: str,
    path_to_stars: str,
    path_to_measurements: str,
    path_to_ratios: str,
    path_to_magnitudes: str,
) -> None:
    """Solve the ratios of a group; where they cannot be, every exposure says why."""
    exposures = read_table(path_to_exposures, RULE)
    stars = read_table(path_to_stars, RULE)
    measured = read_table(path_to_measurements, RULE)
    n = len(exposures)
    columns = ("star_id", "exposure", "mag", "mag_error", "x_px", "y_px")
    known = exposures[["ny", "nx"]].dropna()
    shape = (int(known["ny"].iloc[0]), int(known["nx"].iloc[0])) if len(known) else SHAPE
    try:
        ratios = solve(Measurements(*(measured[name].to_numpy() for name in columns)), n, shape)
    except InputError as error:
        logger.warning("%s", error)
        ratios = make_no_ratios(n, str(error))
    magnitudes = pd.DataFrame(
        {
            "star_id": ratios.stars,
            "mag": ratios.star_mag,
            "mag_rms": ratios.star_rms_mag,
            "scatter_mag": ratios.scatter_mag,
            "chi2_per_dof": ratios.star_chi2,
            "n_used": ratios.star_n,
        }
    ).merge(stars, on="star_id", how="left")
    table = make_ratios_table(exposures, ratios)
    is_good = table["status"] == "ok"
    logger.info(
        "%d of %d exposures have a ratio, median error %.1f mmag, %d stars",
        is_good.sum(),
        n,
        1e3 * table.loc[is_good, "ratio_error_mag"].median() if is_good.any() else np.nan,
        len(magnitudes),
    )
    provenance = make_provenance([path_to_measurements], {})
    write_table(magnitudes, path_to_magnitudes, provenance)
    write_table(table, path_to_ratios, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        solve_ratios(
            path_to_exposures=snakemake.input.exposures,
            path_to_stars=snakemake.input.stars,
            path_to_measurements=snakemake.input.measurements,
            path_to_ratios=snakemake.output.ratios,
            path_to_magnitudes=snakemake.output.stars,
        )
