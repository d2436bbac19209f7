"""Master bias of a CCD, and what master frames have in common.

A few rows of every frame are read first: they tell the noise and the frames to leave out. Then the
frames are combined row range by row range, so that memory does not grow with the size of a CCD.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ztfpsf.calibration.combine import Noise, clipped_mean, median, standard_error
from ztfpsf.calibration.detector import BLOCK_ROWS, Detector, RawQuadrant
from ztfpsf.calibration.frames import (
    FrameSelection,
    Sampled,
    Wanted,
    first_noise,
    open_frames,
    pair_noise,
    require_frames,
    sample_frames,
)
from ztfpsf.calibration.mask import mask_bias
from ztfpsf.calibration.products import (
    Cards,
    MasterQuadrant,
    card_text,
    failed_quadrant,
    master_writer,
)
from ztfpsf.calibration.raw import QUADRANTS, DamagedFrameError, RawFrame
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance


@dataclass(frozen=True)
class Combination:
    """Settings of the combination of frames."""

    min_frames: int = 3
    clip_sigma: float = 4.0  # of the noise of one frame, about the median
    max_outlier_fraction: float = 0.05  # of a frame's pixels; a frame with more is left out
    detector: Detector = field(default_factory=Detector)


class Group(NamedTuple):
    """Quadrants of frames that show the same, with their noise."""

    quadrants: list[RawQuadrant]
    scales: np.ndarray  # (n_frames,) brightness relative to their mean; 1 for biases
    noise: Noise


def row_ranges(ny: int) -> list[tuple[int, int]]:
    """Ranges of BLOCK_ROWS rows that cover 0..ny-1."""
    return [(first, min(first + BLOCK_ROWS, ny)) for first in range(0, ny, BLOCK_ROWS)]


def read_stack(quadrants: Sequence[RawQuadrant], first: int, stop: int) -> np.ndarray:
    """Corrected rows of every frame, (n_frames, n_rows, nx) float32 ADU."""
    return np.stack([quadrant.rows(first, stop) for quadrant in quadrants])


def drop_outlier_frames(sampled: Sampled, noise: Noise, settings: Combination) -> Sampled:
    """Leave out the frames of which too many pixels are far from the median of all."""
    samples = sampled.samples
    centre = median(samples.reshape(len(samples), -1)).reshape(samples.shape[1:])
    limit = settings.clip_sigma * np.sqrt(noise.variance(centre))
    fractions = [(np.abs(values - centre) > limit).mean() for values in samples]
    keep = [fraction <= settings.max_outlier_fraction for fraction in fractions]
    rejected = dict(sampled.rejected)
    for quadrant, fraction, kept in zip(sampled.quadrants, fractions, keep, strict=True):
        if not kept:
            rejected[Path(quadrant.frame.path).name] = (
                f"differs from the other frames in {fraction:.0%} of its pixels"
            )
    quadrants = [q for q, kept in zip(sampled.quadrants, keep, strict=True) if kept]
    return Sampled(quadrants, samples[np.array(keep)], rejected)


def bias_group(
    frames: Sequence[RawFrame],
    qid: int,
    wanted: Wanted,
    settings: Combination,
    damaged: Mapping[str, str],
) -> tuple[Group, dict[str, str]]:
    """Group of usable bias quadrants, and the reasons of the others, the `damaged` among them.

    Raises InputError when too few are usable.
    """
    sampled = sample_frames(frames, qid, settings.detector)
    sampled = sampled._replace(rejected={**damaged, **sampled.rejected})
    what, min_frames = f"quadrants {qid} of {wanted}", max(settings.min_frames, 2)
    require_frames(len(sampled.quadrants), min_frames, what, sampled.rejected)
    noise = Noise(first_noise(sampled.samples))
    kept = drop_outlier_frames(sampled, noise, settings)
    require_frames(len(kept.quadrants), min_frames, what, kept.rejected)
    noise = Noise(pair_noise(kept.samples))
    return Group(kept.quadrants, np.ones(len(kept.quadrants)), noise), kept.rejected


def combine_bias(group: Group, clip_sigma: float, hot_sigma: float) -> MasterQuadrant:
    """Clipped mean of bias quadrants, row range by row range."""
    shape = group.quadrants[0].frame.shape
    data, sigma = np.empty(shape, np.float32), np.empty(shape, np.float32)
    n_frames = np.empty(shape, np.uint8)
    for first, stop in row_ranges(shape[0]):
        stack = read_stack(group.quadrants, first, stop)
        combined = clipped_mean(stack, group.noise, clip_sigma)
        data[first:stop], n_frames[first:stop] = combined
        sigma[first:stop] = standard_error(combined, group.noise)
    mask = mask_bias(data, group.noise.read_adu, hot_sigma)
    return MasterQuadrant(data, sigma, n_frames, mask)


def quadrant_cards(group: Group, n_frames: int, rejected: Mapping[str, str]) -> Cards:
    """What was done to a quadrant, for the header of its data; `n_frames` in all groups."""
    first = group.quadrants[0]
    return [
        ("NFRAMES", n_frames, "frames combined"),
        ("GAIN", first.gain, "gain (electron/ADU)"),
        ("READNOI", first.read_noise_adu * first.gain, "read noise of the raw header (electron)"),
        ("NOISEADU", group.noise.read_adu, "read noise of a frame as measured (ADU)"),
        *first.cards(),
        *rejected_cards(rejected),
    ]


def rejected_cards(rejected: Mapping[str, str]) -> Cards:
    """One pair of cards per frame that was left out."""
    cards: Cards = [("NREJECT", len(rejected), "frames left out")]
    for i, (name, reason) in enumerate(rejected.items(), start=1):
        cards.append((f"REJECT{i}", card_text(f"{name}: {reason}"), ""))
    return cards


def master_cards(wanted: Wanted, kind: str, settings: Combination) -> Cards:
    """Primary header of a master frame."""
    return [
        ("IMGTYPE", kind, "kind of master frame"),
        ("NIGHT", wanted.night, "UT day of the frames"),
        ("CCDID", wanted.ccdid, "CCD, 1..16"),
        ("FILTCODE", wanted.filtercode, "filter"),
        ("CLIPSIG", settings.clip_sigma, "clip about the median, in noise of a frame"),
        ("MINFRAME", settings.min_frames, "frames needed"),
    ]


def make_bias(
    paths: Sequence[str | Path],
    path_to_output: str | Path,
    wanted: Wanted,
    n_skip: int,
    hot_sigma: float,
    settings: Combination,
    record: dict[str, Any],
) -> dict[str, str]:
    """Combine the bias frames of a night and CCD; returns the status of each quadrant.

    The first `n_skip` frames are left out. A quadrant without enough usable frames is NaN with its
    reason; InputError when that is so for all four. `record` goes into the provenance.
    """
    statuses = {}
    with ExitStack() as stack:
        selection = open_frames(paths, wanted, n_skip, settings.detector, stack)
        require_frames(len(selection.frames), settings.min_frames, wanted, selection.rejected)
        cards = [*master_cards(wanted, "bias", settings), *_selection_cards(selection, n_skip)]
        inputs = [frame.path for frame in selection.frames]
        write = stack.enter_context(
            master_writer(path_to_output, cards, make_provenance(inputs, record))
        )
        for qid in QUADRANTS:
            # No name for the quadrant: it must be gone when the next one is made.
            statuses[f"q{qid}"] = write(
                qid, _bias_quadrant(selection, qid, wanted, hot_sigma, settings)
            )
        require_a_quadrant(statuses)
    return statuses


def _bias_quadrant(
    selection: FrameSelection, qid: int, wanted: Wanted, hot_sigma: float, settings: Combination
) -> MasterQuadrant:
    """The quadrant, made without the frames whose rows turn out to be damaged on the way."""
    frames = selection.frames
    damaged: dict[str, str] = {}
    while True:
        try:
            group, rejected = bias_group(frames, qid, wanted, settings, damaged)
            quadrant = combine_bias(group, settings.clip_sigma, hot_sigma)
            return quadrant._replace(cards=quadrant_cards(group, len(group.quadrants), rejected))
        except DamagedFrameError as error:
            damaged[Path(error.path).name] = str(error)
            frames = [frame for frame in frames if frame.path != error.path]
        except InputError as error:
            return failed_quadrant(settings.detector.quadrant_shape, str(error))


def _selection_cards(selection: FrameSelection, n_skip: int) -> Cards:
    return [
        ("NSKIP", n_skip, "first frames left out"),
        ("NINPUT", len(selection.frames), "frames read"),
        *rejected_cards(selection.rejected),
    ]


def require_a_quadrant(statuses: dict[str, str]) -> None:
    """Raise InputError with the first reason when no quadrant is ok."""
    if all(status != "ok" for status in statuses.values()):
        raise InputError(f"no quadrant could be made: {next(iter(statuses.values()))}")
