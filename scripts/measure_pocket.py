"""Rule measure_pocket: how much charge the serial register of each image's quadrant holds back."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from ztfpsf.calibration.orientation import read_direction
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, write_table
from ztfpsf.jobs import for_each_image, job
from ztfpsf.names import QuadrantName, parse_quadrant
from ztfpsf.pocket.edge import Edge, measure_edge
from ztfpsf.pocket.flat import NO_FLAT, draw_flat, measure_flat
from ztfpsf.pocket.table import make_row, no_law, read_laws
from ztfpsf.pocket.unit import MEASURE, PocketSettings, Readable, find_laws
from ztfpsf.psf.device import configure
from ztfpsf.psf.inputs.image import take_image
from ztfpsf.stamps import open_stamps
from ztfpsf.stars.images import ScienceImage, read_science_image

logger = logging.getLogger("ztfpsf")


def find_edge(
    science: ScienceImage, name: QuadrantName, quadrant_shape: tuple[int, ...]
) -> tuple[np.ndarray, Edge | None, str]:
    """The flat of an image, the columns that are read first, and why there are none."""
    ny, nx = science.data.shape
    if (ny, nx) != quadrant_shape:
        return (
            NO_FLAT,
            None,
            (
                f"{name}: {nx} x {ny} px are no whole quadrant, so the columns that are read first "
                "are not seen: give its law from elsewhere (config key measure_pocket.law)"
            ),
        )
    direction, flat = read_direction(name.qid), measure_flat(science)
    edge = measure_edge(science, direction)
    if edge is not None:
        edge = edge.scaled(float(draw_flat(flat, 0 if direction > 0 else nx - 1, ny / 2, nx, ny)))
    return flat, edge, f"{name}: the columns that are read first are masked or saturated"


def measure_pocket(
    *,
    images: Sequence[str],
    paths_to_sciimg: Sequence[str],
    paths_to_mskimg: Sequence[str],
    path_to_stamps: str,
    path_to_pocket: str,
    settings: Mapping[str, Any],
    quadrant_shape: Sequence[int],
    bad_mask_bits: Sequence[int],
    saturation_fraction: float,
    subtracted_sky: float | str | None,
) -> None:
    """Find the law of every image of a stamps file; an image without one is none, with a reason.

    `quadrant_shape`: (ny, nx) of whole quadrants; only they show the columns that are read first.
    The lists run parallel to `images`; an empty path means no mask.
    """
    # Small arrays: a GPU is not worth waiting for.
    configure("cpu")
    chosen = PocketSettings(**settings)
    laws = read_laws(chosen.law) if chosen.law not in (None, MEASURE) else None
    file = open_stamps(path_to_stamps)
    table = file.images.set_index("image")
    status, rms_adu = table["status"], table["sky_rms_adu"]
    paths = dict(zip(images, zip(paths_to_sciimg, paths_to_mskimg, strict=True), strict=True))

    def read(image: str) -> Readable:
        if status[image] != "ok":
            raise InputError(status[image])
        science = read_science_image(
            *paths[image], bad_mask_bits, saturation_fraction, subtracted_sky
        )
        flat, edge, reason = find_edge(science, parse_quadrant(image), tuple(quadrant_shape))
        is_inverted = science.header.get("POCKET") is True
        stamps = take_image(file.read(image))
        return Readable(stamps, flat, edge, reason, float(rms_adu[image]), is_inverted)

    # An image without a law is no failure.
    wanted = [] if chosen.law is None else images
    readable, failures = for_each_image(wanted, read, 1.0)
    named = {parse_quadrant(image): one for image, one in readable.items()}
    found = find_laws(named, laws, chosen)
    rows = []
    for image in images:
        name = parse_quadrant(image)
        law = found.get(name) or no_law(failures.get(image, "the configuration asks for none"))
        rows.append(make_row(name, law, named[name].edge if name in named else None))
        said = f"{law.source}, {law.reason}" if law.reason else law.source
        logger.info("%s: law of the pocket: %s", image, said)
    provenance = make_provenance([path_to_stamps], {**settings})
    write_table(pd.DataFrame(rows), path_to_pocket, provenance)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        measure_pocket(
            images=snakemake.params.images,
            paths_to_sciimg=snakemake.params.sciimg,
            paths_to_mskimg=snakemake.params.mskimg,
            path_to_stamps=snakemake.input.stamps,
            path_to_pocket=snakemake.output.pocket,
            settings=snakemake.params.settings,
            quadrant_shape=snakemake.params.quadrant_shape,
            bad_mask_bits=snakemake.params.bad_mask_bits,
            saturation_fraction=snakemake.params.saturation_fraction,
            subtracted_sky=snakemake.params.subtracted_sky,
        )
