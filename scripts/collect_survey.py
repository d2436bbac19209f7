"""Rule collect_survey: measurements of all images of a filter, sorted by star, in a data set."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, read_provenance, read_table, write_json
from ztfpsf.jobs import job
from ztfpsf.names import parse_quadrant
from ztfpsf.survey.collection import Image, add_images, read_images
from ztfpsf.survey.cuts import Cuts, add_flags, cut_image
from ztfpsf.survey.reference import read_reference

logger = logging.getLogger("ztfpsf")

MAX_ROWS = 5_000_000  # measurements that are added at a time, 1 GB


def collect_survey(
    *,
    paths_to_photometry: Sequence[str],
    paths_to_verdicts: Sequence[str],
    path_to_dataset: str,
    path_to_record: str,
    filtercode: str,
    settings: Mapping[str, Any],
) -> None:
    """Add the images of a filter to the data set; those that are in it as they are stay untouched.

    The lists run parallel, one file each for every unit.
    """
    cuts = Cuts(
        tuple(settings["verdicts"]),
        tuple(settings["reject_flags"]),
        settings["min_snr"],
        settings["max_neighbours"],
    )
    names = dict(settings["reference"])
    radius = settings["match_arcsec"]
    reference = read_reference(names.pop("path"), names, radius)
    provenance = make_provenance(paths_to_photometry, settings)
    totals: Counter[str] = Counter()
    for images in batch_images(paths_to_photometry, paths_to_verdicts, filtercode, cuts):
        added = add_images(path_to_dataset, images, reference, radius, provenance)
        for image in images:
            totals.update(image.counts)
        logger.info("%d images, %d of them new or changed", len(images), len(added))
    if not totals["n_kept"]:
        counts = ", ".join(f"{name} {n}" for name, n in totals.items())
        raise InputError(
            f"no measurement of {len(paths_to_photometry)} photometry tables passes the cuts of "
            f"collect_survey ({counts or 'no image of ' + filtercode}); widen them."
        )
    n_images = len(read_images(path_to_dataset))
    logger.info("%d images in %s", n_images, path_to_dataset)
    write_json({"dataset": path_to_dataset, "n_images": n_images, **totals}, path_to_record)


def batch_images(
    paths_to_photometry: Sequence[str],
    paths_to_verdicts: Sequence[str],
    filtercode: str,
    cuts: Cuts,
) -> Iterator[list[Image]]:
    """Images of all units, as many at a time as memory has room for."""
    images: list[Image] = []
    for paths in zip(paths_to_photometry, paths_to_verdicts, strict=True):
        images += read_unit(*paths, filtercode, cuts)
        if sum(len(image.table) for image in images) > MAX_ROWS:
            yield images
            images = []
    yield images


def read_unit(
    path_to_photometry: str, path_to_verdicts: str, filtercode: str, cuts: Cuts
) -> list[Image]:
    """Images of one unit; one without a verdict is bad."""
    table = read_table(path_to_photometry, "measure_photometry", ["image"])
    if not len(table):
        return []
    verdicts = read_table(path_to_verdicts, "validate_psf", ["image", "verdict"])
    verdict_of = dict(zip(verdicts["image"], verdicts["verdict"], strict=True))
    flags = read_provenance(path_to_photometry)["settings"]["flags"]
    bits = add_flags(cuts.reject_flags, flags)
    images = []
    for name, rows in table.groupby("image", sort=True):
        if parse_quadrant(str(name)).filtercode == filtercode:
            cut = cut_image(pd.DataFrame(rows), verdict_of.get(name, "bad"), bits, cuts)
            images.append(Image(str(name), cut.table, cut.counts))
    return images


if __name__ == "__main__":
    with job(snakemake.log[0]):
        collect_survey(
            paths_to_photometry=snakemake.input.photometry,
            paths_to_verdicts=snakemake.input.verdicts,
            path_to_dataset=snakemake.params.dataset,
            path_to_record=snakemake.output.record,
            filtercode=snakemake.wildcards.filtercode,
            settings=snakemake.params.settings,
        )
