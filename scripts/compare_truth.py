"""Rule compare_truth: calibrated simulated quadrants, their stars and PSFs against the truth."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from ztfpsf.fits_files import read_image
from ztfpsf.io import make_provenance, write_json, write_text
from ztfpsf.jobs import job
from ztfpsf.psf import load_psf
from ztfpsf.simulation.comparison import (
    compare_pixels,
    compare_psf,
    compare_stars,
    match_stars,
)
from ztfpsf.simulation.truth import read_true_psf

logger = logging.getLogger("ztfpsf")

# IPAC's bits of pixels that belong to sources: good pixels.
SOURCE_BITS = 2 | 2048
GRID = 5
TITLES = {
    "pixels": "Calibrated pixels against the noiseless image, in the noise predicted",
    "psf": "Fitted PSF against the true one, on a grid over the image (T is the size squared)",
    "stars": "Stars, fitted minus true",
}


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
    fitted = pd.read_parquet(path_to_stars)
    planes = zip(
        paths_to_sciimg, paths_to_varimg, paths_to_mskimg, paths_to_true_image, strict=True
    )
    pixels, psf, stars = {}, {}, []
    for image, paths, path_to_true_stars, path_to_true_psf in zip(
        images, planes, paths_to_true_stars, paths_to_true_psf, strict=True
    ):
        pixels[image], shape = compare_image(*paths)
        true = pd.read_parquet(path_to_true_stars)
        stars.append(match_stars(fitted[fitted["image"] == image], true))
        psf[image] = compare_psf(
            load_psf(path_to_psf, image).stamp,
            read_true_psf(path_to_true_psf),
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


def compare_image(
    path_to_sciimg: str, path_to_varimg: str, path_to_mskimg: str, path_to_true_image: str
) -> tuple[dict[str, Any], tuple[int, int]]:
    """The comparison of pixels, and the shape (ny, nx) of the image."""
    image, _ = read_image(path_to_sciimg)
    variance, _ = read_image(path_to_varimg)
    mask, _ = read_image(path_to_mskimg)
    with fits.open(path_to_true_image) as hdus:
        noiseless, affected = hdus["NOISELESS"].data, hdus["AFFECTED"].data
    found = compare_pixels(image, variance, mask & ~SOURCE_BITS, noiseless, affected)
    return found._asdict(), image.shape


def grid_positions(shape: tuple[int, int]) -> np.ndarray:
    """Positions (x, y) all over the image, each with its own sub-pixel phase, (GRID^2, 2)."""
    ny, nx = shape
    steps = (np.arange(GRID) + 0.5) / GRID
    x, y = np.meshgrid(steps * nx, steps * ny)
    phase = np.linspace(-0.4, 0.4, GRID**2)
    return np.stack([np.round(x.ravel()) + phase, np.round(y.ravel()) + phase[::-1]], axis=1)


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""
    parts = [f"# {record['unit']} against the truth of its simulation"]
    for name, title in TITLES.items():
        rows = record[name]
        if isinstance(rows, Mapping):
            rows = [{"image": image, **row} for image, row in rows.items()]
        parts.append(f"{title}:\n\n{_table(pd.DataFrame(rows))}")
    return "\n\n".join(parts) + "\n"


def _table(rows: pd.DataFrame) -> str:
    lines = [rows.columns, ["---"] * len(rows.columns), *rows.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(_cell(value) for value in line)} |" for line in lines)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if np.isnan(value) else f"{value:.4g}"


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
