"""Rule match_stars: the stars of a group in all its exposures, and what the exposures are."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from ztfpsf.group.exposures import make_exposures, place_in_sky
from ztfpsf.group.matching import match_exposures
from ztfpsf.group.places import find_centre
from ztfpsf.io import make_provenance, read_provenance, read_table, write_table
from ztfpsf.jobs import job
from ztfpsf.stamps import read_image_table
from ztfpsf.survey.collection import add_reference
from ztfpsf.survey.cuts import Cuts, add_flags, cut_image
from ztfpsf.survey.reference import read_reference

logger = logging.getLogger("ztfpsf")

COLUMNS = ["image", "flux_adu", "flux_error_own_adu", "x_error_px", "y_error_px", "flags"]


def match_stars(
    *,
    images: Sequence[str],
    paths_to_stamps: Sequence[str],
    paths_to_fits: Sequence[str],
    paths_to_verdicts: Sequence[str],
    paths_to_photometry: Sequence[str],
    path_to_exposures: str,
    path_to_stars: str,
    path_to_measurements: str,
    settings: Mapping[str, Any],
) -> None:
    """Match the stars of the images of a group, by the cuts of collect_survey.

    The lists of paths hold one file each for every unit with an image of the group.
    """
    stamps = pd.concat([read_image_table(path) for path in paths_to_stamps])
    fits = pd.concat([read_table(path, "fit_psf", ["image", "status"]) for path in paths_to_fits])
    verdicts = pd.concat(
        [read_table(path, "validate_psf", ["image"]) for path in paths_to_verdicts]
    )
    exposures = make_exposures(images, stamps, fits, verdicts)
    tables = cut_exposures(exposures, paths_to_photometry, settings)
    radius = settings["match_arcsec"]
    matched = match_exposures(tables, exposures["mjd"].to_numpy(), radius)
    names = dict(settings["reference"])
    reference = read_reference(names.pop("path"), names, radius)
    # The columns of the reference catalogue, beside what is known of the stars.
    catalogue = add_reference(matched.stars[["star_id", "ra_deg", "dec_deg"]], reference)
    stars = matched.stars.join(
        catalogue[["colour_mag", "reference_mag", "reference_error_mag"]].astype(float)
    )
    logger.info(
        "%d of %d exposures, %d stars, %d measurements, %d stars in the reference catalogue",
        len(tables),
        len(exposures),
        len(stars),
        len(matched.measurements),
        int(np.isfinite(stars["reference_mag"]).sum()),
    )
    provenance = make_provenance(paths_to_photometry, settings)
    write_table(stars, path_to_stars, provenance)
    write_table(place_in_sky(exposures, *find_centre(stars)), path_to_exposures, provenance)
    write_table(matched.measurements, path_to_measurements, provenance)


def cut_exposures(
    exposures: pd.DataFrame, paths_to_photometry: Sequence[str], settings: Mapping[str, Any]
) -> dict[int, pd.DataFrame]:
    """Measurements that pass the cuts, by the row of their exposure."""
    cuts = Cuts(
        tuple(settings["verdicts"]),
        tuple(settings["reject_flags"]),
        settings["min_snr"],
        settings["max_neighbours"],
    )
    usable = exposures[exposures["status"] == "ok"]
    number = dict(zip(usable["image"], usable.index, strict=True))
    verdict_of = dict(zip(usable["image"], usable["verdict"], strict=True))
    found = {}
    for path in paths_to_photometry:
        table = read_table(path, "measure_photometry", ["image"])
        if not table["image"].isin(list(number)).any():
            continue
        bits = add_flags(cuts.reject_flags, read_provenance(path)["settings"]["flags"])
        table = read_table(path, "measure_photometry", COLUMNS)
        # What all stars of an image share is in its ratio.
        table["flux_error_adu"] = table["flux_error_own_adu"]
        for image, rows in table[table["image"].isin(list(number))].groupby("image"):
            kept = cut_image(pd.DataFrame(rows), verdict_of[image], bits, cuts).table
            if len(kept):
                found[number[image]] = kept.join(rows[["x_error_px", "y_error_px"]])
    return dict(sorted(found.items()))


if __name__ == "__main__":
    with job(snakemake.log[0]):
        match_stars(
            images=snakemake.params.images,
            paths_to_stamps=snakemake.input.stamps,
            paths_to_fits=snakemake.input.fits,
            paths_to_verdicts=snakemake.input.verdicts,
            paths_to_photometry=snakemake.input.photometry,
            path_to_exposures=snakemake.output.exposures,
            path_to_stars=snakemake.output.stars,
            path_to_measurements=snakemake.output.measurements,
            settings=snakemake.params.settings,
        )
