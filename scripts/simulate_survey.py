"""Rule simulate_survey: a data set of measurements of a survey that is known."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from ztfpsf.io import make_provenance, write_fits, write_table
from ztfpsf.jobs import job
from ztfpsf.survey.dataset import STARS, write_cell
from ztfpsf.survey.simulation import simulate_cells
from ztfpsf.survey.truth import Simulation, simulate_truth

logger = logging.getLogger("ztfpsf")


def simulate_survey(
    *,
    path_to_dataset: str,
    path_to_truth: str,
    path_to_star_flat: str,
    settings: Mapping[str, Any],
) -> None:
    """Write the data set, and the truth: exposures, star flat."""
    pairs = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    simulation = Simulation(**pairs)
    truth = simulate_truth(simulation)
    provenance = make_provenance([], settings)
    shutil.rmtree(path_to_dataset, ignore_errors=True)
    n = 0
    for cell, measurements, stars in simulate_cells(simulation, truth):
        stars = stars.assign(reference_mag=np.nan, reference_error_mag=np.nan)
        write_cell(path_to_dataset, cell, measurements, stars[list(STARS)], provenance)
        n += len(measurements)
    write_table(truth.exposures, Path(path_to_dataset, "exposures.parquet"), provenance)
    logger.info("%d measurements of %d exposures", n, len(truth.exposures))
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.ImageHDU(truth.star_flat[None], name="STARFLAT"),
            fits.ImageHDU(truth.colour, name="COLOUR"),
        ]
    )
    write_fits(hdus, path_to_star_flat, provenance)
    write_table(truth.exposures, path_to_truth, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        simulate_survey(
            path_to_dataset=snakemake.params.dataset,
            path_to_truth=snakemake.output.truth,
            path_to_star_flat=snakemake.output.star_flat,
            settings=snakemake.params.settings,
        )
