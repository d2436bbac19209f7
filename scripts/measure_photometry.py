"""Rule measure_photometry: flux and position of every catalogue star of a unit, by its PSFs."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from ztfpsf.cards import get_number
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, write_table
from ztfpsf.jobs import for_each_image, job
from ztfpsf.photometry.flags import Flag
from ztfpsf.plots.photometry import Cut, draw_cut, find_densest_cut
from ztfpsf.plots.style import make_text_figure, save, styled
from ztfpsf.psf.device import configure
from ztfpsf.stars.images import measure_sky, read_science_image, read_variance_plane
from ztfpsf.stars.sky import read_wcs

logger = logging.getLogger("ztfpsf")


class Parts(NamedTuple):
    """Products of one image."""

    stars: pd.DataFrame
    image: dict[str, Any]
    cut: Cut


class Paths(NamedTuple):
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
    device: str,
    max_failed_fraction: float,
) -> None:
    """Measure the stars of every image; a failed image is a row of the images table.

    The meaning of the bits of `flags` is in the provenance of the products.
    The lists run parallel to `images`; an empty path means no mask, or a variance from gain and
    read noise. An image whose PSF fit failed keeps that status here.
    """
    device_name = configure(device)
    table = pd.read_parquet(path_to_stars)
    statuses = pd.read_parquet(path_to_fits).set_index("image")["status"]
    paths = map(Paths, paths_to_sciimg, paths_to_mskimg, paths_to_varimg)
    inputs = dict(zip(images, paths, strict=True))

    def work(image: str) -> Parts:
        psf = load_fitted(path_to_psf, image, statuses.get(image, "the PSF fit left it out."))
        quadrant = read_science_image(*inputs[image][:2], bad_mask_bits, saturation_fraction)
        path_to_varimg = inputs[image].varimg
        variance = read_variance_plane(path_to_varimg, quadrant) if path_to_varimg else None
        parts = measure_one(psf, quadrant, variance, table[table["image"] == image], settings)
        number = list(inputs).index(image) + 1
        logger.info("%d/%d %s", number, len(inputs), describe(parts.image))
        return parts

    parts, failures = for_each_image(images, work, max_failed_fraction)
    rows = [
        parts[image].image | {"device": device_name}
        if image in parts
        else {"image": image, "status": failures[image]}
        for image in images
    ]
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
            "flags": {flag.name: flag.value for flag in Flag},
        },
    )
    draw_residual([part.cut for part in parts.values()], unit, path_to_residual)
    write_table(pd.DataFrame(rows), path_to_images, provenance)
    tables = [part.stars for part in parts.values()]
    stars = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"image": []})
    write_table(stars, path_to_photometry, provenance)


def load_fitted(path_to_psf: str, image: str, status: str) -> Any:
    """The PSF of an image; without one, InputError with the status of its fit."""
    from ztfpsf.psf import load_psf

    try:
        return load_psf(path_to_psf, image)
    except InputError:
        raise InputError(status) from None


def measure_one(
    psf: Any,
    quadrant: Any,
    variance: Any,
    stars: pd.DataFrame,
    settings: Mapping[str, Any],
) -> Parts:
    """Measure the stars of one image."""
    from ztfpsf.photometry import tables
    from ztfpsf.photometry.extent import find_margin
    from ztfpsf.photometry.fit import Settings, measure_stars
    from ztfpsf.photometry.frame import make_frame
    from ztfpsf.photometry.places import find_places
    from ztfpsf.psf.clock import compile_clock

    fit_settings = Settings(**settings)
    with compile_clock() as clock:
        places = find_places(stars, read_wcs(quadrant.header, quadrant.path), quadrant.data.shape)
        frame = make_frame(
            quadrant, measure_sky(quadrant), variance, find_margin(fit_settings.size_px)
        )
        measured = measure_stars(psf, frame, places, fit_settings)
        zero_point = get_number(quadrant.header, "MAGZP")
        table = tables.make_star_table(stars, frame, measured, zero_point)
    row = tables.make_image_row(psf.image, table, measured, zero_point)
    seconds = {"seconds": clock.run_s, "compile_seconds": clock.compile_s}
    cut = find_densest_cut(psf.image, table, frame, measured.evaluation.model)
    return Parts(table, row | seconds, cut)


def describe(row: Mapping[str, Any]) -> str:
    """A line for the log."""
    return (
        f"{row['image']}: {row['n_stars']} stars, {row['n_position_held']} at the catalogue's "
        f"position, {row['n_blended']} blended, {row['n_saturated']} with saturated pixels, "
        f"{row['n_not_converged']} not converged, {row['n_not_measured']} not measured; "
        f"{row['passes']} passes in {row['seconds']:.2f} s "
        f"(+ {row['compile_seconds']:.1f} s compiling)"
    )


def draw_residual(cuts: Sequence[Cut], unit: str, path: str) -> None:
    """The most crowded cut of the unit."""
    with styled():
        if cuts:
            save(draw_cut(max(cuts, key=lambda cut: cut.n_stars)), path)
        else:
            save(make_text_figure(f"{unit}\nNo star was measured."), path)


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
            device=snakemake.params.device,
            max_failed_fraction=snakemake.params.max_failed_fraction,
        )
