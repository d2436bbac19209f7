"""Rule compare_truth: a calibrated simulated quadrant, its stars and its PSF against the truth."""

import json
import logging
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from ztfpsf.io import make_provenance, read_image, write_json, write_text
from ztfpsf.jobs import job
from ztfpsf.psf import load_psf
from ztfpsf.simulation.comparison import compare_pixels, compare_psf, compare_stars
from ztfpsf.simulation.truth import read_true_psf

logger = logging.getLogger("ztfpsf")

# IPAC's bits of pixels that belong to sources: good pixels.
SOURCE_BITS = 2 | 2048
GRID = 5


def compare_truth(
    *,
    image: str,
    path_to_sciimg: str,
    path_to_varimg: str,
    path_to_mskimg: str,
    path_to_stars: str,
    path_to_psf: str,
    path_to_true_image: str,
    path_to_true_stars: str,
    path_to_true_psf: str,
    path_to_record: str,
    path_to_report: str,
    size_px: int,
) -> None:
    """Write what `ztfpsf.simulation.comparison` finds, as JSON and as Markdown."""
    pixels, shape = compare_image(
        path_to_sciimg, path_to_varimg, path_to_mskimg, path_to_true_image
    )
    fitted = pd.read_parquet(path_to_stars)
    stars = compare_stars(fitted[fitted["image"] == image], pd.read_parquet(path_to_true_stars))
    psf = compare_psf(
        load_psf(path_to_psf, image).stamp,
        read_true_psf(path_to_true_psf),
        grid_positions(shape),
        size_px,
    )
    inputs = [path_to_sciimg, path_to_varimg, path_to_mskimg, path_to_stars, path_to_psf]
    record = {
        "image": image,
        "pixels": pixels,
        "stars": json.loads(stars.to_json(orient="records")),
        "psf": psf._asdict(),
    }
    logger.info("%s", report(record))
    write_text(report(record), path_to_report)
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


def report(record: dict[str, Any]) -> str:
    """The record in Markdown."""
    pixels, psf, stars = record["pixels"], record["psf"], pd.DataFrame(record["stars"])
    header = "| " + " | ".join(stars.columns) + " |\n|" + " --- |" * len(stars.columns)
    rows = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in stars.to_numpy()]
    lines = [
        f"# {record['image']} against the truth of its simulation",
        "",
        f"Pixels: median offset {pixels['offset_sigma']:+.4f} of the noise, variance "
        f"{pixels['variance_ratio']:.4f} of the predicted one, {pixels['missed_fraction']:.2%} of "
        "the affected pixels neither masked nor within 5 sigma.",
        "",
        f"PSF: L2 {psf['l2_median']:.5f}, dT/T mean {psf['size_bias']:+.5f} and rms "
        f"{psf['size_rms']:.5f}, ellipticity rms {psf['ellipticity_rms']:.5f}, centroid rms "
        f"{psf['shift_rms_px']:.4f} px.",
        "",
        "Stars, fitted minus true:",
        "",
        header,
        *rows,
    ]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if np.isnan(value) else f"{value:.3g}"


if __name__ == "__main__":
    with job(snakemake.log[0]):
        compare_truth(
            image=snakemake.wildcards.image,
            path_to_sciimg=snakemake.input.sciimg,
            path_to_varimg=snakemake.input.varimg,
            path_to_mskimg=snakemake.input.mskimg,
            path_to_stars=snakemake.input.stars,
            path_to_psf=snakemake.input.psf,
            path_to_true_image=snakemake.input.true_image,
            path_to_true_stars=snakemake.input.true_stars,
            path_to_true_psf=snakemake.input.true_psf,
            path_to_record=snakemake.output.record,
            path_to_report=snakemake.output.report,
            size_px=snakemake.params.size_px,
        )
