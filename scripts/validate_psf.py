"""Rule validate_psf: how good the PSF of every image is, and a verdict on it."""

import logging
from collections.abc import Mapping
from typing import Any

from ztfpsf.io import make_provenance, read_table, write_table, write_text
from ztfpsf.jobs import job
from ztfpsf.plots.style import draw_picture
from ztfpsf.plots.validation import draw_validation
from ztfpsf.psf.device import configure
from ztfpsf.quality import magnitude_bins, measured, usable
from ztfpsf.stamps import read_stamps
from ztfpsf.validation.image import ValidationSettings
from ztfpsf.validation.report import make_report
from ztfpsf.validation.trends import FluxTerm
from ztfpsf.validation.unit import correlate_unit, judge_unit, measure_unit
from ztfpsf.validation.verdict import check_limits

logger = logging.getLogger("ztfpsf")


def validate_psf(
    *,
    path_to_stamps: str,
    path_to_fitted_stars: str,
    path_to_fitted_images: str,
    path_to_psf: str,
    path_to_images: str,
    path_to_stars: str,
    path_to_rho: str,
    path_to_picture: str,
    path_to_report: str,
    unit: str,
    model: str,
    optimiser: str,
    settings: Mapping[str, Any],
) -> None:
    """Measure stars and their models, sum up and judge every image, those that failed as well."""
    limits = settings["limits"]
    check_limits(limits)
    chosen = ValidationSettings(
        settings["min_snr"],
        settings["min_stars_rho"],
        settings["aperture_diameters_px"],
        FluxTerm(**settings["flux_term"]),
    )
    # A thousand stamps: a GPU is not worth waiting for.
    configure("cpu")
    stamps = read_stamps(path_to_stamps)
    fitted = usable(measured(read_table(path_to_fitted_stars, "fit_psf", ["image"])))
    stars = measure_unit(stamps, fitted, path_to_psf, chosen.aperture_diameters_px)
    bins = magnitude_bins(stars["mag"])
    fits = read_table(path_to_fitted_images, "fit_psf", ["image", "status"])
    images = judge_unit(stars, fits, stamps.images, bins, chosen, limits)
    for row in images.to_dict("records"):
        logger.info("%(image)s %(verdict)s: %(reason)s", row)
    rho = correlate_unit(stars, chosen)
    title = f"{unit}, {model}, {optimiser}"
    provenance = make_provenance(
        [path_to_stamps, path_to_fitted_stars, path_to_fitted_images, path_to_psf], settings
    )
    write_table(stars, path_to_stars, provenance)
    write_table(rho, path_to_rho, provenance)
    write_text(make_report(images, bins, title), path_to_report)
    draw_picture(path_to_picture, draw_validation, stars, images, rho, chosen, title)
    write_table(images, path_to_images, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        validate_psf(
            path_to_stamps=snakemake.input.stamps,
            path_to_fitted_stars=snakemake.input.stars,
            path_to_fitted_images=snakemake.input.images,
            path_to_psf=snakemake.input.psf,
            path_to_images=snakemake.output.images,
            path_to_stars=snakemake.output.stars,
            path_to_rho=snakemake.output.rho,
            path_to_picture=snakemake.output.picture,
            path_to_report=snakemake.output.report,
            unit=snakemake.wildcards.unit,
            model=snakemake.wildcards.model,
            optimiser=snakemake.wildcards.optimiser,
            settings=snakemake.params.settings,
        )
