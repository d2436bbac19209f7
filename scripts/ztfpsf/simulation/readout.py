"""From electrons in the pixels to the numbers of a raw file."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ztfpsf.simulation.detector import Amplifier, DetectorSettings
from ztfpsf.simulation.linearity import measured_adu
from ztfpsf.simulation.pocket import defer
from ztfpsf.simulation.saturation import bleed

ADC_MAXIMUM = 65535.0
# Above this many electrons a deviate with the variance and the skewness of a Poisson one stands for
# it: its excess kurtosis, 1 / electrons, is all that lacks.
MANY_ELECTRONS = 200.0
# Of pixels that stay in a processor's cache.
_BLOCK_PX = 2**17

# Axes (rows, columns) reversed between stored order and the order of reading.
READ_AXES = {1: (), 2: (1,), 3: (0, 1), 4: (0,)}


class RawAmplifier(NamedTuple):
    """Stored arrays of one amplifier, float32 ADU."""

    image: np.ndarray  # (ny, nx)
    overscan: np.ndarray  # (ny, n)
    full: np.ndarray  # (ny, nx) bool: full wells


def to_read_order(array: np.ndarray, qid: int) -> np.ndarray:
    """Stored order to the order of reading and back; first pixel read at [0, 0]."""
    return np.flip(array, READ_AXES[qid])


def collect(expected: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Electrons collected where `expected` (ny, nx) are, float32."""
    electrons = np.zeros(expected.shape, np.float32)
    for rows in _blocks(expected):
        light = expected[rows]
        if (is_many := light >= MANY_ELECTRONS).any():
            normal = random.standard_normal(light.shape, dtype=np.float32)
            # Cornish & Fisher (1938), to the order of the skewness.
            skew = (normal * normal - 1) / 6
            np.add(light + np.sqrt(light) * normal, skew, out=electrons[rows], where=is_many)
        is_few = ~is_many & (light > 0)
        electrons[rows][is_few] = random.poisson(light[is_few])
    return electrons


def _blocks(image: np.ndarray) -> Iterator[slice]:
    """Ranges of rows, a few at a time."""
    ny, nx = image.shape
    step = max(1, _BLOCK_PX // nx)
    return (slice(start, start + step) for start in range(0, ny, step))


def read_out(
    electrons: np.ndarray,
    amplifier: Amplifier,
    settings: DetectorSettings,
    random: np.random.Generator,
) -> RawAmplifier:
    """Bleeding, pocket, gain, bias, non-linearity, overscan, read noise, the converter's limit.

    `electrons` (ny, nx), float32, stored order, is changed in place.
    """
    full = bleed(electrons, settings.full_well_adu * amplifier.gain)
    electrons, late = _defer(electrons, amplifier, settings, random)
    level = _levels(amplifier, len(electrons), random)
    noise_adu = np.float32(amplifier.read_noise_electron / amplifier.gain)
    columns = np.arange(settings.overscan_columns, dtype=np.float32)
    trail = settings.deferred_charge * np.exp(-columns / settings.deferred_columns)
    raw = RawAmplifier(np.empty_like(electrons), np.empty_like(late), full)
    image, overscan, collected, bias = (
        to_read_order(part, amplifier.qid)
        for part in (raw.image, raw.overscan, electrons, amplifier.bias_adu)
    )
    for rows in _blocks(image):
        signal = collected[rows] / np.float32(amplifier.gain) + bias[rows]
        signal = measured_adu(signal, *amplifier.coefficients)
        # The charge left behind by the last pixel of a row.
        strip = trail.astype(np.float32) * np.maximum(signal[:, -1:], 0) + late[rows]
        for part, read in ((signal, image), (strip, overscan)):
            noisy = random.standard_normal(part.shape, dtype=np.float32)
            noisy *= noise_adu
            noisy += level[rows]
            noisy += part
            np.clip(noisy, 0, ADC_MAXIMUM, out=read[rows])
    return raw


def _defer(
    electrons: np.ndarray,
    amplifier: Amplifier,
    settings: DetectorSettings,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Electrons as they leave the register, stored order, and ADU in the overscan, read order."""
    capacity = round(settings.pocket_adu * amplifier.gain)
    n_overscan = settings.overscan_columns
    if capacity == 0:
        return electrons, np.zeros((len(electrons), n_overscan), np.float32)
    rows = to_read_order(electrons, amplifier.qid)
    read = defer(rows, n_overscan, capacity, settings.pocket_sharpness, random)
    late = read[:, -n_overscan:] / np.float32(amplifier.gain)
    return to_read_order(read[:, :-n_overscan], amplifier.qid).copy(), late


def _levels(amplifier: Amplifier, ny: int, random: np.random.Generator) -> np.ndarray:
    """Offset of each row read, (ny, 1): drifts from frame to frame by half an ADU."""
    position = np.linspace(-0.5, 0.5, ny)
    level = amplifier.level_adu + 0.5 * random.standard_normal()
    return (level + amplifier.tilt_adu * position)[:, None].astype(np.float32)
