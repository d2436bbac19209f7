"""Rule normalise_flats: the scale of each CCD's flat on the focal plane, of a night and filter."""

import logging
from collections.abc import Sequence

from ztfpsf.calibration.normalisation import normalise
from ztfpsf.io import make_provenance, write_json
from ztfpsf.jobs import job

logger = logging.getLogger("ztfpsf")


def normalise_flats(
    *,
    paths_to_flats: Sequence[str],
    path_to_focal_plane: str,
    ccdids: Sequence[int],
    min_ccds: int,
) -> None:
    """Write the normalisation of the flats of `ccdids` beside them, as JSON."""
    record = normalise(paths_to_flats, ccdids, min_ccds)
    logger.info("median signal of %d CCDs: %.2f ADU", record["n_ccds"], record["norm_adu"])
    provenance = make_provenance(paths_to_flats, {"min_ccds": min_ccds})
    write_json({**record, "provenance": provenance}, path_to_focal_plane)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        normalise_flats(
            paths_to_flats=snakemake.input.flats,
            path_to_focal_plane=snakemake.output.focal_plane,
            ccdids=snakemake.params.ccdids,
            min_ccds=snakemake.params.min_ccds,
        )
