"""Rule simulate_raw: a night of raw CCD frames in ZTF's format, and the truth about it."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from ztfpsf.io import make_provenance, write_table, write_text
from ztfpsf.jobs import job
from ztfpsf.simulation.files import simulate_ccd_files
from ztfpsf.simulation.linearity import table_name
from ztfpsf.simulation.night import frame_table
from ztfpsf.simulation.settings import NightSettings, make_settings
from ztfpsf.simulation.sky import sky_catalogue

logger = logging.getLogger("ztfpsf")


def simulate_raw(
    *,
    path_to_linearity: str,
    path_to_night: str,
    path_to_catalogue: str,
    path_to_frames: str,
    settings: Mapping[str, Any],
    n_processes: int,
) -> None:
    """Write a night below `path_to_night` and, last, the catalogue and the list of the frames.

    raw/ and sci/ have ZTF's layout (sci/ holds headers only), truth/ says what is in the frames.
    `path_to_linearity` is the folder of ZTF's linearity tables, or "" for a linear detector.
    """
    night = make_settings(NightSettings, settings, "config: simulate_raw")
    if path_to_linearity:
        table = str(Path(path_to_linearity) / table_name(night.night))
        night = replace(night, detector=replace(night.detector, linearity_table=table))
    root = Path(path_to_night)
    provenance = make_provenance([], settings)
    for ccdid in night.ccdids:
        for done in simulate_ccd_files(night, ccdid, root, provenance, n_processes):
            logger.info("%s", done)
    stars = pd.concat([sky_catalogue(night, ccdid) for ccdid in night.ccdids], ignore_index=True)
    catalogue = stars[["ra", "dec", "mag"]].drop_duplicates(ignore_index=True)
    write_table(catalogue, path_to_catalogue, provenance)
    write_text(frame_table(night).to_csv(index=False), path_to_frames)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        simulate_raw(
            path_to_linearity=snakemake.params.linearity,
            path_to_night=str(Path(snakemake.output.frames).parent),
            path_to_catalogue=snakemake.output.catalogue,
            path_to_frames=snakemake.output.frames,
            settings=snakemake.params.settings,
            n_processes=snakemake.threads,
        )
