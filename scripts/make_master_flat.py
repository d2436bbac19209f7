"""Rule make_master_flat: the flat of a CCD and filter from the dome flats of a night."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ztfpsf.calibration.flat import FlatSettings, Response, make_flat
from ztfpsf.calibration.frames import Wanted
from ztfpsf.calibration.masters import Combination
from ztfpsf.calibration.settings import make_detector
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
) -> None:
    """Combine the flats of a CCD; a quadrant that cannot be made says why in its header."""
    flat_settings = FlatSettings(
        Combination(
            settings["min_frames"],
            settings["clip_sigma"],
            settings["max_outlier_fraction"],
            make_detector(detector),
        ),
        Response(**settings["response"]),
        {int(led): weight for led, weight in (settings["led_weights"] or {}).items()},
    )
    statuses = make_flat(
        paths_to_frames,
        path_to_bias,
        path_to_flat,
        Wanted(night, ccdid, "f", filtercode),
        flat_settings,
        {"detector": dict(detector), "make_master_flat": dict(settings)},
    )
    for quadrant, status in statuses.items():
        logger.info("%s: %s", quadrant, status)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        make_master_flat(
            paths_to_frames=snakemake.input.frames,
            path_to_bias=snakemake.input.bias,
            path_to_flat=snakemake.output.flat,
            night=snakemake.wildcards.night,
            filtercode=snakemake.wildcards.filtercode,
            ccdid=int(snakemake.wildcards.ccdid),
            detector=snakemake.params.detector,
            settings=snakemake.params.settings,
        )
