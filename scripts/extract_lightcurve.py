"""Rule extract_lightcurve: a target and the stars around it, in every exposure that sees it."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from ztfpsf.io import make_provenance, write_json, write_table
from ztfpsf.jobs import job
from ztfpsf.lightcurve.calibration import CATALOGUE, SURVEY, find_zero_point, take_survey
from ztfpsf.lightcurve.files import write_covariance, write_host
from ztfpsf.lightcurve.fit import fit_scenes
from ztfpsf.lightcurve.flags import BITS, Limits
from ztfpsf.lightcurve.observation import Observation, Paths, find_stars, observe
from ztfpsf.lightcurve.scene import Scene, SceneSettings
from ztfpsf.lightcurve.sights import Sights
from ztfpsf.lightcurve.tables import (
    describe_star,
    finish_rows,
    make_empty_stars,
    make_record,
    make_rows,
)
from ztfpsf.psf.device import configure

logger = logging.getLogger("ztfpsf")

# A star has no host to weight its pixels; its place and motion are known by all exposures.
OF_STARS = {
    "host_radius_px": 0.0,
    "position_error_arcsec": 0.05,
    "motion_error_arcsec_yr": 0.02,
    "n_rounds": 2,
}


def extract_lightcurve(
    *,
    paths: Paths,
    path_to_lightcurve: str,
    path_to_covariance: str,
    path_to_host: str,
    path_to_stars: str,
    path_to_star_curves: str,
    path_to_record: str,
    paths_to_survey: Sequence[str],
    target: Mapping[str, Any],
    match_arcsec: float,
    verdicts: Sequence[str],
    settings: Mapping[str, Any],
    device: str,
) -> None:
    """Fit the target with its host, the stars without one, and write the products, the record last.

    `target`: name, ra_deg, dec_deg, mjd_min, mjd_max, colour_mag (None: not known);
    `paths_to_survey`: stars of solve_survey that calibrate; none, those of the reference catalogue.
    Raises InputError where no image holds it.
    """
    configure(device)
    name, scene_settings = target["name"], SceneSettings(**settings["scene"])
    observation, scene, sights = observe(paths, target, match_arcsec, verdicts)
    (curve,) = fit_scenes([scene], scene_settings)
    logger.info(
        "%s: %d of %d exposures fitted", name, np.isfinite(curve.chi2).sum(), len(scene.data)
    )
    rows = make_rows(observation.exposures.table, sights, curve)
    found = fit_stars(observation, paths, target, match_arcsec, settings)
    stars, star_curves = found or (make_empty_stars(), rows.iloc[:0].assign(name=""))
    source = CATALOGUE
    for path in paths_to_survey:
        stars, source = take_survey(stars, path, match_arcsec), SURVEY
        logger.info("%d of %d stars are in %s", stars["reference_mag"].count(), len(stars), path)
    zero_point = find_zero_point(stars, rows, source)
    refraction = observation.groups[0].maps.refraction.arcsec_per_mag
    limits = Limits(**settings["limits"])
    colour = np.nan if target["colour_mag"] is None else target["colour_mag"]
    rows = finish_rows(rows, name, scene.in_baseline, zero_point, limits, refraction, colour)
    record = make_record(name, rows, curve, zero_point, stars)
    logger.info("%s: %s, %s", name, record["verdict"], record["reason"])
    provenance = make_provenance(
        [path for group in paths for path in group], {**settings, "flags": BITS}
    )
    write_covariance(curve, path_to_covariance, provenance)
    write_host(curve, path_to_host, provenance)
    write_table(stars, path_to_stars, provenance)
    write_table(star_curves, path_to_star_curves, provenance)
    write_table(rows, path_to_lightcurve, provenance)
    write_json(record, path_to_record)


def fit_stars(
    observation: Observation,
    paths: Paths,
    target: Mapping[str, Any],
    match_arcsec: float,
    settings: Mapping[str, Any],
) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """One row for each star around the target; one for each star and exposure; None of no star."""
    found, scenes = find_stars(observation, paths, target, settings["n_stars"], match_arcsec)
    sights: list[Sights] = []

    def take_scenes() -> Iterator[Scene]:
        for scene, seen in scenes:
            sights.append(seen)
            yield scene

    of_stars = SceneSettings(**{**settings["scene"], **OF_STARS})
    table, rows, curves = observation.exposures.table, [], []
    start = time.monotonic()
    for number, curve in enumerate(fit_scenes(take_scenes(), of_stars)):
        of_star = make_rows(table, sights[number], curve).drop(columns=["host_adu"])
        rows.append(describe_star(found.iloc[number], of_star))
        curves.append(of_star.assign(name=curve.name))
        left_s = (time.monotonic() - start) / (number + 1) * (len(found) - number - 1)
        logger.info("%d of %d stars, %.0f s left", number + 1, len(found), left_s)
    return (pd.DataFrame(rows), pd.concat(curves, ignore_index=True)) if rows else None


if __name__ == "__main__":
    with job(snakemake.log[0]):
        extract_lightcurve(
            paths=Paths(**{name: snakemake.input[name] for name in Paths._fields}),
            path_to_lightcurve=snakemake.output.lightcurve,
            path_to_covariance=snakemake.output.covariance,
            path_to_host=snakemake.output.host,
            path_to_stars=snakemake.output.stars,
            path_to_star_curves=snakemake.output.star_curves,
            path_to_record=snakemake.output.record,
            paths_to_survey=snakemake.params.survey,
            target=snakemake.params.target,
            match_arcsec=snakemake.params.match_arcsec,
            verdicts=snakemake.params.verdicts,
            settings=snakemake.params.settings,
            device=snakemake.params.device,
        )
