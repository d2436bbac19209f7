"""Rule make_master_flat: the flat of a CCD and filter from the dome flats of a night."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ztfpsf.calibration.failed import failure_written
from ztfpsf.calibration.flat import failed_flat_cards, make_flat
from ztfpsf.calibration.frames import Wanted, require_frames
from ztfpsf.calibration.settings import make_flat_settings
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance
from ztfpsf.jobs import job

logger = logging.getLogger("ztfpsf")


def make_master_flat(
    *,
    paths_to_frames: Sequence[str],
    path_to_bias: str,
    path_to_flat: str,
    night: str,
    filtercode: str,
    ccdid: int,
    detector: Mapping[str, Any],
    settings: Mapping[str, Any],
    missing: str,
) -> None:
    """Combine the flats of a CCD; a quadrant that cannot be made says why in its header.

    So do all four when no frame can be used, or the master bias is `missing`, which is a sentence
    then. Raises InputError when no frame is given.
    """
    wanted = Wanted(night, ccdid, "f", filtercode)
    require_frames(len(paths_to_frames), 1, wanted, {})
    flat_settings = make_flat_settings(settings, detector)
    record = {"detector": dict(detector), "make_master_flat": dict(settings)}
    with failure_written(
        path_to_flat,
        failed_flat_cards(wanted, flat_settings),
        flat_settings.combination.detector.quadrant_shape,
        make_provenance([path_to_bias, *paths_to_frames], record),
    ):
        if missing:
            raise InputError(missing)
        statuses = make_flat(
            paths_to_frames, path_to_bias, path_to_flat, wanted, flat_settings, record
        )
        for quadrant, status in statuses.items():
            logger.info("%s: %s", quadrant, status)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        make_master_flat(
            paths_to_frames=snakemake.params.frames,
            path_to_bias=snakemake.input.get("bias", ""),
            path_to_flat=snakemake.output.flat,
            night=snakemake.wildcards.night,
            filtercode=snakemake.wildcards.filtercode,
            ccdid=int(snakemake.wildcards.ccdid),
            detector=snakemake.params.detector,
            settings=snakemake.params.settings,
            missing=snakemake.params.missing,
        )
