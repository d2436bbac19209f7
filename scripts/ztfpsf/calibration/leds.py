"""The flats of one LED of the dome screen: which frames, how bright, how noisy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ztfpsf.calibration.combine import Noise, median
from ztfpsf.calibration.frames import (
    FIRST_STEP,
    FrameSelection,
    Sampled,
    first_noise,
    pair_noise,
    sample_frames,
    sample_slices,
)
from ztfpsf.calibration.masters import Combination, Group, drop_outlier_frames
from ztfpsf.calibration.products import OK, Master
from ztfpsf.calibration.raw import QUADRANTS, RawFrame
from ztfpsf.dome import LEDS
from ztfpsf.errors import InputError

# Signal over noise of a pixel that is lit. Of fewer frames that are fainter, noise alone takes
# pixels beyond the limits of the response.
MIN_SIGNAL_TO_NOISE = 10.0


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
    mean = float(np.mean(list(scales.values())))
    return {path: scale / mean for path, scale in scales.items()}


def prepare_led(
    led: int, frames: Sequence[RawFrame], bias: Master, settings: Combination
) -> tuple[LedFlat | None, dict[str, str]]:
    """Groups of the frames of one LED; None when no quadrant has enough of them."""
    usable: dict[int, Sampled] = {}
    rejected: dict[str, str] = {}
    min_frames = max(settings.min_frames, 2)
    for qid in QUADRANTS:
        if bias.status(qid) != OK:
            rejected[f"q{qid}"] = f"no master bias ({bias.status(qid)})"
            continue
        sampled = _sample_lit(frames, qid, bias, settings)
        rejected |= {f"{name} q{qid}": reason for name, reason in sampled.rejected.items()}
        if len(sampled.quadrants) >= min_frames:
            usable[qid] = sampled
    scales = brightness(usable) if usable else {}
    groups, levels = {}, []
    for qid, sampled in usable.items():
        kept = _drop_others(sampled, scales, settings)
        known = sampled.rejected.keys()
        rejected |= {f"{name} q{qid}": r for name, r in kept.rejected.items() if name not in known}
        if len(kept.quadrants) >= min_frames:
            groups[qid], level = _make_group(kept, scales)
            levels.append(np.ravel(level))
    if not groups:
        return None, rejected
    return LedFlat(led, float(np.nanmedian(np.concatenate(levels))), groups), rejected


def _sample_lit(
    frames: Sequence[RawFrame], qid: int, bias: Master, settings: Combination
) -> Sampled:
    """Samples of quadrant `qid` above the bias, without the frames that show no light."""
    sampled = sample_frames(frames, qid, settings.detector)
    if not sampled.quadrants:
        return sampled
    ranges = sample_slices(bias.shape(qid)[0])
    offset = np.concatenate([bias.rows(qid, *limits) for limits in ranges])
    return drop_unlit(sampled._replace(samples=sampled.samples - offset))


def drop_unlit(sampled: Sampled) -> Sampled:
    """Leave out the frames, samples above the bias, whose light does not stand out of the noise."""
    rejected, keep = dict(sampled.rejected), []
    for quadrant, values in zip(sampled.quadrants, sampled.samples, strict=True):
        level = np.nanmedian(values[:, ::FIRST_STEP], keepdims=True)
        noise = np.sqrt(Noise(quadrant.read_noise_adu, quadrant.gain).variance(level))
        level, ratio = level.item(), (level / noise).item()
        keep.append(ratio > MIN_SIGNAL_TO_NOISE)
        if not keep[-1]:
            rejected[Path(quadrant.frame.path).name] = (
                f"shows {level:.1f} ADU of light, {ratio:.1f} times the noise of a pixel "
                f"({MIN_SIGNAL_TO_NOISE:g} are needed): was the lamp off"
            )
    quadrants = [q for q, kept in zip(sampled.quadrants, keep, strict=True) if kept]
    return Sampled(quadrants, sampled.samples[np.array(keep)], rejected)


def drop_frame(led: LedFlat, qid: int, path: str, settings: Combination) -> LedFlat:
    """The same without one frame in quadrant `qid`, and without that where too few are left."""
    groups = dict(led.groups)
    group = groups.pop(qid, None)
    if group is None:
        return led
    kept = [i for i, quadrant in enumerate(group.quadrants) if quadrant.frame.path != path]
    if len(kept) >= max(settings.min_frames, 2):
        quadrants = [group.quadrants[i] for i in kept]
        groups[qid] = group._replace(quadrants=quadrants, scales=group.scales[kept])
    return led._replace(groups=groups)


def _drop_others(sampled: Sampled, scales: Mapping[str, float], settings: Combination) -> Sampled:
    """Samples of equal brightness, without the frames that differ from the others."""
    samples = sampled.samples / _scales_of(sampled, scales)[:, None, None].astype(np.float32)
    noise = _header_noise(sampled)
    noise = noise.scaled(first_noise(samples / np.sqrt(noise.variance(_centre(samples)))))
    return drop_outlier_frames(sampled._replace(samples=samples), noise, settings)


def _make_group(sampled: Sampled, scales: Mapping[str, float]) -> tuple[Group, np.ndarray]:
    """Group of samples of equal brightness, and their median."""
    centre, noise = _centre(sampled.samples), _header_noise(sampled)
    noise = noise.scaled(pair_noise(sampled.samples / np.sqrt(noise.variance(centre))))
    return Group(sampled.quadrants, _scales_of(sampled, scales), noise), centre


def _scales_of(sampled: Sampled, scales: Mapping[str, float]) -> np.ndarray:
    return np.array([scales[quadrant.frame.path] for quadrant in sampled.quadrants])


def _header_noise(sampled: Sampled) -> Noise:
    """Noise as the header of the first frame has it."""
    first = sampled.quadrants[0]
    return Noise(first.read_noise_adu, first.gain)


def _centre(samples: np.ndarray) -> np.ndarray:
    """Median over the frames, (n_rows, nx)."""
    return median(samples.reshape(len(samples), -1)).reshape(samples.shape[1:])
