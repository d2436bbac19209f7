"""One quadrant of a raw frame with the corrections that need no other frame.

Overscan, linearity and pocket effect, in this order, on any range of rows.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ztfpsf.calibration import linearity, overscan, pocket
from ztfpsf.calibration.overscan import Overscan
from ztfpsf.calibration.raw import QUADRANT_SHAPE, RawFrame
from ztfpsf.errors import InputError
from ztfpsf.robust import mad_sigma

# Rows at a time: long enough to hide the cost of a call, short enough for the processor's cache.
BLOCK_ROWS = 32

POCKET_FIRST_NIGHT = "20191022"

# Read noise over saturation above which no star can be measured: the header is wrong.
MAX_READ_NOISE = 0.01
# Noise between neighbouring pixels over read noise below which an amplifier is dead.
MIN_NOISE = 0.1


@dataclass(frozen=True)
class Detector:
    """Settings of the steps that act on a single raw frame."""

    quadrant_shape: tuple[int, int] = QUADRANT_SHAPE  # (ny, nx)
    overscan: Overscan = field(default_factory=Overscan)
    linearity_key: str = "amp_id"  # or amp_name
    saturation_adu: float = 60_000.0  # raw, overscan not subtracted
    pockets: dict[tuple[int, int], pocket.Pocket] | None = None  # by (ccdid, qid)


class RawQuadrant(NamedTuple):
    """A quadrant ready to be corrected, row range by row range."""

    frame: RawFrame
    qid: int
    gain: float  # electron/ADU
    read_noise_adu: float
    bias_level_adu: np.ndarray  # (ny, 1), float32, from the overscan
    coefficients: tuple[float, float]  # A, B of the linearity
    pocket: pocket.Pocket | None
    settings: Detector

    @property
    def saturation_linear_adu(self) -> float:
        """Saturation above the overscan and on the linear scale."""
        level = np.median(self.bias_level_adu)
        measured = np.array([self.settings.saturation_adu - level], dtype=np.float64)
        return float(linearity.correct_linearity(measured, *self.coefficients)[0])

    def raw_rows(self, first: int, stop: int) -> np.ndarray:
        """As digitised, (n_rows, nx) float32 ADU."""
        return self.frame.rows(self.qid, first, stop)

    def correct(self, raw_adu: np.ndarray, first: int) -> np.ndarray:
        """Linear ADU above the overscan of raw rows that start at row `first`."""
        above = raw_adu - self.bias_level_adu[first : first + len(raw_adu)]
        linear = linearity.correct_linearity(above, *self.coefficients)
        if self.pocket is not None:
            return pocket.correct_pocket(linear, self.qid, self.pocket)
        return linear

    def rows(self, first: int, stop: int) -> np.ndarray:
        """Corrected rows first..stop-1, (n_rows, nx) float32 ADU."""
        return self.correct(self.raw_rows(first, stop), first)

    def cards(self) -> list[tuple[str, object, str]]:
        """Header cards of the steps."""
        settings = self.settings
        a, b = self.coefficients
        return [
            *overscan.cards(settings.overscan),
            ("OVSMED", float(np.median(self.bias_level_adu)), "median overscan level (ADU)"),
            *linearity.cards(self.frame.name.night, settings.linearity_key, a, b),
            *pocket.cards(self.pocket),
        ]


def prepare_quadrant(frame: RawFrame, qid: int, settings: Detector) -> RawQuadrant:
    """Fit the overscan and look up the coefficients of one quadrant. Raises InputError."""
    gain, read_noise = frame.number("GAIN", qid), frame.number("READNOI", qid)
    max_noise_adu = MAX_READ_NOISE * settings.saturation_adu
    if gain <= 0 or not 0 < read_noise / gain < max_noise_adu:
        raise InputError(
            f"{frame.path}, quadrant {qid}: GAIN = {gain:g} and READNOI = {read_noise:g}; expected "
            f"a positive gain and read noise, of less than {max_noise_adu:g} ADU: correct the "
            "header."
        )
    try:
        strip = frame.overscan(qid)
        level = overscan.overscan_model(strip, qid, settings.overscan)
        _check_overscan(strip, level, read_noise / gain, settings)
        a, b = linearity.coefficients(
            frame.name.night, frame.name.ccdid, _amplifier(frame, qid, settings.linearity_key)
        )
    except InputError as error:
        raise InputError(f"{frame.path}, quadrant {qid}: {error}") from None
    return RawQuadrant(
        frame,
        qid,
        gain,
        read_noise / gain,
        level.astype(np.float32)[:, None],
        (a, b),
        _pocket(frame, qid, settings),
        settings,
    )


def _check_overscan(
    strip_adu: np.ndarray, level_adu: np.ndarray, read_noise_adu: float, settings: Detector
) -> None:
    """Raise InputError for a strip that cannot be the bias level of a working amplifier."""
    typical = float(np.median(level_adu))
    if not 0 < typical < settings.saturation_adu:
        raise InputError(
            f"the overscan lies at {typical:g} ADU; expected more than 0 and less than saturation "
            f"({settings.saturation_adu:g}): leave this frame out."
        )
    noise = neighbour_noise(strip_adu)
    if not noise > MIN_NOISE * read_noise_adu:
        raise InputError(
            f"the overscan has a noise of {noise:.2f} ADU, below any read noise: dead amplifier, "
            "so leave this frame out."
        )


def neighbour_noise(raw_adu: np.ndarray) -> float:
    """Noise from the differences of neighbours along rows: structure does not hide a dead one."""
    return float(mad_sigma(np.diff(raw_adu, axis=1))) / np.sqrt(2)


def _amplifier(frame: RawFrame, qid: int, key: str) -> int | str:
    if key == "amp_id":
        return qid - 1
    name = frame.header(qid).get("AMP_NAME")
    if name is None:
        raise InputError("header keyword AMP_NAME is missing; add it or use linearity_key: amp_id.")
    return name


def _pocket(frame: RawFrame, qid: int, settings: Detector) -> pocket.Pocket | None:
    """None where the effect is not corrected: no parameters given, or before it appeared."""
    if settings.pockets is None or frame.name.night < POCKET_FIRST_NIGHT:
        return None
    found = settings.pockets.get((frame.name.ccdid, qid))
    if found is None:
        raise InputError(
            f"no pocket parameters for CCD {frame.name.ccdid} quadrant {qid}; "
            "add them to the file or set pocket_parameters to null."
        )
    return found
