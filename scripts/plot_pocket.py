"""Rule plot_pocket: the laws of the pocket of a unit's quadrants, and what they are known by."""

from ztfpsf.io import read_table
from ztfpsf.jobs import job
from ztfpsf.plots.pocket import draw_pocket
from ztfpsf.plots.style import draw_picture
from ztfpsf.pocket.table import DROPS, RULE


def plot_pocket(*, path_to_pocket: str, path_to_picture: str, unit: str) -> None:
    """Draw the table of a unit."""
    table = read_table(path_to_pocket, RULE, ["image", "law", *DROPS])
    draw_picture(path_to_picture, draw_pocket, table, unit)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        plot_pocket(
            path_to_pocket=snakemake.input.pocket,
            path_to_picture=snakemake.output.picture,
            unit=snakemake.wildcards.unit,
        )
