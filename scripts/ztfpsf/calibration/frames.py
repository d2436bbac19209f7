"""Which frames of a night enter a master, and why others do not.

Bad frames are left out with a reason. Enough good ones must remain, else the master fails and says
what was looked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import combinations, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ztfpsf.calibration.detector import (
    MIN_NOISE,
    Detector,
    RawQuadrant,
    neighbour_noise,
    prepare_quadrant,
)
from ztfpsf.calibration.raw import RawFrame, open_raw
from ztfpsf.errors import InputError
from ztfpsf.names import RawName, parse_raw
from ztfpsf.robust import mad_sigma

KIND_NAMES = {"o": "object", "b": "bias", "f": "flat", "d": "dark"}

# Rows read to judge a frame before all of it is read: places along the quadrant, rows at each.
SAMPLE_PLACES = 16
SAMPLE_ROWS = 2
# Every so many columns of the sample give the first guess of the noise, to 2 %.
FIRST_STEP = 32
# A sample this far below the overscan, in read noise: the overscan is not that of the pixels.
MAX_BELOW_OVERSCAN = 10.0


class Wanted(NamedTuple):
    """What the frames of a master have in common."""

    night: str  # UT day, YYYYMMDD
    ccdid: int
    kind: str  # b or f
    filtercode: str

    def __str__(self) -> str:
        kind = KIND_NAMES[self.kind]
        if self.kind == "f":
            kind = f"{self.filtercode} {kind}"
        return f"{kind} frames of CCD {self.ccdid} in the night {self.night}"

    def complaint(self, name: RawName) -> str:
        """Why a frame is none of these; empty if it is."""
        checks = [
            (name.kind == self.kind, f"is a {KIND_NAMES[name.kind]} frame"),
            (name.night == self.night, f"is of the night {name.night}"),
            (name.ccdid == self.ccdid, f"is of CCD {name.ccdid}"),
            (self.kind != "f" or name.filtercode == self.filtercode, f"is in {name.filtercode}"),
        ]
        return next((complaint for fits, complaint in checks if not fits), "")


class FrameSelection(NamedTuple):
    """Open frames in order of time, and the reasons of those left out by file name."""

    frames: list[RawFrame]
    rejected: dict[str, str]


def open_frames(
    paths: Sequence[str | Path], wanted: Wanted, n_skip: int, detector: Detector, stack: ExitStack
) -> FrameSelection:
    """Open the frames that are `wanted`, without the `n_skip` first ones of the night."""
    rejected: dict[str, str] = {}
    candidates = []
    for path in paths:
        try:
            name = parse_raw(Path(path).name)
        except InputError as error:
            rejected[Path(path).name] = str(error)
            continue
        if complaint := wanted.complaint(name):
            rejected[Path(path).name] = complaint
        else:
            candidates.append((name.filefracday, path))
    candidates.sort(key=lambda candidate: candidate[0])
    rejected |= {Path(path).name: "skipped, electronics settle" for _, path in candidates[:n_skip]}
    frames = []
    for _, path in candidates[n_skip:]:
        try:
            frames.append(stack.enter_context(open_raw(path, detector.quadrant_shape)))
        except InputError as error:
            rejected[Path(path).name] = str(error)
    return FrameSelection(frames, rejected)


def require_frames(
    n_frames: int, min_frames: int, wanted: Wanted | str, rejected: Mapping[str, str]
) -> None:
    """Raise InputError when fewer than `min_frames` frames are left."""
    if n_frames >= min_frames:
        return
    reasons = "; ".join(f"{name} {reason}" for name, reason in list(rejected.items())[:3])
    raise InputError(
        f"{n_frames} of at least {min_frames} {wanted} are usable"
        + (f" ({len(rejected)} left out, e.g. {reasons})" if rejected else "")
        + ": add frames or use the master of another night."
    )


def sample_slices(ny: int) -> Iterator[tuple[int, int]]:
    """Row ranges, evenly spread, whose pixels stand for a quadrant of `ny` rows."""
    places = np.linspace(0, ny - SAMPLE_ROWS, min(SAMPLE_PLACES, ny // SAMPLE_ROWS)).astype(int)
    return ((first, first + SAMPLE_ROWS) for first in np.unique(places))


def sample(quadrant: RawQuadrant) -> np.ndarray:
    """Corrected pixels of the sample rows, (n_rows, nx) float32 ADU.

    Raises InputError when the pixels cannot be a signal: not finite, saturated, constant, or
    below the overscan.
    """
    ranges = list(sample_slices(quadrant.frame.shape[0]))
    raw = [quadrant.raw_rows(*limits) for limits in ranges]
    if complaint := complain_about(np.concatenate(raw), quadrant):
        raise InputError(f"{quadrant.frame.path}, quadrant {quadrant.qid}: {complaint}.")
    rows = [quadrant.correct(part, first) for part, (first, _) in zip(raw, ranges, strict=True)]
    corrected = np.concatenate(rows)
    level = float(np.nanmedian(corrected[:, ::FIRST_STEP]))
    if level < -MAX_BELOW_OVERSCAN * quadrant.read_noise_adu:
        raise InputError(
            f"{quadrant.frame.path}, quadrant {quadrant.qid}: the pixels lie {-level:.0f} ADU "
            "below the overscan, so leave this frame out."
        )
    return corrected


def complain_about(raw_adu: np.ndarray, quadrant: RawQuadrant) -> str:
    """Why raw pixels are no signal of a working amplifier; empty if they are."""
    if not np.isfinite(raw_adu).mean() > 0.5:
        return "most pixels are not finite, so leave this frame out"
    if (raw_adu >= quadrant.settings.saturation_adu).mean() > 0.5:
        return "most pixels are saturated, so leave this frame out"
    noise = neighbour_noise(raw_adu)
    if not noise > MIN_NOISE * quadrant.read_noise_adu:
        return (
            f"the pixel noise is {noise:.2f} ADU, below any read noise: dead amplifier, "
            "so leave this frame out"
        )
    return ""


class Sampled(NamedTuple):
    """The usable frames of one quadrant with their samples, and the reasons of the others."""

    quadrants: list[RawQuadrant]
    samples: np.ndarray  # (n_frames, n_rows, nx) float32 ADU
    rejected: dict[str, str]


def sample_frames(frames: Sequence[RawFrame], qid: int, detector: Detector) -> Sampled:
    """Prepare and sample quadrant `qid` of every frame."""
    quadrants, samples, rejected = [], [], {}
    for frame in frames:
        try:
            quadrant = prepare_quadrant(frame, qid, detector)
            samples.append(sample(quadrant))
            quadrants.append(quadrant)
        except InputError as error:
            rejected[Path(frame.path).name] = str(error)
    stacked = np.stack(samples) if samples else np.empty((0, 0, 0), np.float32)
    return Sampled(quadrants, stacked, rejected)


def first_noise(samples: np.ndarray) -> float:
    """Noise of one frame in the unit of `samples`, whatever a minority of the frames is like.

    The lower quartile over all pairs: of those, more than a quarter are of two good frames. It
    serves to find the others; the noise of the rest is `pair_noise`. Needs two frames.
    """
    pairs = combinations(samples[..., ::FIRST_STEP], 2)
    noises = [mad_sigma(one - other) / np.sqrt(2) for one, other in pairs]
    return float(np.quantile(noises, 0.25, method="lower"))


def pair_noise(samples: np.ndarray) -> float:
    """Noise of one frame from the differences of consecutive ones, in the unit of `samples`.

    Robust against bad pixels, and blind to an offset between frames; each bad frame spoils two
    of the pairs. Needs two frames.
    """
    return float(
        np.median([mad_sigma(one - other) / np.sqrt(2) for one, other in pairwise(samples)])
    )
