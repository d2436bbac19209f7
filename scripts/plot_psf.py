"""Rule plot_psf: pictures of one fit, drawn from its tables and its PSF; nothing is fitted."""

import pandas as pd
from ztfpsf.io import read_provenance
from ztfpsf.jobs import job
from ztfpsf.plots.chi2 import draw_chi2
from ztfpsf.plots.psf_figure import draw_psf
from ztfpsf.plots.residuals import draw_residuals
from ztfpsf.plots.star_figure import draw_star
from ztfpsf.plots.style import make_text_figure, save, styled
from ztfpsf.psf.device import configure
from ztfpsf.psf.product import load_psf
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
    unit: str,
    model: str,
    optimiser: str,
    stars_per_bin: int,
) -> None:
    """Residuals, chi2 against magnitude, one star and the PSF, in the format of their suffixes."""
    stars = measured(pd.read_parquet(path_to_stars))
    good = usable(stars)
    title = f"{unit}, {model}, {optimiser}"
    drawn_title = title + describe_shape(path_to_stars)
    with styled():
        if good.empty:
            text = f"{title}\n{explain(pd.read_parquet(path_to_images))}"
            for path in (path_to_residuals, path_to_chi2, path_to_star, path_to_picture):
                save(make_text_figure(text), path)
            return
        # A few hundred stamps: a GPU is not worth waiting for.
        configure("cpu")
        stamps = read_stamps(path_to_stamps)
        residuals = draw_residuals(stamps, good, path_to_psf, stars_per_bin, drawn_title)
        save(residuals, path_to_residuals)
        save(draw_star(stamps, good, path_to_psf, drawn_title), path_to_star)
        save(draw_chi2(stars, title), path_to_chi2)
        image = good["image"].iloc[0]
        save(
            draw_psf(load_psf(path_to_psf, image), f"{image}, {model}, {optimiser}"),
            path_to_picture,
        )


def explain(images: pd.DataFrame) -> str:
    """Why there is nothing to draw."""
    reasons = images["status"].unique()
    return "No star was fitted. " + " ".join(str(reason) for reason in reasons[:3])


def describe_shape(path_to_stars: str) -> str:
    """What is drawn, where it is not what was fitted."""
    if read_provenance(path_to_stars)["settings"].get("shape") != "per_star":
        return ""
    return " (PSF of the image, not each star's own shape)"


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
            unit=snakemake.wildcards.unit,
            model=snakemake.wildcards.model,
            optimiser=snakemake.wildcards.optimiser,
            stars_per_bin=snakemake.params.settings["stars_per_bin"],
        )
