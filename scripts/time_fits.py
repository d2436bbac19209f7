"""Rule time_fits: seconds of a fit against the number of stars, for every optimiser and device."""

import logging
from collections.abc import Mapping
from typing import Any

import pandas as pd
from ztfpsf.io import make_provenance, write_table
from ztfpsf.jobs import job
from ztfpsf.psf.device import configure

logger = logging.getLogger("ztfpsf")


def time_fits(
    *,
    path_to_table: str,
    path_to_picture: str,
    settings: Mapping[str, Any],
    options: Mapping[str, Mapping[str, Any]],
    device: str,
) -> None:
    """Time all optimisers with their options; see the config keys time_fits."""
    device_name = configure(device)
    from ztfpsf.plots.style import draw_picture
    from ztfpsf.plots.times import draw_times
    from ztfpsf.psf.models import get_model
    from ztfpsf.psf.running.timing import time_all

    rows = []
    for timing in time_all(options, get_model(settings["model"]), settings):
        logger.info("%s", timing)
        rows.append(timing._asdict())
    times = pd.DataFrame(rows)
    title = f"{settings['model']}, {settings['size_px']} px, degree {settings['degree']}"
    draw_picture(path_to_picture, draw_times, times, f"{title}; {device_name}")
    provenance = make_provenance([], {**settings, "options": dict(options), "device": device_name})
    write_table(times, path_to_table, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        time_fits(
            path_to_table=snakemake.output.table,
            path_to_picture=snakemake.output.picture,
            settings=snakemake.params.settings,
            options=snakemake.params.options,
            device=snakemake.params.device,
        )
