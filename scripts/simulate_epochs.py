"""Rule simulate_epochs: a series of exposures with a supernova, as science images of ZTF."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from ztfpsf.io import make_provenance, write_table
from ztfpsf.jobs import job
from ztfpsf.simulation.epoch_settings import EpochSettings
from ztfpsf.simulation.epochs import make_catalogue, simulate_epoch, write_epoch
from ztfpsf.simulation.settings import make_settings

logger = logging.getLogger("ztfpsf")


def simulate_epochs(
    *,
    paths_to_sciimg: Sequence[str],
    paths_to_mskimg: Sequence[str],
    path_to_truth: str,
    path_to_catalogue: str,
    settings: Mapping[str, Any],
) -> None:
    """Draw and write all exposures, and last what is true of them and of the stars.

    The lists have the order of `ztfpsf.simulation.epoch_settings.list_epochs`.
    """
    series = make_settings(EpochSettings, settings, "config: simulate_epochs")
    provenance = make_provenance([], settings)
    truth = []
    for number, paths in enumerate(zip(paths_to_sciimg, paths_to_mskimg, strict=True)):
        epoch = simulate_epoch(series, number)
        write_epoch(epoch, *paths, provenance)
        truth.append(epoch.truth)
        logger.info("%d/%d %s", number + 1, len(paths_to_sciimg), epoch.name)
    write_table(make_catalogue(series), path_to_catalogue, provenance)
    write_table(pd.DataFrame(truth), path_to_truth, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        simulate_epochs(
            paths_to_sciimg=snakemake.output.sciimg,
            paths_to_mskimg=snakemake.output.mskimg,
            path_to_truth=snakemake.output.truth,
            path_to_catalogue=snakemake.output.catalogue,
            settings=snakemake.params.settings,
        )
