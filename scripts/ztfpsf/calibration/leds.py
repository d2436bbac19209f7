"""The flats of one LED of the dome screen: which frames, how bright, how noisy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ztfpsf.calibration.combine import Noise, median
from ztfpsf.calibration.frames import (
    FrameSelection,
    Sampled,
    pair_noise,
    sample_frames,
    sample_slices,
)
from ztfpsf.calibration.masters import Combination, Group, drop_outlier_frames
from ztfpsf.calibration.products import OK, Master
from ztfpsf.calibration.raw import QUADRANTS, RawFrame
from ztfpsf.dome import LEDS
from ztfpsf.errors import InputError


class LedFlat(NamedTuple):
    """The frames of one LED, by quadrant, and the median signal of the CCD in them."""

    led: int
    level_adu: float
    groups: dict[int, Group]  # by qid; a quadrant without enough frames is missing


def led_of(frame: RawFrame) -> int:
    """Number of the LED that lit a flat; InputError when it does not belong to the filter."""
    led = int(frame.number("ILUM_LED"))
    if led not in LEDS[frame.name.filtercode]:
        raise InputError(
            f"{frame.path}: lit by LED {led}, not by one of {frame.name.filtercode} "
            f"({', '.join(map(str, LEDS[frame.name.filtercode]))}); leave this frame out."
        )
    return led


def group_by_led(selection: FrameSelection) -> tuple[dict[int, list[RawFrame]], dict[str, str]]:
    """Frames by LED in increasing order, and all frames left out with their reasons."""
    groups: dict[int, list[RawFrame]] = {}
    rejected = dict(selection.rejected)
    for frame in selection.frames:
        try:
            groups.setdefault(led_of(frame), []).append(frame)
        except InputError as error:
            rejected[Path(frame.path).name] = str(error)
    return dict(sorted(groups.items())), rejected


def brightness(samples: Mapping[int, Sampled]) -> dict[str, float]:
    """Brightness of each frame relative to their mean, by path, from all its quadrants.

    The median over the pixels of the ratio to the median frame: the lamp varies by more than the
    noise of a pixel, its pattern does not.
    """
    ratios: dict[str, list[np.ndarray]] = {}
    for sampled in samples.values():
        reference = np.median(sampled.samples, axis=0)
        lit = reference > 0
        for quadrant, values in zip(sampled.quadrants, sampled.samples, strict=True):
            ratios.setdefault(quadrant.frame.path, []).append(values[lit] / reference[lit])
    scales = {path: float(np.nanmedian(np.concatenate(r))) for path, r in ratios.items()}
    mean = np.mean(list(scales.values()))
    return {path: scale / mean for path, scale in scales.items()}


def prepare_led(
    led: int, frames: Sequence[RawFrame], bias: Master, settings: Combination
) -> tuple[LedFlat | None, dict[str, str]]:
    """Groups of the frames of one LED; None when no quadrant has enough of them."""
    usable, rejected = {}, {}
    for qid in QUADRANTS:
        if bias.status(qid) != OK:
            rejected[f"q{qid}"] = f"no master bias ({bias.status(qid)})"
            continue
        sampled = sample_frames(frames, qid, settings.detector)
        rejected |= {f"{name} q{qid}": reason for name, reason in sampled.rejected.items()}
        if len(sampled.quadrants) >= max(settings.min_frames, 2):
            usable[qid] = sampled._replace(samples=sampled.samples - _sample_bias(bias, qid))
    scales = brightness(usable) if usable else {}
    groups, levels = {}, []
    for qid, sampled in usable.items():
        group, level, dropped = _led_group(sampled, scales, settings)
        rejected |= {f"{name} q{qid}": reason for name, reason in dropped.items()}
        if len(group.quadrants) >= settings.min_frames:
            groups[qid] = group
            levels.append(level)
    if not groups:
        return None, rejected
    return LedFlat(led, float(np.nanmedian(np.concatenate(levels))), groups), rejected


def _sample_bias(bias: Master, qid: int) -> np.ndarray:
    ranges = sample_slices(bias.shape(qid)[0])
    return np.concatenate([bias.rows(qid, *limits) for limits in ranges])


def _led_group(
    sampled: Sampled, scales: Mapping[str, float], settings: Combination
) -> tuple[Group, np.ndarray, dict[str, str]]:
    """Group of one quadrant, the pixels of its median sample, and the frames left out."""
    relative = np.array([scales[q.frame.path] for q in sampled.quadrants])
    samples = sampled.samples / relative[:, None, None].astype(np.float32)
    first = sampled.quadrants[0]
    noise = Noise(first.read_noise_adu, 1.0 / first.gain)
    centre = median(samples.reshape(len(samples), -1)).reshape(samples.shape[1:])
    noise = noise.scaled(pair_noise(samples / np.sqrt(noise.variance(centre))))
    kept = drop_outlier_frames(sampled._replace(samples=samples), noise, settings)
    scale_of = {q.frame.path: s for q, s in zip(sampled.quadrants, relative, strict=True)}
    kept_scales = np.array([scale_of[q.frame.path] for q in kept.quadrants])
    dropped = {name: why for name, why in kept.rejected.items() if name not in sampled.rejected}
    return Group(kept.quadrants, kept_scales, noise), np.ravel(centre), dropped
