"""Rule make_master_bias: the bias of a CCD from the bias frames of a night."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ztfpsf.calibration.failed import failure_written
from ztfpsf.calibration.frames import Wanted, require_frames
from ztfpsf.calibration.masters import make_bias, master_cards
from ztfpsf.calibration.settings import make_combination
from ztfpsf.io import make_provenance
from ztfpsf.jobs import job

logger = logging.getLogger("ztfpsf")


def make_master_bias(
    *,
    paths_to_frames: Sequence[str],
    path_to_bias: str,
    night: str,
    ccdid: int,
    detector: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Combine the bias frames of a CCD; a quadrant that cannot be made says why in its header.

    So do all four when no frame can be used. Raises InputError when no frame is given.
    """
    wanted = Wanted(night, ccdid, "b", "bi")
    require_frames(len(paths_to_frames), 1, wanted, {})
    combination = make_combination(settings, detector)
    record = {"detector": dict(detector), "make_master_bias": dict(settings)}
    with failure_written(
        path_to_bias,
        master_cards(wanted, "bias", combination),
        combination.detector.quadrant_shape,
        make_provenance(paths_to_frames, record),
    ):
        statuses = make_bias(
            paths_to_frames,
            path_to_bias,
            wanted,
            settings["n_skip"],
            settings["hot_sigma"],
            combination,
            record,
        )
        for quadrant, status in statuses.items():
            logger.info("%s: %s", quadrant, status)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        make_master_bias(
            paths_to_frames=snakemake.params.frames,
            path_to_bias=snakemake.output.bias,
            night=snakemake.wildcards.night,
            ccdid=int(snakemake.wildcards.ccdid),
            detector=snakemake.params.detector,
            settings=snakemake.params.settings,
        )
