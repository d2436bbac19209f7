"""Rule fit_psf: the PSF of every image of a unit, by one model and one optimiser."""

import os
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import pandas as pd
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, write_table
from ztfpsf.jobs import for_each_image, job, make_failed_row, make_rows
from ztfpsf.psf.device import configure
from ztfpsf.stamps import open_stamps


def fit_psf(
    *,
    path_to_stamps: str,
    path_to_pocket: str,
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
    """Fit every image of a stamps file; a failed image is a row of the images table.

    `path_to_pocket`: the laws of measure_pocket; "": pixels are taken as they are.
    """
    configure(device)
    # Everything that computes is imported after the device is chosen.
    from ztfpsf.pocket.table import read_misfits, read_pockets
    from ztfpsf.psf.inputs.settings import make_settings
    from ztfpsf.psf.product.file import write_psfs
    from ztfpsf.psf.running.dask_cluster import connect
    from ztfpsf.psf.running.request import Products, Request
    from ztfpsf.psf.running.runs import fit_all

    file = open_stamps(path_to_stamps)
    # Workers of a cluster have other working directories.
    path = os.path.abspath(path_to_stamps)
    pockets = read_pockets(path_to_pocket) if path_to_pocket else {}
    request = Request(
        path, model, optimiser, dict(options), make_settings(settings), device, pockets
    )
    executor = connect(dask_scheduler) if dask_scheduler else None
    outcomes = fit_all(request, file, executor, threads)

    def get_products(image: str) -> Products:
        outcome = outcomes[image]
        if isinstance(outcome, InputError):
            raise outcome
        return outcome

    made, failures = for_each_image(outcomes, get_products, max_failed_fraction)
    provenance = make_provenance(
        [path for path in (path_to_stamps, path_to_pocket) if path],
        {"model": model, "optimiser": optimiser, "options": dict(options), **settings},
    )
    rows = make_rows(outcomes, made, failures, attrgetter("image"), make_failed_row)
    images = pd.DataFrame(rows).assign(model=model, optimiser=optimiser)
    misfits = read_misfits(path_to_pocket) if path_to_pocket else pd.Series(dtype=float)
    images["pocket_misfit_adu"] = images["image"].map(misfits).astype(float)
    write_psfs([products.psf for products in made.values()], model, path_to_psf, provenance)
    write_table(
        _join([products.history for products in made.values()]), path_to_history, provenance
    )
    write_table(images, path_to_images, provenance)
    write_table(_join([products.stars for products in made.values()]), path_to_stars, provenance)


def _join(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"image": []})


if __name__ == "__main__":
    with job(snakemake.log[0]):
        fit_psf(
            path_to_stamps=snakemake.input.stamps,
            path_to_pocket=snakemake.input.pocket,
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
