"""Rule calibrate_science: raw frame of a CCD to the science images of its four quadrants."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from ztfpsf.calibration.calibrate import Ccd, ProductPaths, calibrate_ccd
from ztfpsf.calibration.normalisation import read_scale
from ztfpsf.calibration.products import open_master
from ztfpsf.calibration.raw import open_raw
from ztfpsf.calibration.science import Masters
from ztfpsf.calibration.settings import make_detector, make_science
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, write_json
from ztfpsf.jobs import job
from ztfpsf.names import RawName
from ztfpsf.star_flat import read_star_flat

logger = logging.getLogger("ztfpsf")


def calibrate_science(
    *,
    path_to_raw: str,
    path_to_bias: str,
    path_to_flat: str,
    path_to_focal_plane: str,
    paths_to_ipac: Sequence[str],
    paths_to_sciimg: Sequence[str],
    paths_to_varimg: Sequence[str],
    paths_to_mskimg: Sequence[str],
    path_to_status: str,
    detector: Mapping[str, Any],
    settings: Mapping[str, Any],
    missing: str,
) -> None:
    """Calibrate the quadrants of a CCD; the product lists run from quadrant 1 to 4.

    `paths_to_ipac` are sciimg or header (for the world coordinates) and mskimg files of IPAC, any
    number of them, recognised by name. A quadrant that fails is written as NaN, all masked, with
    the reason in STATUS and in the status file; the job fails when all four do, or when masters
    are `missing`, which is a sentence then.
    """
    if missing:
        raise InputError(f"{path_to_raw}: {missing}")
    detector_settings = make_detector(detector)
    inputs = [path_to_raw, path_to_bias, path_to_flat, path_to_focal_plane, *paths_to_ipac]
    record = {"detector": dict(detector), "calibrate_science": dict(settings)}
    with ExitStack() as stack:
        raw = stack.enter_context(open_raw(path_to_raw, detector_settings.quadrant_shape))
        bias = stack.enter_context(open_master(path_to_bias, "bias", raw.name.ccdid))
        flat = stack.enter_context(open_master(path_to_flat, "flat", raw.name.ccdid))
        night = flat.primary()["NIGHT"]
        scale = read_scale(path_to_focal_plane, night, raw.name.filtercode, raw.name.ccdid)
        ccd = Ccd(
            raw,
            Masters(bias, flat, scale, read_response(settings["star_flat"], raw.name)),
            list(paths_to_ipac),
            detector_settings,
            make_science(settings),
            settings["compress"],
            make_provenance(inputs, record),
        )
        products = zip(paths_to_sciimg, paths_to_varimg, paths_to_mskimg, strict=True)
        statuses = calibrate_ccd(ccd, [ProductPaths(*paths) for paths in products])
    for image, status in statuses.items():
        logger.info("%s: %s", image, status)
    write_json({image: {"status": status} for image, status in statuses.items()}, path_to_status)


def read_response(folder: str | None, name: RawName) -> np.ndarray | None:
    """The star flat of the filter and day of a frame; None without a folder of star flats."""
    if folder is None:
        return None
    return read_star_flat(f"{folder}/{name.filtercode}_starflat.fits", name.quadrant(1).mjd)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        calibrate_science(
            path_to_raw=snakemake.params.raw,
            path_to_bias=snakemake.input.get("bias", ""),
            path_to_flat=snakemake.input.get("flat", ""),
            path_to_focal_plane=snakemake.input.get("focal_plane", ""),
            paths_to_ipac=snakemake.input.ipac,
            paths_to_sciimg=snakemake.output.sciimg,
            paths_to_varimg=snakemake.output.varimg,
            paths_to_mskimg=snakemake.output.mskimg,
            path_to_status=snakemake.output.status,
            detector=snakemake.params.detector,
            settings=snakemake.params.settings,
            missing=snakemake.params.missing,
        )
