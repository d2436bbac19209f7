"""Rule solve_survey: zero points of all exposures, stars and star flat, from a data set."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from ztfpsf.io import make_provenance, write_json, write_table
from ztfpsf.jobs import job
from ztfpsf.star_flat import N_QUADRANTS, write_star_flat
from ztfpsf.survey.errors import find_weak_modes
from ztfpsf.survey.judgement import Robust
from ztfpsf.survey.products import make_fields, make_record, make_zero_points, write_stars
from ztfpsf.survey.residues import sum_residuals
from ztfpsf.survey.solution import Model, Solution, solve_dataset
from ztfpsf.survey.terms import Terms

logger = logging.getLogger("ztfpsf")


def solve_survey(
    *,
    path_to_dataset: str,
    path_to_zero_points: str,
    path_to_stars: str,
    path_to_star_flat: str,
    path_to_fields: str,
    path_to_record: str,
    settings: Mapping[str, Any],
    dask_scheduler: str | None,
    threads: int,
) -> None:
    """Solve the data set and write its products, the record last."""
    model = make_model(settings)
    with make_executor(dask_scheduler, threads) as executor:
        solution = solve_dataset(path_to_dataset, model, executor)
        for note in solution.notes:
            logger.warning("%s", note)
        residues = sum_residuals(solution.fit)
        provenance = make_provenance([path_to_dataset], settings)
        write_stars(solution, path_to_stars, provenance)
    write_table(make_zero_points(solution, residues), path_to_zero_points, provenance)
    modes = find_weak_modes(solution.covariance)
    write_table(make_fields(solution, modes), path_to_fields, provenance)
    flat, error = shape_star_flat(solution)
    weight = residues.superpixel_weight
    residual = np.divide(
        residues.superpixel_residual, weight, where=weight > 0, out=np.full_like(weight, np.nan)
    )
    write_star_flat(path_to_star_flat, flat, error, residual, model.periods_mjd, provenance)
    record = make_record(solution, residues)
    logger.info(
        "%(n_measurements)d measurements, %(n_rejected)d left out, chi2/dof %(chi2_per_dof).3f, "
        "iterations %(iterations)s",
        record,
    )
    write_json(record, path_to_record)


def make_model(settings: Mapping[str, Any]) -> Model:
    """The model of the rule's settings."""
    linearity, zero_point = settings["linearity"], settings["zero_point"]
    terms = Terms(
        zero_point["degree"],
        zero_point["prior_mag"],
        settings["star_flat"]["superpixels"],
        settings["star_flat"]["prior_mag"],
        settings["colour_prior_mag"],
        settings["airmass_prior_mag"],
        tuple(linearity["knots_mag"]),
        linearity["prior_mag"],
    )
    periods = tuple(settings["star_flat"]["periods_mjd"])
    robust = Robust(**settings["robust"])
    return Model(zero_point["unit"], terms, periods, robust, settings["memory_gb"])


def make_executor(dask_scheduler: str | None, threads: int) -> Any:
    """Threads of this job, or the workers of a Dask cluster."""
    if dask_scheduler is None:
        return ThreadPoolExecutor(threads)
    from ztfpsf.psf.dask_cluster import connect

    return connect(dask_scheduler)


def shape_star_flat(solution: Solution) -> tuple[np.ndarray, np.ndarray]:
    """Star flat and its error, (P, 64, n, n) mag; 0 and NaN where none is fitted."""
    layout = solution.units.layout
    shape = (layout.n_periods, N_QUADRANTS, layout.terms.superpixels, layout.terms.superpixels)
    flat = layout.split(solution.fit.unknowns)[1].star_flat
    if not len(flat):
        return np.zeros(shape), np.full(shape, np.nan)
    return flat.reshape(shape), solution.covariance.common[: len(flat)].reshape(shape)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        solve_survey(
            path_to_dataset=snakemake.params.dataset,
            path_to_zero_points=snakemake.output.zero_points,
            path_to_stars=snakemake.output.stars,
            path_to_star_flat=snakemake.output.star_flat,
            path_to_fields=snakemake.output.fields,
            path_to_record=snakemake.output.record,
            settings=snakemake.params.settings,
            dask_scheduler=snakemake.params.dask_scheduler,
            threads=snakemake.threads,
        )
