"""One row per image of a run: when and where it was taken, how good it is, or why it failed."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from ztfpsf.errors import InputError
from ztfpsf.fits_files import damage_named
from ztfpsf.io import make_again, open_product, read_json, read_table
from ztfpsf.jobs import describe_death, read_error
from ztfpsf.names import QuadrantName, parse_quadrant
from ztfpsf.quality import NOT_CONVERGED, OK, PIXEL_ARCSEC
from ztfpsf.stamps import read_image_table
from ztfpsf.stars.selection import REASONS

DEPTH_SIGMA = 5.0
# Columns of the tables of the rules, under their names.
TAKEN = ("gain", "read_noise_electron", "exptime_s", "obsmjd", "sky_adu", "sky_rms_adu")
FITTED = ("n_fitted", "n_reserved", "n_rejected", "chi2", "dof", "iterations", "seconds", "device")
POCKET = ("capacity_adu", "capacity_error_adu")
VALIDATED = (
    "verdict",
    "reason",
    "n_measured",
    "fwhm_px",
    "ellipticity",
    "g1",
    "g2",
    "misfit",
    "bright_core_chi2",
    "size_residual",
    "photometric_offset_mmag",
    "zero_point_mag",
    "sky_mag_arcsec2",
)
TEXTS = ("device", "verdict", "reason")
Record = Mapping[str, Any]
Found = TypeVar("Found")

logger = logging.getLogger("ztfpsf")


class RuleStep(NamedTuple):
    """A rule that images go through; its paths are patterns, see `fill`."""

    rule: str
    product: str  # the file that tells the status of its images
    log: str


def fill(pattern: str, unit: str, image: QuadrantName) -> str:
    """A path with {unit}, {image}, {exposure} and {ccdid} filled in."""
    return pattern.format(
        unit=unit, image=image, exposure=image.exposure, ccdid=f"{image.ccdid:02d}"
    )


def make_image_table(
    units: Mapping[str, Sequence[str]], steps: Sequence[RuleStep], psf: str
) -> pd.DataFrame:
    """One row per image of `units` (names of the images by unit), in the order given.

    `steps`: the rules in their order, from select_stars to validate_psf, before them
    calibrate_science for raw frames; `psf`: pattern of the PSF files. What is not known is NaN or
    "". See docs/products.md for the columns.
    """
    # The images of a unit follow each other: few files are in use at a time.
    records_of = lru_cache(maxsize=16)(tell_damage(read_records))
    areas_of = lru_cache(maxsize=4)(tell_damage(read_noise_areas))
    rows = []
    for unit, images in units.items():
        for image in images:
            name = parse_quadrant(image)
            records = {
                step.rule: find_record(records_of(fill(step.product, unit, name), step.rule), image)
                for step in steps
            }
            areas = areas_of(fill(psf, unit, name))
            area = np.nan if isinstance(areas, InputError) else areas.get(image, np.nan)
            rows.append(
                {"image": image, "unit": unit}
                | describe_name(name)
                | find_failure(steps, unit, name, records)
                | describe(records, area)
            )
    return pd.DataFrame(rows)


def tell_damage(read: Callable[..., Found]) -> Callable[..., Found | InputError]:
    """The same reader, but a damaged product is a value: it must not end the report of a run."""

    def read_or_tell(*what: str) -> Found | InputError:
        try:
            return read(*what)
        except InputError as error:
            logger.warning("%s", error)
            return error

    return read_or_tell


def find_record(records: Mapping[str, Record] | InputError, image: str) -> Record | None:
    """What a product says of an image; of a damaged one, that it is."""
    return {"status": str(records)} if isinstance(records, InputError) else records.get(image)


def read_records(path: str, rule: str) -> Mapping[str, Record]:
    """Records of a product by image: a JSON record, a table, or the IMAGES of a stamps file.

    Raises InputError for a damaged product.
    """
    if not Path(path).is_file():
        return {}
    if path.endswith(".json"):
        return read_json(path, rule)
    table = read_image_table(path) if path.endswith(".fits") else read_table(path, rule, ["image"])
    return table.set_index("image").to_dict("index")


def read_noise_areas(path: str) -> Mapping[str, float]:
    """Noise-equivalent area (px) of the PSF at the centre of each image of a PSF file.

    1 / sum P^2: the flux of a faint star has the noise of so many pixels (King 1983, PASP 95, 163).
    Raises InputError for a damaged file.
    """
    if not Path(path).is_file():
        return {}
    names = ("PSF", "CENTRE")
    with open_product(path, "fit_psf", names) as hdus, damage_named(path, make_again("fit_psf")):
        images, pictures = hdus["PSF"].data["image"], hdus["CENTRE"].data
        return {
            str(image): float(1.0 / np.sum(picture**2))
            for image, picture in zip(images, pictures, strict=True)
        }


def describe_name(image: QuadrantName) -> dict[str, Any]:
    """What the name says: UT of the exposure, and the place on the focal plane."""
    return {
        "night": image.night,
        "start": image.start,
        "field": image.field,
        "filtercode": image.filtercode,
        "ccdid": image.ccdid,
        "qid": image.qid,
    }


def find_failure(
    steps: Sequence[RuleStep], unit: str, image: QuadrantName, records: Mapping[str, Record | None]
) -> dict[str, str]:
    """`status`: ok, not converged, or why the image failed; `failed_rule`: in which rule, or ""."""
    status = OK
    for step in steps:
        said = (records[step.rule] or {}).get("status", OK)
        if said not in (OK, NOT_CONVERGED):
            return {"status": said, "failed_rule": step.rule}
        status = said if said != OK else status
    missing = find_missing(steps, records)
    if not missing:
        return {"status": status, "failed_rule": ""}
    logs = [fill(step.log, unit, image) for step in missing]
    # Not every image comes from raw frames: the first step that was begun is the one that failed.
    k = next((k for k, log in enumerate(logs) if Path(log).is_file()), 0)
    return {
        "status": read_error(logs[k]) or explain_silence(logs[k]),
        "failed_rule": missing[k].rule,
    }


def find_missing(steps: Sequence[RuleStep], records: Mapping[str, Record | None]) -> list[RuleStep]:
    """The steps after the last one that knows the image."""
    known = [k for k, step in enumerate(steps) if records[step.rule] is not None]
    return list(steps[known[-1] + 1 if known else 0 :])


def explain_silence(path_to_log: str) -> str:
    """Why there is no product, when the log does not say it."""
    if not Path(path_to_log).is_file():
        return "has not run"
    death = describe_death(path_to_log)
    return f"{death}, for want of memory or time, or is running; see {path_to_log}"


def describe(records: Mapping[str, Record | None], noise_area_px: float) -> dict[str, Any]:
    """The numbers of an image."""
    rules = ("select_stars", "cut_stamps", "measure_pocket", "fit_psf", "validate_psf")
    selected, taken, pocket, fitted, validated = (records[rule] or {} for rule in rules)
    rejected = selected.get("rejected", {})
    row = {"n_selected": selected.get("kept", np.nan)}
    row |= {f"n_rejected_{reason}": rejected.get(reason, np.nan) for reason in REASONS}
    for record, names in ((taken, TAKEN), (fitted, FITTED), (validated, VALIDATED)):
        row |= {name: record.get(name, "" if name in TEXTS else np.nan) for name in names}
    row |= {f"pocket_{name}": pocket.get(name, np.nan) for name in POCKET}
    row["device"] = row["device"] if isinstance(row["device"], str) else ""
    row["seeing_arcsec"] = row["fwhm_px"] * PIXEL_ARCSEC
    row["chi2_per_dof"] = row["chi2"] / row["dof"]
    row["noise_area_px"] = noise_area_px
    row["depth_mag"] = find_depth(row["zero_point_mag"], row["sky_rms_adu"], noise_area_px)
    return row


def find_depth(zero_point_mag: float, sky_rms_adu: float, noise_area_px: float) -> float:
    """Magnitude of a star whose PSF flux is DEPTH_SIGMA times its error; NaN where unknown."""
    noise = DEPTH_SIGMA * sky_rms_adu * np.sqrt(noise_area_px)
    return float(zero_point_mag - 2.5 * np.log10(noise)) if noise > 0 else np.nan
