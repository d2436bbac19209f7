"""Rule validate_psf: how good the PSF of every image is, and a verdict on it."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from ztfpsf.io import make_provenance, write_table, write_text
from ztfpsf.jobs import job
from ztfpsf.plots.style import save, styled
from ztfpsf.plots.validation import draw_validation
from ztfpsf.psf.device import configure
from ztfpsf.quality import Bin, magnitude_bins, measured, usable
from ztfpsf.stamps import Stamps, read_stamps
from ztfpsf.validation.image import Settings, measurable, summarise
from ztfpsf.validation.report import make_report
from ztfpsf.validation.rho import find_rho, make_empty_rho
from ztfpsf.validation.stars import measure_stars
from ztfpsf.validation.trends import FluxTerm
from ztfpsf.validation.verdict import check_limits, judge

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
    chosen = Settings(
        settings["min_snr"],
        settings["min_stars_rho"],
        settings["aperture_diameters_px"],
        FluxTerm(**settings["flux_term"]),
    )
    # A thousand stamps: a GPU is not worth waiting for.
    configure("cpu")
    stamps = read_stamps(path_to_stamps)
    fitted = usable(measured(pd.read_parquet(path_to_fitted_stars)))
    stars = measure_images(stamps, fitted, path_to_psf, chosen.aperture_diameters_px)
    bins = magnitude_bins(stars["mag"])
    fits = pd.read_parquet(path_to_fitted_images)
    images = judge_images(stars, fits, stamps.images, bins, chosen, limits)
    rho = correlate_images(stars, chosen)
    title = f"{unit}, {model}, {optimiser}"
    provenance = make_provenance(
        [path_to_stamps, path_to_fitted_stars, path_to_fitted_images, path_to_psf], settings
    )
    write_table(stars, path_to_stars, provenance)
    write_table(rho, path_to_rho, provenance)
    write_text(make_report(images, bins, title), path_to_report)
    with styled():
        save(draw_validation(stars, images, rho, chosen, title), path_to_picture)
    write_table(images, path_to_images, provenance)


def measure_images(
    stamps: Stamps, fitted: pd.DataFrame, path_to_psf: str, diameters_px: Sequence[float]
) -> pd.DataFrame:
    """The measured stars of all images, image by image: an exposure is 64 of them."""
    from ztfpsf.psf.drawn import draw

    parts = [fitted[fitted["image"] == image] for image in fitted["image"].unique()]
    tables = [
        measure_stars(draw(stamps, part, path_to_psf), diameters_px) for part in parts or [fitted]
    ]
    return pd.concat(tables, ignore_index=True)


def judge_images(
    stars: pd.DataFrame,
    fits: pd.DataFrame,
    cameras: pd.DataFrame,
    bins: Sequence[Bin],
    settings: Settings,
    limits: Mapping[str, Sequence[float]],
) -> pd.DataFrame:
    """One row per image: verdict, reason, and the numbers."""
    cameras = cameras.set_index("image")
    rows = []
    for fit in fits.to_dict("records"):
        image = fit["image"]
        camera = cameras.loc[image].to_dict()
        row = summarise(stars[stars["image"] == image], fit, camera, bins, settings)
        verdict = judge(row, limits)
        logger.info("%s %s: %s", image, *verdict)
        rows.append({"image": image, **verdict._asdict(), **row})
    return pd.DataFrame(rows)


def correlate_images(stars: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Rho statistics of the images that have enough reserved stars; no row of the others."""
    tables = [make_empty_rho()]
    for image, mine in measurable(stars[stars["is_reserved"]], settings).groupby("image"):
        if len(mine) >= settings.min_stars_rho:
            tables.append(find_rho(mine).assign(image=image))
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]


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
