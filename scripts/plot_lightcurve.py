"""Rule plot_lightcurve: a light curve with the stars around it, its host and what is left over."""

from ztfpsf.io import read_json, read_table
from ztfpsf.jobs import job
from ztfpsf.lightcurve.files import read_host
from ztfpsf.plots.lightcurve import draw_lightcurve
from ztfpsf.plots.style import draw_picture

RULE = "extract_lightcurve"


def plot_lightcurve(
    *,
    path_to_lightcurve: str,
    path_to_host: str,
    path_to_stars: str,
    path_to_star_curves: str,
    path_to_record: str,
    path_to_picture: str,
) -> None:
    """Draw all that extract_lightcurve says of one target."""
    draw_picture(
        path_to_picture,
        draw_lightcurve,
        read_table(path_to_lightcurve, RULE),
        read_host(path_to_host),
        read_table(path_to_stars, RULE),
        read_table(path_to_star_curves, RULE),
        read_json(path_to_record, RULE),
    )


if __name__ == "__main__":
    with job(snakemake.log[0]):
        plot_lightcurve(
            path_to_lightcurve=snakemake.input.lightcurve,
            path_to_host=snakemake.input.host,
            path_to_stars=snakemake.input.stars,
            path_to_star_curves=snakemake.input.star_curves,
            path_to_record=snakemake.input.record,
            path_to_picture=snakemake.output.picture,
        )
