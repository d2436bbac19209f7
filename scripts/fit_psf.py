"""Rule fit_psf: the PSF of every image of a unit, by one model and one optimiser."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, write_table
from ztfpsf.jobs import for_each_image, job
from ztfpsf.psf.device import configure
from ztfpsf.stamps import Stamps, read_stamps

logger = logging.getLogger("ztfpsf")


class Parts(NamedTuple):
    """Products of one image."""

    stars: pd.DataFrame
    history: pd.DataFrame
    image: dict[str, Any]
    psf: Any


def fit_psf(
    *,
    path_to_stamps: str,
    path_to_stars: str,
    path_to_images: str,
    path_to_history: str,
    path_to_psf: str,
    model: str,
    optimiser: str,
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
    device: str,
    max_failed_fraction: float,
) -> None:
    """Fit every image of a stamps file; a failed image is a row of the images table."""
    device_name = configure(device)
    # Everything that computes is imported after the device is chosen.
    from ztfpsf.psf.grid import Grid, add_grid
    from ztfpsf.psf.image import Clipping, FitSettings, GridSettings
    from ztfpsf.psf.models import get_model
    from ztfpsf.psf.optimisers import get_optimiser
    from ztfpsf.psf.product import write_psfs

    stamps = read_stamps(path_to_stamps)
    optimiser_options = get_optimiser(optimiser).Options(**options)
    fit_settings = FitSettings(
        degree=settings["degree"],
        shape=settings["shape"],
        clipping=Clipping(**settings["clipping"]),
        grid=GridSettings(
            Grid(*(settings["grid"][key] for key in Grid._fields)),
            settings["grid"]["degree"],
            tuple(settings["grid"]["flux_terms"]),
        ),
    )
    full_model = add_grid(get_model(model), fit_settings.grid.grid)
    names = list(stamps.images["image"])

    def work(image: str) -> Parts:
        parts = fit_one(
            stamps,
            image,
            full_model,
            get_optimiser(optimiser),
            optimiser_options,
            fit_settings,
            device_name,
        )
        logger.info("%d/%d %s", names.index(image) + 1, len(names), describe(parts.image))
        return parts

    parts, failures = for_each_image(names, work, max_failed_fraction)
    provenance = make_provenance(
        [path_to_stamps],
        {"model": model, "optimiser": optimiser, "options": dict(options), **settings},
    )
    rows = [
        parts[name].image if name in parts else {"image": name, "status": failures[name]}
        for name in names
    ]
    images = pd.DataFrame(rows).assign(model=model, optimiser=optimiser)
    write_psfs([part.psf for part in parts.values()], model, path_to_psf, provenance)
    write_table(_join(parts, "history"), path_to_history, provenance)
    write_table(images, path_to_images, provenance)
    write_table(_join(parts, "stars"), path_to_stars, provenance)


def fit_one(
    stamps: Stamps,
    image: str,
    model: Any,
    optimiser: Any,
    options: tuple,
    settings: Any,
    device: str,
) -> Parts:
    """Fit one image of a stamps file."""
    from ztfpsf.psf import tables
    from ztfpsf.psf.clock import compile_clock
    from ztfpsf.psf.fit import fit_image

    row = stamps.images.set_index("image").loc[image]
    if row["status"] != "ok":
        raise InputError(row["status"])
    mine = (stamps.stars["image"] == image).to_numpy()
    cubes = {name: getattr(stamps, name)[mine] for name in ("data", "variance", "mask")}
    image_stamps = tables.make_stamps(row, stamps.stars[mine], cubes)
    try:
        with compile_clock() as clock:
            fit = fit_image(model, optimiser, options, image_stamps, settings)
    except InputError as error:
        raise InputError(f"{image}: {error}") from None
    if fit.degree < settings.degree:
        logger.warning(
            "%s: %d stars define a field polynomial of degree %d, not %d",
            image,
            fit.is_fitted.sum(),
            fit.degree,
            settings.degree,
        )
    psf = tables.make_psf(image, model, image_stamps, fit, settings.grid.flux_terms)
    return Parts(
        tables.make_star_table(stamps.stars[mine], model, image_stamps, fit),
        tables.make_history(image, fit),
        tables.make_image_row(psf, image_stamps, fit, device)
        | {"compile_seconds": clock.compile_s},
        psf,
    )


def describe(row: Mapping[str, Any]) -> str:
    """A line for the log."""
    return (
        f"{row['image']}: {row['n_fitted']} stars fitted, {row['n_reserved']} reserved, "
        f"{row['n_rejected']} rejected, degree {row['degree']}, "
        f"chi2/dof {row['chi2'] / max(row['dof'], 1):.3f}, "
        f"FWHM {row['fwhm_px']:.3f} +- {row['fwhm_error_px']:.3f} px, {row['iterations']} steps "
        f"in {row['seconds']:.2f} s (+ {row['compile_seconds']:.1f} s compiling), {row['status']}"
    )


def _join(parts: Mapping[str, Parts], field: str) -> pd.DataFrame:
    tables = [getattr(part, field) for part in parts.values()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"image": []})


if __name__ == "__main__":
    with job(snakemake.log[0]):
        fit_psf(
            path_to_stamps=snakemake.input.stamps,
            path_to_stars=snakemake.output.stars,
            path_to_images=snakemake.output.images,
            path_to_history=snakemake.output.history,
            path_to_psf=snakemake.output.psf,
            model=snakemake.wildcards.model,
            optimiser=snakemake.wildcards.optimiser,
            options=snakemake.params.options,
            settings=snakemake.params.settings,
            device=snakemake.params.device,
            max_failed_fraction=snakemake.params.max_failed_fraction,
        )
