"""The true detector: what every amplifier adds to and takes from the light."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ztfpsf.simulation.linearity import read_coefficients
from ztfpsf.simulation.plan import QUADRANTS
from ztfpsf.simulation.seeds import generator
from ztfpsf.simulation.settings import DetectorSettings
from ztfpsf.simulation.wcs import quadrant_offset_px

CAMERA_RADIUS_PX = 20000.0  # from the centre to a corner of the camera
LOW_RESPONSE = 0.02  # of dead pixels


class Amplifier(NamedTuple):
    """The truth about one quadrant; images have shape (ny, nx), float32, stored order."""

    ccdid: int
    qid: int
    gain: float  # e-/ADU
    read_noise_electron: float
    level_adu: float  # of the overscan
    tilt_adu: float  # of the overscan, from the first to the last row read
    bias_adu: np.ndarray  # above the overscan
    response: np.ndarray  # signal in ADU of a uniform light of 1, median 1 over the CCD: the flat
    hot_electron_s: np.ndarray  # dark current of the hot pixels, in the order of np.nonzero
    bad: np.ndarray  # uint8: 1 dead, 2 hot
    coefficients: tuple[float, float]  # A, B of the linearity correction
    field_px: tuple[np.ndarray, np.ndarray]  # East (nx,) and North (ny,) of the camera's centre


def _gain(settings: DetectorSettings, seed: int, ccdid: int, qid: int) -> float:
    random = generator(seed, "gain", ccdid, qid)
    return float(settings.gain * (1 + settings.gain_spread * random.standard_normal()))


def field_positions(
    settings: DetectorSettings, ccdid: int, qid: int
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of columns (East) and rows (North) from the camera's centre, px."""
    east, north = quadrant_offset_px(ccdid, qid, settings.nx, settings.ny)
    # Stored images have x to the West, y to the South.
    x = east - (np.arange(settings.nx) - (settings.nx - 1) / 2)
    y = north - (np.arange(settings.ny) - (settings.ny - 1) / 2)
    return x, y


def _smooth_response(settings: DetectorSettings, ccdid: int, qid: int, step: int) -> np.ndarray:
    x, y = (
        (axis[::step] / CAMERA_RADIUS_PX).astype(np.float32)
        for axis in field_positions(settings, ccdid, qid)
    )
    return 1 - settings.vignetting * (x[None, :] ** 2 + y[:, None] ** 2)


@lru_cache(maxsize=32)
def response_scale(settings: DetectorSettings, seed: int, ccdid: int) -> float:
    """Median over the CCD of the response in ADU, before it is normalised to 1."""
    step = max(1, settings.nx // 400)
    random = generator(seed, "scale", ccdid)
    parts = [
        _smooth_response(settings, ccdid, qid, step) / _gain(settings, seed, ccdid, qid)
        for qid in QUADRANTS
    ]
    sample = np.concatenate([part.ravel() for part in parts])
    # The median of four levels side by side depends on the scatter about them.
    sample *= 1 + settings.pixel_response * random.standard_normal(sample.size)
    return float(np.median(sample))


@lru_cache(maxsize=4)
def make_amplifier(settings: DetectorSettings, seed: int, ccdid: int, qid: int) -> Amplifier:
    """The detector's truth of one quadrant, always the same for a seed."""
    nx, ny = settings.nx, settings.ny
    random = generator(seed, "amplifier", ccdid, qid)
    gain = _gain(settings, seed, ccdid, qid)
    read_noise = settings.read_noise_electron * (
        1 + settings.read_noise_spread * random.standard_normal()
    )
    level = settings.bias_adu + 5 * random.standard_normal()
    tilt = settings.overscan_tilt_adu * random.uniform(0.5, 1.5) * random.choice([-1, 1])
    bias = _bias(settings, random)
    response = random.standard_normal((ny, nx), dtype=np.float32)
    response *= np.float32(settings.pixel_response)
    response += 1
    response *= _smooth_response(settings, ccdid, qid, 1)
    response /= np.float32(gain * response_scale(settings, seed, ccdid))
    bad = _bad_pixels(settings, random)
    response[bad == 1] *= LOW_RESPONSE
    hot = settings.hot_electron_s * (0.5 + random.exponential(1.0, np.count_nonzero(bad == 2)))
    coefficients = (0.0, 0.0)
    if settings.linearity_table is not None:
        coefficients = read_coefficients(settings.linearity_table, ccdid, qid - 1)
    return Amplifier(
        ccdid,
        qid,
        gain,
        float(read_noise),
        float(level),
        float(tilt),
        bias,
        response,
        hot.astype(np.float32),
        bad,
        coefficients,
        field_positions(settings, ccdid, qid),
    )


def _bias(settings: DetectorSettings, random: np.random.Generator) -> np.ndarray:
    """Ramp at the side of the amplifier, waves, and a pattern of columns; shape (ny, nx)."""
    x, y = np.arange(settings.nx) / settings.nx, np.arange(settings.ny) / settings.ny
    amplitude = settings.bias_structure_adu * random.uniform(0.5, 1.0, 4)
    columns = amplitude[0] * np.exp(-x / 0.05) + 0.1 * amplitude[1] * random.standard_normal(x.size)
    waves = 0.3 * amplitude[2] * np.sin(2 * np.pi * (x + random.random()))
    rows = amplitude[3] * (y - 0.5)
    columns, waves, rows, phase = (
        part.astype(np.float32) for part in (columns, waves, rows, np.cos(np.pi * y))
    )
    return columns + waves * phase[:, None] + rows[:, None]


def _bad_pixels(settings: DetectorSettings, random: np.random.Generator) -> np.ndarray:
    nx, ny = settings.nx, settings.ny
    bad = np.zeros((ny, nx), dtype=np.uint8)
    for kind, fraction in ((1, settings.dead_fraction), (2, settings.hot_fraction)):
        n = round(fraction * nx * ny)
        bad[random.integers(0, ny, n), random.integers(0, nx, n)] = kind
    for column in random.integers(0, nx, settings.dead_columns):
        bad[random.integers(0, ny // 2) :, column] = 1
    return bad


def led_response(
    settings: DetectorSettings, amplifier: Amplifier, led: int, leds: tuple[int, ...]
) -> np.ndarray:
    """Illumination of one LED relative to the sky's, shape (ny, nx), float32.

    A gradient over the camera in a direction of its own; over the LEDs of a filter it cancels,
    so that their mean is the response to the sky.
    """
    angles = 2 * np.pi * np.arange(len(leds)) / len(leds)
    k = leds.index(led)
    east = settings.led_gradient * (np.cos(angles[k]) - np.cos(angles).mean())
    north = settings.led_gradient * (np.sin(angles[k]) - np.sin(angles).mean())
    x, y = ((axis / CAMERA_RADIUS_PX).astype(np.float32) for axis in amplifier.field_px)
    return 1 + np.float32(east) * x[None, :] + np.float32(north) * y[:, None]
