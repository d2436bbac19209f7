"""Rule measure_photometry: flux and position of every catalogue star of a unit, by its PSFs."""

import logging
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import pandas as pd
from ztfpsf.io import make_provenance, read_table, write_table
from ztfpsf.jobs import for_each_image, job, make_failed_row, make_rows
from ztfpsf.photometry.fit import PhotometrySettings
from ztfpsf.photometry.image import measure_image
from ztfpsf.photometry.tables import BITS, describe_row
from ztfpsf.plots.photometry import Cut, draw_densest, find_densest_cut
from ztfpsf.plots.style import draw_picture
from ztfpsf.psf import load_psf
from ztfpsf.psf.device import configure
from ztfpsf.quality import require_fitted
from ztfpsf.stars.images import measure_sky, read_science_image, read_variance_plane
from ztfpsf.stars.selection import COLUMNS

logger = logging.getLogger("ztfpsf")


class ImagePaths(NamedTuple):
    """Files of one image; "" where there is none."""

    sciimg: str
    mskimg: str
    varimg: str


def measure_photometry(
    *,
    images: Sequence[str],
    paths_to_sciimg: Sequence[str],
    paths_to_mskimg: Sequence[str],
    paths_to_varimg: Sequence[str],
    path_to_stars: str,
    path_to_fits: str,
    path_to_psf: str,
    path_to_photometry: str,
    path_to_images: str,
    path_to_residual: str,
    unit: str,
    settings: Mapping[str, Any],
    bad_mask_bits: Sequence[int],
    saturation_fraction: float,
    subtracted_sky: float | str | None,
    device: str,
    threads: int,
    max_failed_fraction: float,
) -> None:
    """Measure the stars of every image; a failed image is a row of the images table.

    The meaning of the bits of `flags` is in the provenance of the products.
    The lists run parallel to `images`; an empty path means no mask, or a variance from gain and
    read noise. An image whose PSF fit failed keeps that status here.
    """
    device_name = configure(device)
    table = read_table(path_to_stars, "select_stars", COLUMNS)
    fits = read_table(path_to_fits, "fit_psf", ["image", "status"])
    paths = map(ImagePaths, paths_to_sciimg, paths_to_mskimg, paths_to_varimg)
    inputs = dict(zip(images, paths, strict=True))
    chosen = PhotometrySettings(**settings)

    def work(image: str) -> tuple[pd.DataFrame, dict[str, Any], Cut]:
        require_fitted(image, fits)
        psf = load_psf(path_to_psf, image)
        files = inputs[image]
        quadrant = read_science_image(
            files.sciimg, files.mskimg, bad_mask_bits, saturation_fraction, subtracted_sky
        )
        sky = measure_sky(quadrant)
        variance = read_variance_plane(files.varimg, quadrant, sky) if files.varimg else None
        stars = table[table["image"] == image]
        found = measure_image(psf, quadrant, sky, variance, stars, chosen, threads)
        number = list(inputs).index(image) + 1
        logger.info("%d/%d %s", number, len(inputs), describe_row(found.row))
        # The planes of an image are large: only the part that may be drawn is kept.
        return found.stars, found.row | {"device": device_name}, find_densest_cut(found)

    parts, failures = for_each_image(images, work, max_failed_fraction)
    rows = make_rows(images, parts, failures, itemgetter(1), make_failed_row)
    provenance = make_provenance(
        [
            path_to_stars,
            path_to_psf,
            *(path for paths in inputs.values() for path in paths if path),
        ],
        {
            **settings,
            "bad_mask_bits": list(bad_mask_bits),
            "saturation_fraction": saturation_fraction,
            "subtracted_sky": subtracted_sky,
            "flags": BITS,
        },
    )
    draw_picture(path_to_residual, draw_densest, [cut for *_, cut in parts.values()], unit)
    write_table(pd.DataFrame(rows), path_to_images, provenance)
    tables = [stars for stars, *_ in parts.values()]
    stars = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"image": []})
    write_table(stars, path_to_photometry, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        measure_photometry(
            images=snakemake.params.images,
            paths_to_sciimg=snakemake.params.sciimg,
            paths_to_mskimg=snakemake.params.mskimg,
            paths_to_varimg=snakemake.params.varimg,
            path_to_stars=snakemake.input.stars,
            path_to_fits=snakemake.input.images,
            path_to_psf=snakemake.input.psf,
            path_to_photometry=snakemake.output.photometry,
            path_to_images=snakemake.output.images,
            path_to_residual=snakemake.output.residual,
            unit=snakemake.wildcards.unit,
            settings=snakemake.params.settings,
            bad_mask_bits=snakemake.params.bad_mask_bits,
            saturation_fraction=snakemake.params.saturation_fraction,
            subtracted_sky=snakemake.params.subtracted_sky,
            device=snakemake.params.device,
            threads=snakemake.threads,
            max_failed_fraction=snakemake.params.max_failed_fraction,
        )
