"""Rule select_stars: the stars of a unit's images that are fit to measure a PSF."""

from collections.abc import Mapping, Sequence
from typing import Any

from ztfpsf.jobs import job


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
    """Select the stars of every image; write the table of all stars and the counts."""


if __name__ == "__main__":
    with job(snakemake.log[0]):
        select_stars(
            images=snakemake.params.images,
            paths_to_sciimg=snakemake.input.sciimg,
            paths_to_mskimg=snakemake.params.mskimg,
            paths_to_catalogue=snakemake.params.catalogue,
            path_to_stars=snakemake.output.stars,
            path_to_counts=snakemake.output.counts,
            catalogue=snakemake.params.catalogue_settings,
            settings=snakemake.params.settings,
            size_px=snakemake.params.size_px,
            max_failed_fraction=snakemake.params.max_failed_fraction,
        )
