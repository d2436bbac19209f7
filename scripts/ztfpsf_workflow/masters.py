"""Which masters make which calibrated image.

A master that cannot be had is no error where it is planned, or it would end the whole run: the job
gets the sentence, and fails alone.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ztfpsf.errors import InputError
from ztfpsf.frame_sheet import FrameSheet

KINDS = {"b": "bias", "f": "flat"}


class MasterPlan(NamedTuple):
    """Raw frames, what the configuration asks of them, and where the masters go."""

    frames: FrameSheet
    min_frames: Mapping[str, int]  # by kind, b or f
    max_days: int
    periods: Sequence[str]
    patterns: Mapping[str, str]  # outputs of the rules: bias, flat, period, focal_plane

    def path(self, kind: str, nights: str, filtercode: str, ccdid: str) -> str:
        """Master of a night or period."""
        names = {"filtercode": filtercode, "ccdid": ccdid}
        if "-" in nights:
            return self.patterns["period"].format(period=nights, kind=KINDS[kind], **names)
        return self.patterns[KINDS[kind]].format(night=nights, **names)

    def focal_plane(self, nights: str, filtercode: str) -> str:
        """Normalisation of the flats of a night or period."""
        return self.patterns["focal_plane"].format(nights=nights, filtercode=filtercode)

    def masters_of_flat(self, night: str, ccdid: str) -> dict[str, str]:
        """The bias of the nearest night with enough frames. Raises InputError."""
        return {"bias": self.path("b", self._nearest("b", night, "bi", ccdid), "bi", ccdid)}

    def masters_of_science(self, exposure: str, ccdid: str) -> dict[str, str]:
        """Bias, flat and normalisation of a CCD of an exposure. Raises InputError."""
        night, filtercode = exposure.split("_")[1][:8], exposure[-2:]
        bias = self._find_nights("b", night, "bi", ccdid)
        flat = self._find_nights("f", night, filtercode, ccdid)
        return {
            "bias": self.path("b", bias, "bi", ccdid),
            "flat": self.path("f", flat, filtercode, ccdid),
            "focal_plane": self.focal_plane(flat, filtercode),
        }

    def daily_masters(self, kind: str, period: str, filtercode: str, ccdid: str) -> list[str]:
        """Masters of the nights of a period."""
        min_frames = self.min_frames[kind]
        nights = self.frames.nights(kind, filtercode, int(ccdid), min_frames, period)
        return [self.path(kind, night, filtercode, ccdid) for night in nights]

    def flats(self, nights: str, filtercode: str) -> list[str]:
        """Flats of all CCDs of a night or period."""
        ccdids = self.frames.ccds(nights, filtercode)
        return [self.path("f", nights, filtercode, f"{ccdid:02d}") for ccdid in ccdids]

    def made(self, kind: str, nights: str, filtercode: str) -> dict[int, str]:
        """Masters of a night or period that are there, by CCD."""
        ccdids = range(1, 17)
        paths = {k: self.path(kind, nights, filtercode, f"{k:02d}") for k in ccdids}
        return {ccdid: path for ccdid, path in paths.items() if os.path.exists(path)}

    def nights_made(self) -> list[tuple[str, str, str]]:
        """Nights and periods with masters: kind, night and filter, in the order of time."""
        names = {(kind, night, light) for kind, night, light, _ in self.frames.calibration}
        names |= {(kind, period, light) for kind, _, light in names for period in self.periods}
        return sorted(name for name in names if self.made(*name))

    def _find_nights(self, kind: str, night: str, filtercode: str, ccdid: str) -> str:
        """The period that a night is in, or the nearest night with enough frames."""
        for period in self.periods:
            first, last = period.split("-")
            if first <= night <= last:
                return period
        return self._nearest(kind, night, filtercode, ccdid)

    def _nearest(self, kind: str, night: str, filtercode: str, ccdid: str) -> str:
        name = night, filtercode, int(ccdid)
        return self.frames.nearest(kind, name, self.min_frames[kind], self.max_days)


def make_plan(
    frames: FrameSheet, config: Mapping[str, Any], patterns: Mapping[str, str]
) -> MasterPlan:
    """The plan of a configuration."""
    bias, flat = config["make_master_bias"], config["make_master_flat"]
    return MasterPlan(
        frames,
        min_frames={"b": bias["n_skip"] + bias["min_frames"], "f": flat["min_frames"]},
        max_days=config["master_max_days"],
        periods=config["make_period_master"]["periods"],
        patterns=patterns,
    )


def without_masters(plan: Callable[..., dict[str, str]], *names: str) -> tuple[dict[str, str], str]:
    """What a plan finds and "", or nothing and the sentence that says what is missing."""
    try:
        return plan(*names), ""
    except InputError as error:
        return {}, str(error)


def kind_letter(kind: str) -> str:
    """b of bias, f of flat."""
    return next(letter for letter, name in KINDS.items() if name == kind)


def find_earlier(made: Mapping[str, str], nights: str) -> tuple[str, str]:
    """Name and file of the last night before, or two ""; a night follows nights, a period periods.

    `made`: files by night or period.
    """
    earlier = [
        (name, path) for name, path in made.items() if name < nights and len(name) == len(nights)
    ]
    return max(earlier, default=("", ""))
