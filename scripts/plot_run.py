"""Rule plot_run: pictures and pages of a whole run, drawn from its tables."""

from ztfpsf.io import read_table, write_text
from ztfpsf.jobs import job
from ztfpsf.overview.page import make_page
from ztfpsf.overview.statuses import STATUS_FORMATS, TIMING_FORMATS, describe_run, sort_images
from ztfpsf.overview.timing import make_timing_table
from ztfpsf.plots.focal_plane import WHISKERS, Map, draw_maps
from ztfpsf.plots.night import draw_night
from ztfpsf.plots.pocket_run import draw_capacities
from ztfpsf.plots.selection import draw_selection
from ztfpsf.plots.style import draw_picture

STARS = (
    Map("n_fitted", "stars fitted"),
    Map("depth_mag", "depth, 5 $\\sigma$ (mag)"),
)
PSF = (
    Map("seeing_arcsec", "FWHM (arcsec)"),
    Map(WHISKERS, "ellipticity of the stars"),
    Map("chi2_per_dof", "$\\chi^2$ per degree of freedom"),
    Map("misfit", "error of the model, relative to the star"),
)


def plot_run(
    *,
    path_to_images: str,
    path_to_fits: str,
    path_to_night: str,
    path_to_selection: str,
    path_to_stars: str,
    path_to_psf: str,
    path_to_pockets: str,
    path_to_statuses: str,
    path_to_timing: str,
    fit: str,
) -> None:
    """Pictures in the format of their suffix, pages as HTML. `fit`: model and optimiser shown."""
    images, fits = (
        read_table(path, "summarise_run", ["image"]) for path in (path_to_images, path_to_fits)
    )
    title = f"{describe_run(images)}, {fit}"
    quadrants = images.groupby(["ccdid", "qid"]).median(numeric_only=True).reset_index()
    draw_picture(path_to_night, draw_night, images, title)
    draw_picture(path_to_selection, draw_selection, images, title)
    draw_picture(path_to_pockets, draw_capacities, images, title)
    for path, maps in ((path_to_stars, STARS), (path_to_psf, PSF)):
        draw_picture(path, draw_maps, quadrants, maps, f"{title}: medians of the images")
    text = "Failed images first, then bad, usable and good ones."
    statuses = make_page(sort_images(images), STATUS_FORMATS, f"Images of {title}", text)
    write_text(statuses, path_to_statuses)
    text = (
        "Medians over the images, and sums (s). Seconds are those of the optimiser; compilation "
        "is apart, and short where compiled code is on disk."
    )
    timing = make_page(make_timing_table(fits), TIMING_FORMATS, "Time of the fits", text)
    write_text(timing, path_to_timing)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        plot_run(
            path_to_images=snakemake.input.images,
            path_to_fits=snakemake.input.fits,
            path_to_night=snakemake.output.night,
            path_to_selection=snakemake.output.selection,
            path_to_stars=snakemake.output.stars,
            path_to_psf=snakemake.output.psf,
            path_to_pockets=snakemake.output.pockets,
            path_to_statuses=snakemake.output.statuses,
            path_to_timing=snakemake.output.timing,
            fit=snakemake.params.fit,
        )
