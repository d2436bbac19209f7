"""Rule bin_masters: the masters of a focal plane in small, for pictures."""

from collections.abc import Sequence

from ztfpsf.calibration.binned import bin_ccds, write_binned
from ztfpsf.io import make_provenance, read_json
from ztfpsf.jobs import job


def bin_masters(
    *,
    paths_to_masters: Sequence[str],
    path_to_focal_plane: str,
    path_to_binned: str,
    ccdids: Sequence[int],
    kind: str,
) -> None:
    """Bin the masters of `ccdids`; `path_to_focal_plane` of flats is their normalisation, or ""."""
    scales = {}
    if path_to_focal_plane:
        ccds = read_json(path_to_focal_plane, "normalise_flats")["ccds"]
        scales = {int(ccdid): record["scale"] for ccdid, record in ccds.items()}
    binned = bin_ccds(paths_to_masters, kind, ccdids, scales)
    provenance = make_provenance(paths_to_masters, {"kind": kind})
    write_binned(binned, path_to_binned, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        bin_masters(
            paths_to_masters=snakemake.input.masters,
            path_to_focal_plane=snakemake.input.get("focal_plane", ""),
            path_to_binned=snakemake.output.binned,
            ccdids=snakemake.params.ccdids,
            kind=snakemake.wildcards.kind,
        )
