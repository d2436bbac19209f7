"""Master flat of a CCD and filter: one mean per LED of the dome screen, then the mean of the LEDs.

F = sum_l w_l F_l / N_l / sum_l w_l, with F_l the mean of the frames of LED l without their bias and
N_l its median over the whole CCD: the response relative to that of a typical pixel of the CCD,
amplifiers and vignetting included. FLTNORM = sum_l w_l N_l / sum_l w_l keeps the scale.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ztfpsf.calibration.combine import clipped_mean, standard_error
from ztfpsf.calibration.frames import Wanted, open_frames, require_frames
from ztfpsf.calibration.leds import LedFlat, drop_frame, group_by_led, prepare_led
from ztfpsf.calibration.mask import BITS, mask_flat
from ztfpsf.calibration.masters import (
    Combination,
    Group,
    master_cards,
    quadrant_cards,
    rejected_cards,
    require_a_quadrant,
    row_ranges,
)
from ztfpsf.calibration.products import (
    OK,
    Cards,
    Master,
    MasterQuadrant,
    failed_quadrant,
    master_writer,
    open_master,
)
from ztfpsf.calibration.raw import QUADRANTS, DamagedFrameError
from ztfpsf.dome import LEDS
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance


@dataclass(frozen=True)
class Response:
    """Limits of the response relative to the local median, for the mask."""

    dead: float = 0.1
    low: float = 0.8
    high: float = 1.2


@dataclass(frozen=True)
class FlatSettings:
    """Settings of a master flat."""

    combination: Combination = field(default_factory=Combination)
    response: Response = field(default_factory=Response)
    led_weights: Mapping[int, float] = field(default_factory=dict)  # 1 where not given

    def weight(self, led: int) -> float:
        return float(self.led_weights.get(led, 1.0))


def combine_flat(
    leds: Sequence[LedFlat], qid: int, bias: Master, settings: FlatSettings
) -> MasterQuadrant:
    """Mean over the LEDs of one quadrant, row range by row range."""
    shape = bias.shape(qid)
    data, sigma = np.empty(shape, np.float32), np.empty(shape, np.float32)
    n_frames = np.empty(shape, np.uint8)
    with_qid = [led for led in leds if qid in led.groups]
    for first, stop in row_ranges(shape[0]):
        rows = np.s_[first:stop]
        data[rows], sigma[rows], n_frames[rows] = _combine_rows(
            with_qid, qid, bias, settings, (first, stop)
        )
    limits = settings.response
    mask = mask_flat(data, limits.low, limits.high, limits.dead)
    return MasterQuadrant(data, sigma, n_frames, mask)


def _combine_rows(
    leds: Sequence[LedFlat],
    qid: int,
    bias: Master,
    settings: FlatSettings,
    limits: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Response, its error and the number of frames on a range of rows.

    A pixel without a value in one LED takes the mean of the others. The error of the bias is
    common to all frames; beside photon noise it enters once.
    """
    offset = bias.rows(qid, *limits)
    offset_sigma = bias.sigma_rows(qid, *limits)
    total, weights = np.zeros_like(offset), np.zeros_like(offset)
    variance, common = np.zeros_like(offset), np.zeros_like(offset)
    n_frames = np.zeros(offset.shape, np.uint8)
    for led in leds:
        group = led.groups[qid]
        stack = np.empty((len(group.quadrants), *offset.shape), np.float32)
        for rows, quadrant, scale in zip(stack, group.quadrants, group.scales, strict=True):
            np.subtract(quadrant.rows(*limits), offset, out=rows)
            rows /= np.float32(scale)
        combined = clipped_mean(stack, group.noise, settings.combination.clip_sigma)
        error = standard_error(combined, group.noise)
        missing = combined.n_frames == 0
        weight = np.full_like(offset, settings.weight(led.led))
        for plane in (combined.mean, error, weight):
            plane[missing] = 0
        weights += weight
        n_frames += combined.n_frames
        weight /= np.float32(led.level_adu)
        common += weight
        total += np.multiply(combined.mean, weight, out=combined.mean)
        error *= weight
        variance += np.square(error, out=error)
    common *= offset_sigma
    variance += np.square(common, out=common)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / weights, np.sqrt(variance) / weights, n_frames


def flat_norm(leds: Sequence[LedFlat], settings: FlatSettings) -> float:
    """FLTNORM: mean signal of the CCD over the LEDs, in ADU."""
    weights = [settings.weight(led.led) for led in leds]
    return float(np.average([led.level_adu for led in leds], weights=weights))


def make_flat(
    paths: Sequence[str | Path],
    path_to_bias: str | Path,
    path_to_output: str | Path,
    wanted: Wanted,
    settings: FlatSettings,
    record: dict[str, Any],
) -> dict[str, str]:
    """Combine the flats of a night, CCD and filter; returns the status of each quadrant.

    A quadrant without enough usable frames is NaN with its reason; InputError when that is so for
    all four or no LED has enough frames. `record` goes into the provenance.
    """
    combination, statuses = settings.combination, {}
    with ExitStack() as stack:
        selection = open_frames(paths, wanted, 0, combination.detector, stack)
        bias = stack.enter_context(open_master(path_to_bias, "bias", wanted.ccdid))
        by_led, rejected = group_by_led(selection)
        leds = []
        for number, frames in by_led.items():
            led, reasons = prepare_led(number, frames, bias, combination)
            rejected |= reasons
            leds += [led] if led else []
        n_frames = max((len(frames) for frames in by_led.values()), default=0) if leds else 0
        require_frames(n_frames, combination.min_frames, f"{wanted} per LED", rejected)
        inputs = [path_to_bias, *(frame.path for frame in selection.frames)]
        cards = [
            *master_cards(wanted, "flat", combination),
            *_led_cards(leds, wanted, settings),
            *rejected_cards(rejected),
        ]
        write = stack.enter_context(
            master_writer(path_to_output, cards, make_provenance(inputs, record))
        )
        for qid in QUADRANTS:
            statuses[f"q{qid}"] = write(qid, _flat_quadrant(leds, qid, bias, settings))
        require_a_quadrant(statuses)
    return statuses


def _flat_quadrant(
    leds: Sequence[LedFlat], qid: int, bias: Master, settings: FlatSettings
) -> MasterQuadrant:
    """The quadrant, made without the frames whose rows turn out to be damaged on the way."""
    shape, damaged = settings.combination.detector.quadrant_shape, {}
    if bias.status(qid) != OK:
        return failed_quadrant(shape, f"no master bias: {bias.status(qid)}")
    while groups := [led.groups[qid] for led in leds if qid in led.groups]:
        try:
            quadrant = combine_flat(leds, qid, bias, settings)
        except DamagedFrameError as error:
            damaged[Path(error.path).name] = str(error)
            leds = [drop_frame(led, qid, error.path, settings.combination) for led in leds]
        except InputError as error:
            return failed_quadrant(shape, str(error))
        else:
            return _finish(quadrant, groups, bias.mask(qid) & BITS["nan"], damaged)
    reason = f"no LED has {settings.combination.min_frames} usable frames of quadrant {qid}"
    examples = "".join(f"; {why}" for why in list(damaged.values())[:1])
    return failed_quadrant(shape, reason + examples)


def _finish(
    quadrant: MasterQuadrant,
    groups: Sequence[Group],
    without_bias: np.ndarray,
    damaged: dict[str, str],
) -> MasterQuadrant:
    np.bitwise_or(quadrant.mask, without_bias, out=quadrant.mask)
    n_frames = sum(len(group.quadrants) for group in groups)
    return quadrant._replace(cards=quadrant_cards(groups[0], n_frames, damaged))


def failed_flat_cards(wanted: Wanted, settings: FlatSettings) -> Cards:
    """Primary header of a flat without any LED."""
    return [
        *master_cards(wanted, "flat", settings.combination),
        ("FLTNORM", 0.0, "median signal of the CCD (ADU)"),
        ("LEDS", "", "none"),
    ]


def _led_cards(leds: Sequence[LedFlat], wanted: Wanted, settings: FlatSettings) -> Cards:
    missing = sorted(set(LEDS[wanted.filtercode]) - {led.led for led in leds})
    cards: Cards = [
        ("FLTNORM", flat_norm(leds, settings), "median signal of the CCD (ADU)"),
        ("LEDS", ",".join(str(led.led) for led in leds), "LEDs combined"),
        ("LEDMISS", ",".join(map(str, missing)), "LEDs of the filter without enough frames"),
    ]
    for led in leds:
        cards.append((f"LEDNRM{led.led}", led.level_adu, f"median signal of LED {led.led} (ADU)"))
        cards.append((f"LEDWGT{led.led}", settings.weight(led.led), f"weight of LED {led.led}"))
    return cards
