"""Rule fit_psf: the PSF of every image of a unit, by one model and one optimiser."""

import os
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import pandas as pd
from ztfpsf.io import make_provenance, write_table
from ztfpsf.jobs import for_each_image, job, make_failed_row, make_rows
from ztfpsf.psf.device import configure
from ztfpsf.stamps import open_stamps


def fit_psf(
    *,
    path_to_stamps: str,
    path_to_stars: str,
    path_to_images: str,
    path_to_history: str,
    path_to_psf: str,
    model: str,
    optimiser: str,
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    device: str,
    dask_scheduler: str | None,
    threads: int,
    max_failed_fraction: float,
) -> None:
    """Fit every image of a stamps file; a failed image is a row of the images table."""
    configure(device, threads)
    # Everything that computes is imported after the device is chosen.
    from ztfpsf.psf.dask_cluster import connect
    from ztfpsf.psf.product import write_psfs
    from ztfpsf.psf.runs import Parts, Request, fit_all
    from ztfpsf.psf.settings import make_candidates

    file = open_stamps(path_to_stamps)
    # Workers of a cluster have other working directories.
    path = os.path.abspath(path_to_stamps)
    candidates = tuple(make_candidates(settings))
    request = Request(path, model, optimiser, dict(options), candidates, device)
    executor = connect(dask_scheduler) if dask_scheduler else None
    outcomes = fit_all(request, file, executor, threads)

    def get_parts(image: str) -> Parts:
        if isinstance(outcomes[image], Exception):
            raise outcomes[image]
        return outcomes[image]

    parts, failures = for_each_image(outcomes, get_parts, max_failed_fraction)
    provenance = make_provenance(
        [path_to_stamps],
        {"model": model, "optimiser": optimiser, "options": dict(options), **settings},
    )
    rows = make_rows(outcomes, parts, failures, attrgetter("image"), make_failed_row)
    images = pd.DataFrame(rows).assign(model=model, optimiser=optimiser)
    write_psfs([part.psf for part in parts.values()], model, path_to_psf, provenance)
    write_table(_join(parts, "history"), path_to_history, provenance)
    write_table(images, path_to_images, provenance)
    write_table(_join(parts, "stars"), path_to_stars, provenance)


def _join(parts: Mapping[str, Any], field: str) -> pd.DataFrame:
    tables = [getattr(part, field) for part in parts.values()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"image": []})


if __name__ == "__main__":
    with job(snakemake.log[0]):
        fit_psf(
            path_to_stamps=snakemake.input.stamps,
            path_to_stars=snakemake.output.stars,
            path_to_images=snakemake.output.images,
            path_to_history=snakemake.output.history,
            path_to_psf=snakemake.output.psf,
            model=snakemake.wildcards.model,
            optimiser=snakemake.wildcards.optimiser,
            options=snakemake.params.options,
            settings=snakemake.params.settings,
            device=snakemake.params.device,
            dask_scheduler=snakemake.params.dask_scheduler,
            threads=snakemake.threads,
            max_failed_fraction=snakemake.params.max_failed_fraction,
        )
