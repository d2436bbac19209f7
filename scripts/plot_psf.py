"""Rule plot_psf: pictures of one fit, drawn from its tables and its PSF; nothing is fitted."""

from ztfpsf.io import read_provenance, read_table
from ztfpsf.jobs import job
from ztfpsf.plots.chi2 import draw_chi2
from ztfpsf.plots.choice import explain_no_star, name_drawn
from ztfpsf.plots.pocket_stars import draw_pocket_stars
from ztfpsf.plots.psf_figure import draw_psf
from ztfpsf.plots.residuals import draw_residuals
from ztfpsf.plots.star_figure import draw_star
from ztfpsf.plots.style import draw_picture, make_text_figure
from ztfpsf.psf import load_psf
from ztfpsf.psf.device import configure
from ztfpsf.quality import measured, usable
from ztfpsf.stamps import read_stamps


def plot_psf(
    *,
    path_to_stamps: str,
    path_to_stars: str,
    path_to_images: str,
    path_to_psf: str,
    path_to_residuals: str,
    path_to_chi2: str,
    path_to_star: str,
    path_to_picture: str,
    path_to_pocket: str,
    unit: str,
    model: str,
    optimiser: str,
    stars_per_bin: int,
) -> None:
    """Residuals, chi2 and the pocket against magnitude, one star, the PSF; format by suffix."""
    stars = measured(read_table(path_to_stars, "fit_psf", ["image"]))
    good = usable(stars)
    title = f"{unit}, {model}, {optimiser}"
    if good.empty:
        text = f"{title}\n{explain_no_star(read_table(path_to_images, 'fit_psf', ['status']))}"
        pictures = (path_to_residuals, path_to_chi2, path_to_star, path_to_picture, path_to_pocket)
        for path in pictures:
            draw_picture(path, make_text_figure, text)
        return
    # A few hundred stamps: a GPU is not worth waiting for.
    configure("cpu")
    stamps = read_stamps(path_to_stamps)
    drawn_title = title + name_drawn(read_provenance(path_to_stars)["settings"])
    residuals = (stamps, good, path_to_psf, stars_per_bin, drawn_title)
    draw_picture(path_to_residuals, draw_residuals, *residuals)
    draw_picture(path_to_star, draw_star, stamps, good, path_to_psf, drawn_title)
    draw_picture(path_to_pocket, draw_pocket_stars, stamps, good, path_to_psf, drawn_title)
    draw_picture(path_to_chi2, draw_chi2, stars, title)
    image = good["image"].iloc[0]
    psf = load_psf(path_to_psf, image)
    draw_picture(path_to_picture, draw_psf, psf, f"{image}, {model}, {optimiser}")


if __name__ == "__main__":
    with job(snakemake.log[0]):
        plot_psf(
            path_to_stamps=snakemake.input.stamps,
            path_to_stars=snakemake.input.stars,
            path_to_images=snakemake.input.images,
            path_to_psf=snakemake.input.psf,
            path_to_residuals=snakemake.output.residuals,
            path_to_chi2=snakemake.output.chi2,
            path_to_star=snakemake.output.star,
            path_to_picture=snakemake.output.psf,
            path_to_pocket=snakemake.output.pocket,
            unit=snakemake.wildcards.unit,
            model=snakemake.wildcards.model,
            optimiser=snakemake.wildcards.optimiser,
            stars_per_bin=snakemake.params.settings["stars_per_bin"],
        )
