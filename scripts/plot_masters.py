"""Rule plot_masters: master frames of a night on the focal plane, and those of the night before."""

from ztfpsf.calibration.binned import read_binned
from ztfpsf.jobs import job
from ztfpsf.plots.masters import Night, draw_masters
from ztfpsf.plots.style import draw_picture


def plot_masters(
    *,
    path_to_binned: str,
    path_to_earlier: str,
    path_to_picture: str,
    nights: str,
    earlier: str,
    filtercode: str,
    kind: str,
) -> None:
    """Draw the masters of `nights` and what changed since `earlier`, if there is such a night."""
    before = Night(earlier, read_binned(path_to_earlier)) if earlier else None
    light = "" if kind == "bias" else f"{filtercode} "
    night = Night(nights, read_binned(path_to_binned))
    title = f"{light}{kind} of {nights}"
    draw_picture(path_to_picture, draw_masters, night, before, kind, title)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        plot_masters(
            path_to_binned=snakemake.input.binned,
            path_to_earlier=snakemake.input.get("earlier", ""),
            path_to_picture=snakemake.output.picture,
            nights=snakemake.wildcards.nights,
            earlier=snakemake.params.earlier,
            filtercode=snakemake.wildcards.filtercode,
            kind=snakemake.wildcards.kind,
        )
