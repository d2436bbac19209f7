"""Rule compare_truth: calibrated simulated quadrants, their stars and PSFs against the truth."""

import json
import logging
from collections.abc import Sequence
from functools import partial

import pandas as pd
from ztfpsf.io import make_provenance, read_table, write_json, write_text
from ztfpsf.jobs import job
from ztfpsf.psf import load_psf
from ztfpsf.simulation.comparison import (
    compare_image,
    compare_psf,
    compare_stars,
    grid_positions,
    match_stars,
)
from ztfpsf.simulation.drawing import draw_one
from ztfpsf.simulation.report import report
from ztfpsf.simulation.truth import RULE, read_true_psf

logger = logging.getLogger("ztfpsf")


def compare_truth(
    *,
    unit: str,
    images: Sequence[str],
    paths_to_sciimg: Sequence[str],
    paths_to_varimg: Sequence[str],
    paths_to_mskimg: Sequence[str],
    path_to_stars: str,
    path_to_psf: str,
    paths_to_true_image: Sequence[str],
    paths_to_true_stars: Sequence[str],
    paths_to_true_psf: Sequence[str],
    path_to_record: str,
    path_to_report: str,
    size_px: int,
) -> None:
    """Write what `ztfpsf.simulation.comparison` finds, as JSON and as Markdown.

    The lists run parallel to `images`. Pixels and PSF are compared image by image, the stars of
    all images together.
    """
    fitted = read_table(path_to_stars, "fit_psf", ["image"])
    planes = zip(
        paths_to_sciimg, paths_to_varimg, paths_to_mskimg, paths_to_true_image, strict=True
    )
    pixels, psf, stars = {}, {}, []
    for image, paths, path_to_true_stars, path_to_true_psf in zip(
        images, planes, paths_to_true_stars, paths_to_true_psf, strict=True
    ):
        pixels[image], shape = compare_image(*paths)
        true = read_table(path_to_true_stars, RULE)
        stars.append(match_stars(fitted[fitted["image"] == image], true))
        psf[image] = compare_psf(
            load_psf(path_to_psf, image).stamp,
            partial(draw_one, read_true_psf(path_to_true_psf)),
            grid_positions(shape),
            size_px,
        )._asdict()
    table = compare_stars(pd.concat(stars, ignore_index=True))
    record = {
        "unit": unit,
        "pixels": pixels,
        "psf": psf,
        "stars": json.loads(table.to_json(orient="records")),
    }
    logger.info("%s", report(record))
    write_text(report(record), path_to_report)
    inputs = [*paths_to_sciimg, *paths_to_varimg, *paths_to_mskimg, path_to_stars, path_to_psf]
    write_json(
        {**record, "provenance": make_provenance(inputs, {"size_px": size_px})}, path_to_record
    )


if __name__ == "__main__":
    with job(snakemake.log[0]):
        compare_truth(
            unit=snakemake.wildcards.unit,
            images=snakemake.params.images,
            paths_to_sciimg=snakemake.input.sciimg,
            paths_to_varimg=snakemake.input.varimg,
            paths_to_mskimg=snakemake.input.mskimg,
            path_to_stars=snakemake.input.stars,
            path_to_psf=snakemake.input.psf,
            paths_to_true_image=snakemake.input.true_images,
            paths_to_true_stars=snakemake.input.true_stars,
            paths_to_true_psf=snakemake.input.true_psfs,
            path_to_record=snakemake.output.record,
            path_to_report=snakemake.output.report,
            size_px=snakemake.params.size_px,
        )
