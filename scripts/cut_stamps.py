"""Rule cut_stamps: the pixels, variance and mask around every selected star of a unit."""

from collections.abc import Sequence

from ztfpsf.jobs import job


def cut_stamps(
    *,
    images: Sequence[str],
    paths_to_sciimg: Sequence[str],
    paths_to_mskimg: Sequence[str],
    path_to_stars: str,
    path_to_counts: str,
    path_to_stamps: str,
    size_px: int,
    bad_mask_bits: Sequence[int],
    saturation_fraction: float,
    max_failed_fraction: float,
) -> None:
    """Cut the stamps of every image with selected stars; write one FITS file."""


if __name__ == "__main__":
    with job(snakemake.log[0]):
        cut_stamps(
            images=snakemake.params.images,
            paths_to_sciimg=snakemake.input.sciimg,
            paths_to_mskimg=snakemake.params.mskimg,
            path_to_stars=snakemake.input.stars,
            path_to_counts=snakemake.input.counts,
            path_to_stamps=snakemake.output.stamps,
            size_px=snakemake.params.size_px,
            bad_mask_bits=snakemake.params.bad_mask_bits,
            saturation_fraction=snakemake.params.saturation_fraction,
            max_failed_fraction=snakemake.params.max_failed_fraction,
        )
