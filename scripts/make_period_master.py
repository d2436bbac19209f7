"""Rule make_period_master: the master bias or flat of a CCD over several nights."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ztfpsf.calibration.period import Period, make_period
from ztfpsf.jobs import job

logger = logging.getLogger("ztfpsf")


def make_period_master(
    *,
    paths_to_masters: Sequence[str],
    path_to_master: str,
    period: str,
    kind: str,
    ccdid: int,
    settings: Mapping[str, Any],
) -> None:
    """Combine the daily masters of a CCD, `kind` bias or flat, of a period YYYYMMDD-YYYYMMDD."""
    wanted = Period(period, kind, ccdid)
    statuses = make_period(paths_to_masters, path_to_master, wanted, dict(settings))
    for quadrant, status in statuses.items():
        logger.info("%s: %s", quadrant, status)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        make_period_master(
            paths_to_masters=snakemake.input.masters,
            path_to_master=snakemake.output.master,
            period=snakemake.wildcards.period,
            kind=snakemake.wildcards.kind,
            ccdid=int(snakemake.wildcards.ccdid),
            settings=snakemake.params.settings,
        )
