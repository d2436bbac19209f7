"""Rule cut_stamps: the pixels, variance and mask around every selected star of a unit."""

import logging
from collections.abc import Sequence
from operator import attrgetter

from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, read_json, read_table
from ztfpsf.jobs import for_each_image, job, make_rows
from ztfpsf.stamps import Stamps, concatenate, describe_failure, write_stamps
from ztfpsf.stars.cutting import cut_image
from ztfpsf.stars.images import measure_sky, read_science_image, read_variance_plane
from ztfpsf.stars.selection import COLUMNS

logger = logging.getLogger("ztfpsf")


def cut_stamps(
    *,
    images: Sequence[str],
    paths_to_sciimg: Sequence[str],
    paths_to_mskimg: Sequence[str],
    paths_to_varimg: Sequence[str],
    path_to_stars: str,
    path_to_counts: str,
    path_to_stamps: str,
    size_px: int,
    bad_mask_bits: Sequence[int],
    saturation_fraction: float,
    subtracted_sky: float | str | None,
    max_failed_fraction: float,
) -> None:
    """Cut the stamps of every image with selected stars; write one FITS file.

    The lists run parallel to `images`; an empty path means no mask, or a variance from gain and
    read noise.
    An image that failed in select_stars keeps that status here.
    """
    table = read_table(path_to_stars, "select_stars", COLUMNS)
    sources = dict(list(table.groupby("image")))
    counts = read_json(path_to_counts, "select_stars")
    paths = zip(paths_to_sciimg, paths_to_mskimg, paths_to_varimg, strict=True)
    inputs = dict(zip(images, paths, strict=True))

    def work(image: str) -> Stamps:
        if counts[image]["status"] != "ok":
            raise InputError(counts[image]["status"])
        path_to_sciimg, path_to_mskimg, path_to_varimg = inputs[image]
        science = read_science_image(
            path_to_sciimg, path_to_mskimg, bad_mask_bits, saturation_fraction, subtracted_sky
        )
        sky = measure_sky(science)
        variance = read_variance_plane(path_to_varimg, science, sky) if path_to_varimg else None
        stamps = cut_image(image, science, sky, sources[image], size_px, variance)
        logger.info(
            "%d/%d %s: %d stamps, %.2f %% of their pixels masked",
            list(inputs).index(image) + 1,
            len(inputs),
            image,
            len(stamps.stars),
            100 * stamps.mask.mean(),
        )
        return stamps

    parts, failures = for_each_image(images, work, max_failed_fraction)
    rows = make_rows(images, parts, failures, attrgetter("images"), describe_failure)
    provenance = make_provenance(
        [path_to_stars, *(path for paths in inputs.values() for path in paths if path)],
        {
            "size_px": size_px,
            "bad_mask_bits": list(bad_mask_bits),
            "saturation_fraction": saturation_fraction,
            "subtracted_sky": subtracted_sky,
        },
    )
    write_stamps(concatenate(rows, list(parts.values()), size_px), path_to_stamps, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        cut_stamps(
            images=snakemake.params.images,
            paths_to_sciimg=snakemake.params.sciimg,
            paths_to_mskimg=snakemake.params.mskimg,
            paths_to_varimg=snakemake.params.varimg,
            path_to_stars=snakemake.input.stars,
            path_to_counts=snakemake.input.counts,
            path_to_stamps=snakemake.output.stamps,
            size_px=snakemake.params.size_px,
            bad_mask_bits=snakemake.params.bad_mask_bits,
            saturation_fraction=snakemake.params.saturation_fraction,
            subtracted_sky=snakemake.params.subtracted_sky,
            max_failed_fraction=snakemake.params.max_failed_fraction,
        )
