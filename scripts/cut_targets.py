"""Rule cut_targets: the pixels, variance and mask around the targets on the images of a unit."""

import logging
from collections.abc import Sequence
from operator import attrgetter

import pandas as pd
from ztfpsf.io import make_provenance
from ztfpsf.jobs import for_each_image, job, make_rows
from ztfpsf.stamps import Stamps, concatenate, describe_failure, write_stamps
from ztfpsf.stars.images import measure_sky, read_science_image, read_variance_plane
from ztfpsf.stars.target_cutting import cut_targets as cut_image

logger = logging.getLogger("ztfpsf")


def cut_targets(
    *,
    images: Sequence[str],
    paths_to_sciimg: Sequence[str],
    paths_to_mskimg: Sequence[str],
    paths_to_varimg: Sequence[str],
    path_to_targets: str,
    targets: Sequence[tuple[str, float, float]],
    size_px: int,
    bad_mask_bits: Sequence[int],
    saturation_fraction: float,
    subtracted_sky: float | str | None,
    max_failed_fraction: float,
) -> None:
    """Cut the stamps of the targets (name, RA and Dec in deg) on every image; write one FITS file.

    The lists run parallel to `images`; an empty path means no mask, or a variance from gain and
    read noise. Images that hold no target have a row and no stamp.
    """
    paths = zip(paths_to_sciimg, paths_to_mskimg, paths_to_varimg, strict=True)
    inputs = dict(zip(images, paths, strict=True))
    table = pd.DataFrame(targets, columns=["target", "ra_deg", "dec_deg"])

    def work(image: str) -> Stamps:
        path_to_sciimg, path_to_mskimg, path_to_varimg = inputs[image]
        science = read_science_image(
            path_to_sciimg, path_to_mskimg, bad_mask_bits, saturation_fraction, subtracted_sky
        )
        sky = measure_sky(science)
        variance = read_variance_plane(path_to_varimg, science, sky) if path_to_varimg else None
        stamps = cut_image(image, science, sky, table, size_px, variance)
        held = ", ".join(stamps.stars["star_id"]) or "no target"
        logger.info("%d/%d %s: %s", list(inputs).index(image) + 1, len(inputs), image, held)
        return stamps

    parts, failures = for_each_image(images, work, max_failed_fraction)
    rows = make_rows(images, parts, failures, attrgetter("images"), describe_failure)
    provenance = make_provenance(
        [path for paths in inputs.values() for path in paths if path],
        {
            "size_px": size_px,
            "bad_mask_bits": list(bad_mask_bits),
            "saturation_fraction": saturation_fraction,
            "subtracted_sky": subtracted_sky,
        },
    )
    write_stamps(concatenate(rows, list(parts.values()), size_px), path_to_targets, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        cut_targets(
            images=snakemake.params.images,
            paths_to_sciimg=snakemake.params.sciimg,
            paths_to_mskimg=snakemake.params.mskimg,
            paths_to_varimg=snakemake.params.varimg,
            path_to_targets=snakemake.output.targets,
            targets=snakemake.params.targets,
            size_px=snakemake.params.size_px,
            bad_mask_bits=snakemake.params.bad_mask_bits,
            saturation_fraction=snakemake.params.saturation_fraction,
            subtracted_sky=snakemake.params.subtracted_sky,
            max_failed_fraction=snakemake.params.max_failed_fraction,
        )
