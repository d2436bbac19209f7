"""A night of raw CCD frames: what is taken, and how each file comes about."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.simulation import cosmics
from ztfpsf.simulation.detector import (
    QUADRANTS,
    Amplifier,
    led_response,
    make_amplifier,
)
from ztfpsf.simulation.headers import Exposure
from ztfpsf.simulation.raw import primary_header, raw_name, raw_path, write_raw
from ztfpsf.simulation.readout import RawAmplifier, collect, read_out
from ztfpsf.simulation.seeds import generator
from ztfpsf.simulation.settings import NightSettings
from ztfpsf.simulation.silicon import add_silicon_stars
from ztfpsf.simulation.sky import SkyScene, make_scene
from ztfpsf.simulation.wcs import SCALE_DEG

READOUT_S = 8.0
# First frame of each kind and the step between frames, in 10^-6 day.
CLOCK = {"b": (80000, 600), "f": (120000, 800), "o": (300000, 500)}


class Frame(NamedTuple):
    """One shutter opening."""

    exposure: Exposure
    kind: str  # b bias, f flat, o object
    led: int | None

    def path(self, ccdid: int) -> str:
        return raw_path(self.exposure, ccdid, self.kind)


def plan_night(settings: NightSettings) -> list[Frame]:
    """Every frame of the night, in the order of time."""
    biases = [("bi", None)] * settings.n_biases
    flats = [
        (name, led)
        for name, leds in settings.leds
        for led in leds
        for _ in range(settings.n_flats_per_led)
    ]
    objects = [(name, None) for name, _ in settings.leds for _ in range(settings.n_exposures)]
    return [
        frame
        for kind, takes in (("b", biases), ("f", flats), ("o", objects))
        for frame in _plan_kind(settings, kind, takes)
    ]


def _plan_kind(
    settings: NightSettings, kind: str, takes: list[tuple[str, int | None]]
) -> list[Frame]:
    start, step = CLOCK[kind]
    exptime = {"b": 0.0, "f": settings.flat_exptime_s, "o": settings.exptime_s}[kind]
    frames = []
    for index, (filtercode, led) in enumerate(takes):
        filefracday = f"{settings.night}{start + index * step:06d}"
        field, ra, dec = 0, settings.ra_deg, settings.dec_deg
        if kind == "o":
            field = settings.field_id
            east, north = generator(settings.seed, "dither", filefracday).uniform(-1, 1, 2)
            ra += settings.dither_px * SCALE_DEG * east / np.cos(np.radians(dec))
            dec += settings.dither_px * SCALE_DEG * north
        exposure = Exposure(filefracday, field, filtercode, exptime, float(ra), float(dec))
        frames.append(Frame(exposure, kind, led))
    return frames


def frame_table(settings: NightSettings) -> pd.DataFrame:
    """One row per raw file: path below the root, kind, CCD, filter, LED."""
    rows = [
        {
            "path": frame.path(ccdid),
            "kind": frame.kind,
            "filefracday": frame.exposure.filefracday,
            "field": frame.exposure.field,
            "filtercode": frame.exposure.filtercode,
            "ccdid": ccdid,
            "led": frame.led,
            "exptime_s": frame.exposure.exptime_s,
        }
        for ccdid in settings.ccdids
        for frame in plan_night(settings)
    ]
    return pd.DataFrame(rows).astype({"led": "Int64"})


class SimulatedAmplifier(NamedTuple):
    """One amplifier of one frame."""

    raw: RawAmplifier
    tracks: pd.DataFrame  # cosmic rays
    hit: np.ndarray  # (ny, nx) bool: pixels with cosmic rays
    scene: SkyScene | None  # of an object frame


def simulate_amplifier(
    settings: NightSettings, frame: Frame, amplifier: Amplifier
) -> SimulatedAmplifier:
    """Light, detector and readout of one amplifier in one frame."""
    ccdid, qid = amplifier.ccdid, amplifier.qid
    random = generator(settings.seed, raw_name(frame.exposure, ccdid, frame.kind), qid)
    scene = make_scene(settings, frame.exposure, ccdid, qid) if frame.kind == "o" else None
    expected = _expected_electrons(settings, frame, amplifier, scene, random)
    electrons = collect(expected, random)
    if scene is not None:
        add_silicon_stars(electrons, scene, amplifier, settings.sky.brighter_fatter, random)
    seconds = frame.exposure.exptime_s + READOUT_S / 2
    rate = settings.sky.cosmic_rays_per_mpx_s * expected.size / 1e6
    ny, nx = expected.shape
    tracks = cosmics.make_tracks(random, random.poisson(rate * seconds), nx, ny)
    hit = cosmics.add_tracks(electrons, tracks)
    return SimulatedAmplifier(
        read_out(electrons, amplifier, settings.detector, random), tracks, hit, scene
    )


def _expected_electrons(
    settings: NightSettings,
    frame: Frame,
    amplifier: Amplifier,
    scene: SkyScene | None,
    random: np.random.Generator,
) -> np.ndarray:
    if frame.kind == "b":
        light = np.zeros_like(amplifier.response)
    elif scene is not None:
        light = scene.light_adu * amplifier.response
    else:
        leds = dict(settings.leds)[frame.exposure.filtercode]
        lamp = _lamp(settings, frame)
        light = led_response(settings.detector, amplifier, frame.led, leds)
        light *= np.float32(lamp) * amplifier.response
    light *= np.float32(amplifier.gain)
    light[amplifier.bad == 2] += amplifier.hot_electron_s * np.float32(frame.exposure.exptime_s)
    return light


def _lamp(settings: NightSettings, frame: Frame) -> float:
    """Level of a flat, ADU: each LED has its own, and lamps drift by half a per cent."""
    led = generator(settings.seed, "led", frame.led).uniform(0.8, 1.2)
    drift = generator(settings.seed, "lamp", frame.exposure.filefracday).standard_normal()
    return settings.flat_level_adu * led * (1 + 0.005 * drift)


def simulate_ccd(
    settings: NightSettings, frame: Frame, ccdid: int, root: Path, provenance: dict
) -> list[SimulatedAmplifier]:
    """Simulate the four amplifiers of a CCD in one frame and write the raw file."""
    amplifiers = [make_amplifier(settings.detector, settings.seed, ccdid, q) for q in QUADRANTS]
    simulated = [simulate_amplifier(settings, frame, amplifier) for amplifier in amplifiers]
    primary = primary_header(frame.exposure, ccdid, frame.kind, frame.led)
    write_raw(
        root / frame.path(ccdid), primary, amplifiers, [part.raw for part in simulated], provenance
    )
    return simulated
