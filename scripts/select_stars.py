"""Rule select_stars: the stars of a unit's images that are fit to measure a PSF."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from ztfpsf.io import make_provenance, write_json, write_table
from ztfpsf.jobs import for_each_image, job, make_rows
from ztfpsf.stars.images import measure_sky, read_science_image
from ztfpsf.stars.selection import COLUMNS, Criteria, StarSelection, make_empty_table, select
from ztfpsf.stars.sources import find_sources

logger = logging.getLogger("ztfpsf")


def select_stars(
    *,
    images: Sequence[str],
    paths_to_sciimg: Sequence[str],
    paths_to_mskimg: Sequence[str],
    paths_to_catalogue: Sequence[str],
    path_to_stars: str,
    path_to_counts: str,
    catalogue: Mapping[str, Any],
    settings: Mapping[str, Any],
    size_px: int,
    max_failed_fraction: float,
) -> None:
    """Select the stars of every image; write the table of all stars and the counts.

    The lists run parallel to `images`; an empty path means no mask, or the catalogue of the
    configuration (`catalogue`: kind, path). A catalogue of an image's own is a table where the
    configuration says detection.
    """
    criteria = Criteria(size_px=size_px, **settings)
    paths = zip(paths_to_sciimg, paths_to_mskimg, paths_to_catalogue, strict=True)
    inputs = dict(zip(images, paths, strict=True))

    def work(image: str) -> StarSelection:
        path_to_sciimg, path_to_mskimg, own_catalogue = inputs[image]
        kind, path = catalogue["kind"], own_catalogue or catalogue.get("path") or ""
        if own_catalogue and kind == "detection":
            kind = "table"
        science = read_science_image(
            path_to_sciimg,
            path_to_mskimg,
            criteria.bad_mask_bits,
            criteria.saturation_fraction,
            criteria.subtracted_sky,
        )
        sky = measure_sky(science)
        selection = select(science, sky, find_sources(science, sky, kind, path, criteria), criteria)
        log_selection(image, list(inputs).index(image) + 1, len(inputs), selection)
        return selection

    selections, failures = for_each_image(images, work, max_failed_fraction)
    tables = [selection.stars.assign(image=image) for image, selection in selections.items()]
    stars = pd.concat([make_empty_table(), *tables], ignore_index=True)[list(COLUMNS)]
    provenance = make_provenance(
        [path for paths in inputs.values() for path in paths if path],
        {"catalogue": dict(catalogue), "select_stars": dict(settings), "size_px": size_px},
    )
    write_table(stars, path_to_stars, provenance)
    records = make_rows(images, selections, failures, make_record, make_failed_record)
    write_json(dict(zip(images, records, strict=True)), path_to_counts)


def log_selection(image: str, number: int, n_images: int, selection: StarSelection) -> None:
    """One line of progress."""
    counts = ", ".join(f"{reason} {n}" for reason, n in selection.rejected.items())
    logger.info(
        "%d/%d %s: kept %d of %d, reserved %d; rejected: %s",
        number,
        n_images,
        image,
        selection.kept,
        len(selection.stars),
        selection.reserved,
        counts,
    )


def make_record(selection: StarSelection) -> dict[str, Any]:
    """What the counts say of an image."""
    return {
        "status": "ok",
        "kept": selection.kept,
        "reserved": selection.reserved,
        "rejected": selection.rejected,
    }


def make_failed_record(image: str, status: str) -> dict[str, Any]:
    """What they say of an image that failed."""
    return {"status": status, "kept": 0, "reserved": 0, "rejected": {}}


if __name__ == "__main__":
    with job(snakemake.log[0]):
        select_stars(
            images=snakemake.params.images,
            paths_to_sciimg=snakemake.params.sciimg,
            paths_to_mskimg=snakemake.params.mskimg,
            paths_to_catalogue=snakemake.params.catalogue,
            path_to_stars=snakemake.output.stars,
            path_to_counts=snakemake.output.counts,
            catalogue=snakemake.params.catalogue_settings,
            settings=snakemake.params.settings,
            size_px=snakemake.params.size_px,
            max_failed_fraction=snakemake.params.max_failed_fraction,
        )
