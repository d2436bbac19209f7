"""Rule fit_maps: where the sky is on each exposure of a group, by its stars."""

import logging

import numpy as np
from ztfpsf.group.maps import OK, fit_group
from ztfpsf.group.places import find_centre, find_places
from ztfpsf.group.tables import make_maps_table
from ztfpsf.io import make_provenance, read_table, write_table
from ztfpsf.jobs import job

logger = logging.getLogger("ztfpsf")
RULE = "match_stars"


def fit_maps(
    *, path_to_exposures: str, path_to_stars: str, path_to_measurements: str, path_to_maps: str
) -> None:
    """Fit the maps of all exposures of a group, twice where stars show chromatic refraction."""
    exposures = read_table(path_to_exposures, RULE)
    stars = read_table(path_to_stars, RULE)
    measured = read_table(path_to_measurements, RULE)
    of_exposure = exposures.loc[measured["exposure"], ["mjd", "airmass", "parallactic_deg"]]
    measured = measured.join(of_exposure.reset_index(drop=True))
    of_star = stars.set_index("star_id").loc[measured["star_id"]].reset_index(drop=True)
    centre = find_centre(stars)
    plane = find_places(of_star, measured["mjd"].to_numpy(), centre)
    found = fit_group(measured, plane, of_star["colour_mag"].to_numpy(), centre, len(exposures))
    good = [one for one in found.maps if one.status == OK]
    logger.info(
        "%d of %d exposures have a map, degrees %s, scatter %.3f px; refraction %+.4f +- %.4f "
        "arcsec/mag",
        len(good),
        len(exposures),
        sorted({one.degree for one in good}),
        float(np.median([one.rms_px for one in good])) if good else np.nan,
        found.refraction.arcsec_per_mag,
        found.refraction.error,
    )
    provenance = make_provenance([path_to_measurements], {})
    write_table(make_maps_table(exposures["image"], found), path_to_maps, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        fit_maps(
            path_to_exposures=snakemake.input.exposures,
            path_to_stars=snakemake.input.stars,
            path_to_measurements=snakemake.input.measurements,
            path_to_maps=snakemake.output.maps,
        )
