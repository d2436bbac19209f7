"""Which images may hold which targets: by names and the grid of the fields, no image is opened."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ztfpsf.errors import InputError
from ztfpsf.footprints import find_in_field, find_quadrants, is_on_grid
from ztfpsf.names import parse_quadrant
from ztfpsf.sheet import ImageSheet
from ztfpsf.simulation.epoch_settings import make_target
from ztfpsf.target_sheet import NO_TARGETS, Target, TargetSheet, read_targets

from ztfpsf_workflow.inputs import SERIES, find_beside, make_series


def list_targets(config: Mapping[str, Any], base: Path) -> TargetSheet:
    """The targets of the sheet that the configuration names. Raises InputError."""
    if config["targets"] == SERIES:
        target = make_target(make_series(config["simulate_epochs"]))
        return TargetSheet(NO_TARGETS.path, {target.name: target}, {})
    return read_targets(find_beside(config["targets"], base)) if config["targets"] else NO_TARGETS


def find_group(sheet: ImageSheet, group: str) -> Sequence[str]:
    """Images of a group. Raises InputError where the sheet has none."""
    if group not in sheet.images_by_group:
        raise InputError(
            f"{sheet.path}: no image of the group '{group}' in this image sheet; correct the name."
        )
    return sheet.images_by_group[group]


def find_groups(sheet: ImageSheet, target: Target, filtercode: str) -> list[str]:
    """Groups of the sheet that may hold a target. Raises InputError where there is none."""
    there = sheet.images_by_group
    on_grid = (
        f"ztf_{field:06d}_{filtercode}_c{ccdid:02d}_o_q{qid}"
        for field, ccdid, qid in find_quadrants(target.ra_deg, target.dec_deg)
    )
    beside = (
        group
        for group in there
        if group.split("_")[2] == filtercode and not is_on_grid(int(group.split("_")[1]))
    )
    found = sorted(group for group in {*on_grid, *beside} if group in there)
    if not found:
        raise InputError(
            f"{sheet.path}: no image in {filtercode} may hold the target '{target.name}' at RA "
            f"{target.ra_deg:.5f}, Dec {target.dec_deg:.5f} deg; correct its position, or add the "
            "images."
        )
    return found


class Wanted(NamedTuple):
    """Light curves, target and filter; sentences about targets that have none."""

    wanted: list[tuple[str, str]]
    faults: list[str]


def list_lightcurves(sheet: ImageSheet, targets: TargetSheet) -> Wanted:
    """All light curves that there are images for, and a sentence about each target without any."""
    wanted, faults = [], list(dict.fromkeys(targets.faults.values()))
    for target in targets.targets.values():
        told = []
        for filtercode in target.filters:
            try:
                find_groups(sheet, target, filtercode)
                wanted.append((target.name, filtercode))
            except InputError as error:
                told.append(str(error))
        faults += told if len(told) == len(target.filters) else []
    return Wanted(wanted, faults)


def find_targets(images: Iterable[str], targets: Iterable[Target]) -> dict[str, list[Target]]:
    """Targets that each image may hold, wanted in its filter; images without one are left out."""
    names = {image: parse_quadrant(image) for image in images}
    ordered = sorted(targets)
    held: dict[tuple[int, int, int], list[Target]] = {}
    for field in {name.field for name in names.values()}:
        if is_on_grid(field):
            for target in ordered:
                for quadrant in find_in_field(field, target.ra_deg, target.dec_deg):
                    held.setdefault((field, *quadrant), []).append(target)
    found = {}
    for image, name in names.items():
        near = ordered
        if is_on_grid(name.field):
            near = held.get((name.field, name.ccdid, name.qid), [])
        wanted = [target for target in near if name.filtercode in target.filters]
        if wanted:
            found[image] = wanted
    return found


def find_units(images: Iterable[str], units: Mapping[str, Sequence[str]]) -> list[str]:
    """Units (names of their images by unit) that hold some of these images."""
    wanted = set(images)
    return [unit for unit, members in units.items() if not wanted.isdisjoint(members)]
