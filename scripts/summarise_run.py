"""Rule summarise_run: one row per image, and per image and fit, of all that a run has made."""

import logging
from collections.abc import Mapping, Sequence

from ztfpsf.io import make_provenance, write_table
from ztfpsf.jobs import job
from ztfpsf.overview.images import RuleStep, make_image_table
from ztfpsf.overview.timing import make_fit_table

logger = logging.getLogger("ztfpsf")


def summarise_run(
    *,
    units: Mapping[str, Sequence[str]],
    steps: Sequence[Sequence[str]],
    pattern_of_psf: str,
    paths_to_fits: Sequence[str],
    path_to_images: str,
    path_to_fits: str,
) -> None:
    """Write the tables of images and of fits.

    `units`: names of the images by unit; `steps`: rule, pattern of its product and pattern of its
    log; `paths_to_fits`: images tables of fit_psf.
    """
    images = make_image_table(units, [RuleStep(*step) for step in steps], pattern_of_psf)
    failed = int((images["failed_rule"] != "").sum())
    logger.info("%d images, %d of them failed", len(images), failed)
    provenance = make_provenance(paths_to_fits, {"steps": [list(step) for step in steps]})
    write_table(make_fit_table(paths_to_fits), path_to_fits, provenance)
    write_table(images, path_to_images, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        summarise_run(
            units=snakemake.params.units,
            steps=snakemake.params.steps,
            pattern_of_psf=snakemake.params.psf,
            paths_to_fits=snakemake.input.fits,
            path_to_images=snakemake.output.images,
            path_to_fits=snakemake.output.fits,
        )
