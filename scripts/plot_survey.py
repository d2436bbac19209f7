"""Rule plot_survey: pictures of a solved survey."""

import numpy as np
from ztfpsf.fits_files import damage_named
from ztfpsf.io import make_again, open_product, read_json, read_table
from ztfpsf.jobs import job
from ztfpsf.plots.style import draw_picture
from ztfpsf.plots.survey import draw_fields, draw_residuals, draw_star_flat, draw_zero_points

RULE = "solve_survey"


def plot_survey(
    *,
    path_to_zero_points: str,
    path_to_stars: str,
    path_to_star_flat: str,
    path_to_fields: str,
    path_to_record: str,
    path_to_zero_point_picture: str,
    path_to_star_flat_picture: str,
    path_to_residual_picture: str,
    path_to_field_picture: str,
    filtercode: str,
) -> None:
    """Draw zero points, star flat, residuals, and fields with their weak modes."""
    zero_points = read_table(path_to_zero_points, RULE)
    stars = read_table(path_to_stars, RULE)
    record = read_json(path_to_record, RULE)
    with (
        open_product(path_to_star_flat, RULE) as hdus,
        damage_named(path_to_star_flat, make_again(RULE)),
    ):
        flat, error, residual = (
            np.asarray(hdus[name].data, float) for name in ("STARFLAT", "ERROR", "RESIDUAL")
        )
    draw_picture(path_to_zero_point_picture, draw_zero_points, zero_points, filtercode)
    draw_picture(path_to_star_flat_picture, draw_star_flat, flat[-1], error[-1], filtercode)
    draw_picture(path_to_residual_picture, draw_residuals, residual, stars, record, filtercode)
    fields = read_table(path_to_fields, RULE)
    draw_picture(path_to_field_picture, draw_fields, fields, record, filtercode)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        plot_survey(
            path_to_zero_points=snakemake.input.zero_points,
            path_to_stars=snakemake.input.stars,
            path_to_star_flat=snakemake.input.star_flat,
            path_to_fields=snakemake.input.fields,
            path_to_record=snakemake.input.record,
            path_to_zero_point_picture=snakemake.output.zeropoints,
            path_to_star_flat_picture=snakemake.output.starflat,
            path_to_residual_picture=snakemake.output.residuals,
            path_to_field_picture=snakemake.output.fields,
            filtercode=snakemake.wildcards.filtercode,
        )
