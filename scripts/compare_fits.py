"""Rule compare_fits: all fits of a unit side by side, from their tables."""

from collections.abc import Mapping, Sequence

from ztfpsf.compare.fits import Fit
from ztfpsf.compare.parameters import find_bins, make_parameters, to_csv, to_markdown
from ztfpsf.compare.summary import make_summary
from ztfpsf.io import read_table, write_text
from ztfpsf.jobs import job
from ztfpsf.plots.loss import draw_loss
from ztfpsf.plots.style import draw_picture


def compare_fits(
    *,
    paths_to_stars: Sequence[str],
    paths_to_images: Sequence[str],
    paths_to_history: Sequence[str],
    path_to_table: str,
    path_to_markdown: str,
    path_to_loss: str,
    path_to_summary: str,
    unit: str,
    fits: Sequence[Mapping[str, str]],
) -> None:
    """Write the table of parameters, the picture of the losses and the summary of a unit.

    `fits`: model and optimiser of each fit; the paths are in the same order.
    """
    paths = zip(paths_to_stars, paths_to_images, paths_to_history, strict=True)
    tables = [
        Fit(fit["model"], fit["optimiser"], *(read_table(path, "fit_psf") for path in three))
        for fit, three in zip(fits, paths, strict=True)
    ]
    parameters = make_parameters(tables)
    draw_picture(path_to_loss, draw_loss, tables, unit)
    write_text(to_csv(parameters), path_to_table)
    write_text(to_markdown(parameters, find_bins(tables), unit), path_to_markdown)
    write_text(make_summary(tables, unit), path_to_summary)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        compare_fits(
            paths_to_stars=snakemake.input.stars,
            paths_to_images=snakemake.input.images,
            paths_to_history=snakemake.input.history,
            path_to_table=snakemake.output.table,
            path_to_markdown=snakemake.output.markdown,
            path_to_loss=snakemake.output.loss,
            path_to_summary=snakemake.output.summary,
            unit=snakemake.wildcards.unit,
            fits=snakemake.params.fits,
        )
