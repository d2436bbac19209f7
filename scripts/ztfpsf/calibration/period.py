"""Master frame of a period: clipped mean of the daily ones of a CCD."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ztfpsf.calibration.combine import Noise, clipped_mean
from ztfpsf.calibration.frames import pair_noise, require_frames, sample_slices
from ztfpsf.calibration.masters import require_a_quadrant, row_ranges
from ztfpsf.calibration.products import (
    OK,
    Cards,
    Master,
    MasterQuadrant,
    failed_quadrant,
    master_writer,
    open_master,
)
from ztfpsf.calibration.raw import QUADRANTS
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance


class Period(NamedTuple):
    """Which master is wanted."""

    nights: str  # YYYYMMDD-YYYYMMDD
    kind: str  # bias or flat
    ccdid: int


def make_period(
    paths: Sequence[str | Path],
    path_to_output: str | Path,
    wanted: Period,
    settings: dict[str, Any],
) -> dict[str, str]:
    """Combine the daily masters of a CCD and filter; returns the quadrants' status.

    `settings` = min_frames and clip_sigma, the latter in the scatter between nights. NIGHT of the
    product is the period. Raises InputError for too few masters or several filters.
    """
    statuses = {}
    kind, ccdid = wanted.kind, wanted.ccdid
    with ExitStack() as stack:
        masters = [stack.enter_context(open_master(path, kind, ccdid)) for path in paths]
        require_frames(len(masters), max(settings["min_frames"], 2), f"daily {kind} masters", {})
        cards = _primary_cards(masters, wanted)
        provenance = make_provenance(paths, settings)
        write = stack.enter_context(master_writer(path_to_output, cards, provenance))
        for qid in QUADRANTS:
            statuses[f"q{qid}"] = write(qid, _combine_quadrant(masters, qid, settings))
        require_a_quadrant(statuses)
    return statuses


def _primary_cards(masters: Sequence[Master], wanted: Period) -> Cards:
    headers = [master.primary() for master in masters if _is_usable(master)]
    if not headers:
        reason = masters[0].reason()
        raise InputError(f"no daily {wanted.kind} of CCD {wanted.ccdid} is usable: {reason}")
    filters = {header["FILTCODE"] for header in headers}
    if len(filters) > 1:
        raise InputError(
            f"the daily masters are of several filters ({', '.join(sorted(filters))}); "
            "combine one filter at a time."
        )
    nights = sorted(header["NIGHT"] for header in headers)
    cards: Cards = [
        ("IMGTYPE", wanted.kind, "kind of master frame"),
        ("NIGHT", wanted.nights, "period"),
        ("NIGHT1", nights[0], "first night"),
        ("NIGHT2", nights[-1], "last night"),
        ("NDAYS", len(nights), "nights combined"),
        ("CCDID", wanted.ccdid, "CCD, 1..16"),
        ("FILTCODE", filters.pop(), "filter"),
    ]
    if wanted.kind == "flat":
        norm = float(np.mean([header["FLTNORM"] for header in headers]))
        leds = sorted({led for header in headers for led in header["LEDS"].split(",")}, key=int)
        cards += [("FLTNORM", norm, "mean of the nights (ADU)"), ("LEDS", ",".join(leds), "LEDs")]
    return cards


def _is_usable(master: Master) -> bool:
    return any(master.status(qid) == OK for qid in QUADRANTS)


def _combine_quadrant(
    masters: Sequence[Master], qid: int, settings: dict[str, Any]
) -> MasterQuadrant:
    good = [master for master in masters if master.status(qid) == OK]
    shape = masters[0].shape(qid)
    if len(good) < max(settings["min_frames"], 2):
        return failed_quadrant(shape, f"{len(good)} nights have a usable quadrant {qid}")
    samples = [
        np.concatenate([master.rows(qid, *limits) for limits in sample_slices(shape[0])])
        for master in good
    ]
    noise = Noise(pair_noise(np.stack(samples)))
    data, sigma = np.empty(shape, np.float32), np.empty(shape, np.float32)
    n_frames = np.empty(shape, np.uint8)
    for first, stop in row_ranges(shape[0]):
        stacked = np.stack([master.rows(qid, first, stop) for master in good])
        data[first:stop], n_nights = clipped_mean(stacked, noise, settings["clip_sigma"])
        squares = sum(master.sigma_rows(qid, first, stop) ** 2 for master in good)
        with np.errstate(divide="ignore", invalid="ignore"):
            sigma[first:stop] = np.sqrt(squares / len(good) / n_nights)
        n_frames[first:stop] = n_nights
    mask = reduce(np.bitwise_or, [master.mask(qid) for master in good])
    first = good[0].hdus[f"Q{qid}"].header
    kept = ("GAIN", "READNOI", "NOISEADU")
    cards = [(key, first[key], first.comments[key]) for key in kept]
    cards += [("NFRAMES", len(good), "nights combined")]
    return MasterQuadrant(data, sigma, n_frames, mask, cards=cards)
