"""The laws of the images of a unit: measured quadrant by quadrant, or taken from elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.calibration.orientation import read_direction
from ztfpsf.errors import InputError
from ztfpsf.names import QuadrantName
from ztfpsf.pocket.edge import Edge
from ztfpsf.pocket.estimate import LawImage, measure_law
from ztfpsf.pocket.flat import NO_FLAT, draw_flat
from ztfpsf.pocket.law import Pocket
from ztfpsf.pocket.table import MEASURED, Law, describe_fit, find_law, no_law
from ztfpsf.psf.inputs.image import ImageStamps

MEASURE = "measure"


@dataclass(frozen=True)
class PocketSettings:
    """Section measure_pocket of the configuration."""

    law: str | None  # "measure", a path, or None: none is looked for
    max_images: int  # of a quadrant that are measured together
    max_days: float  # between an image and a given law


class Readable(NamedTuple):
    """An image whose pocket may be measured."""

    stamps: ImageStamps
    flat: np.ndarray  # see ztfpsf.pocket.flat
    edge: Edge | None  # flat undone
    edge_reason: str  # why there is no edge
    sky_rms_adu: float
    is_inverted: bool  # the pixels were freed of the effect when the image was made


def find_laws(
    images: Mapping[QuadrantName, Readable], laws: pd.DataFrame | None, settings: PocketSettings
) -> dict[QuadrantName, Law]:
    """The law of every image. What cannot be had is none, with its reason.

    `laws`: of ztfpsf.pocket.table.read_laws where the configuration names a table.
    """
    found = {name: no_law(_refuse(image)) for name, image in images.items()}
    having = {name: image for name, image in images.items() if not found[name].reason}
    if laws is not None:
        return found | {
            name: _given(laws, name, image.flat, settings) for name, image in having.items()
        }
    quadrants: dict[tuple[int, int], list[QuadrantName]] = {}
    for name in having:
        quadrants.setdefault((name.ccdid, name.qid), []).append(name)
    for names in quadrants.values():
        found |= _measure(names, having, settings)
    return found


def _refuse(image: Readable) -> str:
    """Why no law can be that of an image; "" for most."""
    if image.is_inverted:
        return "its pixels were freed of the effect when it was made (POCKET in the header)"
    level = image.stamps.sky_level_adu
    if level > image.sky_rms_adu:
        return ""
    return (
        f"its sky is {level:.1f} ADU, so it was subtracted, and what the pocket holds depends on "
        "it: give the image with its sky, or say how much (config key select_stars.subtracted_sky)"
    )


def _given(
    laws: pd.DataFrame, name: QuadrantName, flat: np.ndarray, settings: PocketSettings
) -> Law:
    try:
        return find_law(laws, name, flat, settings.max_days)
    except InputError as error:
        return no_law(str(error))


def _measure(
    names: Sequence[QuadrantName], images: Mapping[QuadrantName, Readable], settings: PocketSettings
) -> dict[QuadrantName, Law]:
    """One law for all images of a quadrant, from those of most stars that show where it begins."""
    with_edge = [name for name in names if images[name].edge is not None]
    if not with_edge:
        return {name: no_law(images[name].edge_reason) for name in names}
    with_edge.sort(key=lambda name: -len(images[name].stamps.data))
    chosen = [
        LawImage(undo_flat(images[name].stamps, images[name].flat), images[name].edge)
        for name in with_edge[: settings.max_images]
    ]
    direction = read_direction(names[0].qid)
    try:
        fit = measure_law(chosen, direction)
    except InputError as error:
        return {name: no_law(str(error)) for name in names}
    numbers = describe_fit(fit)
    if not fit.is_found:
        reason = f"no pocket is seen, it holds {fit.held_adu:.1f} +- {fit.held_error_adu:.1f} ADU"
        return {name: no_law(reason)._replace(numbers=numbers) for name in names}
    pocket = Pocket(fit.drops, NO_FLAT, np.array(float(direction)))
    return {
        name: Law(MEASURED, "", pocket._replace(flat=images[name].flat), numbers) for name in names
    }


def undo_flat(stamps: ImageStamps, flat: np.ndarray) -> ImageStamps:
    """Stamps of charge as the register held it."""
    factor = draw_flat(flat, stamps.x_px, stamps.y_px, stamps.nx, stamps.ny)
    plane = factor[:, None, None]
    error = stamps.sky_error_adu
    return stamps._replace(
        data=stamps.data * plane,
        variance=stamps.variance * plane**2,
        sky_adu=stamps.sky_adu * factor,
        sky_error_adu=None if error is None else error * factor,
    )
