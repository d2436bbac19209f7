"""From electrons in the pixels to the numbers of a raw file."""

from typing import NamedTuple

import numpy as np

from ztfpsf.simulation.detector import Amplifier, DetectorSettings
from ztfpsf.simulation.linearity import measured_adu
from ztfpsf.simulation.pocket import defer
from ztfpsf.simulation.saturation import bleed

ADC_MAXIMUM = 65535.0
# Above this many electrons a normal deviate stands for a Poisson one (skewness under 1 %).
NORMAL_ELECTRONS = 20000.0

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
    """Electrons collected where `expected` are, float32."""
    few = expected < NORMAL_ELECTRONS
    if few.all():
        return random.poisson(expected).astype(np.float32)
    electrons = random.standard_normal(expected.shape, dtype=np.float32)
    electrons *= np.sqrt(expected)
    electrons += expected
    electrons[few] = random.poisson(expected[few])
    return electrons


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
    electrons /= np.float32(amplifier.gain)
    electrons += amplifier.bias_adu
    signal = measured_adu(electrons, *amplifier.coefficients)
    signal = to_read_order(signal, amplifier.qid)
    level = _levels(amplifier, signal.shape[0], random)
    noise_adu = np.float32(amplifier.read_noise_electron / amplifier.gain)
    columns = np.arange(settings.overscan_columns, dtype=np.float32)
    trail = settings.deferred_charge * np.exp(-columns / settings.deferred_columns)
    # The charge left behind by the last pixel of a row.
    overscan = trail.astype(np.float32) * np.maximum(signal[:, -1:], 0) + late
    raw = []
    for part in (signal, overscan):
        noisy = random.standard_normal(part.shape, dtype=np.float32)
        noisy *= noise_adu
        noisy += level
        noisy += part
        np.clip(noisy, 0, ADC_MAXIMUM, out=noisy)
        raw.append(np.ascontiguousarray(to_read_order(noisy, amplifier.qid)))
    return RawAmplifier(raw[0], raw[1], full)


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
