"""A night of raw CCD frames: what is taken, and how each file comes about."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.simulation import cosmics
from ztfpsf.simulation.detector import Amplifier, led_response, make_amplifier
from ztfpsf.simulation.headers import Exposure
from ztfpsf.simulation.plan import QUADRANTS, PlannedFrame, plan_night
from ztfpsf.simulation.raw import primary_header, write_raw
from ztfpsf.simulation.readout import RawAmplifier, collect, read_out
from ztfpsf.simulation.seeds import generator
from ztfpsf.simulation.settings import NightSettings
from ztfpsf.simulation.silicon import add_silicon_stars
from ztfpsf.simulation.sky import SkyScene, make_scene
from ztfpsf.simulation.wcs import SCALE_DEG

READOUT_S = 8.0


def make_exposure(settings: NightSettings, frame: PlannedFrame) -> Exposure:
    """Pointing and duration of a frame; object frames are dithered."""
    exptime = {"b": 0.0, "f": settings.flat_exptime_s, "o": settings.exptime_s}[frame.kind]
    ra, dec = settings.ra_deg, settings.dec_deg
    if frame.kind == "o":
        east, north = generator(settings.seed, "dither", frame.filefracday).uniform(-1, 1, 2)
        ra += settings.dither_px * SCALE_DEG * east / np.cos(np.radians(dec))
        dec += settings.dither_px * SCALE_DEG * north
    return Exposure(
        frame.filefracday, frame.field, frame.filtercode, exptime, float(ra), float(dec)
    )


def frame_table(settings: NightSettings) -> pd.DataFrame:
    """One row per raw file: path below the root, and what the frame is."""
    rows = [
        {"path": frame.path(ccdid), "ccdid": ccdid, **frame._asdict()}
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
    settings: NightSettings, frame: PlannedFrame, amplifier: Amplifier
) -> SimulatedAmplifier:
    """Light, detector and readout of one amplifier in one frame."""
    ccdid, qid = amplifier.ccdid, amplifier.qid
    random = generator(settings.seed, frame.file_name(ccdid), qid)
    exposure = make_exposure(settings, frame)
    scene = make_scene(settings, exposure, ccdid, qid) if frame.kind == "o" else None
    expected = _expected_electrons(settings, frame, amplifier, scene)
    electrons = collect(expected, random)
    if scene is not None:
        add_silicon_stars(electrons, scene, amplifier, settings.sky.brighter_fatter, random)
    seconds = exposure.exptime_s + READOUT_S / 2
    rate = settings.sky.cosmic_rays_per_mpx_s * expected.size / 1e6
    ny, nx = expected.shape
    tracks = cosmics.make_tracks(random, random.poisson(rate * seconds), nx, ny)
    hit = cosmics.add_tracks(electrons, tracks)
    return SimulatedAmplifier(
        read_out(electrons, amplifier, settings.detector, random), tracks, hit, scene
    )


def _expected_electrons(
    settings: NightSettings,
    frame: PlannedFrame,
    amplifier: Amplifier,
    scene: SkyScene | None,
) -> np.ndarray:
    if scene is not None:
        light = scene.light_adu * amplifier.response
    elif frame.led is not None:
        leds = settings.filters[frame.filtercode]
        light = led_response(settings.detector, amplifier, frame.led, leds)
        light *= np.float32(_lamp(settings, frame)) * amplifier.response
    else:
        light = np.zeros_like(amplifier.response)
    light *= np.float32(amplifier.gain)
    exptime = make_exposure(settings, frame).exptime_s
    light[amplifier.bad == 2] += amplifier.hot_electron_s * np.float32(exptime)
    return light


def _lamp(settings: NightSettings, frame: PlannedFrame) -> float:
    """Level of a flat, ADU: each LED has its own, and lamps drift by half a per cent."""
    led = generator(settings.seed, "led", str(frame.led)).uniform(0.8, 1.2)
    drift = generator(settings.seed, "lamp", frame.filefracday).standard_normal()
    return settings.flat_level_adu * led * (1 + 0.005 * drift)


def simulate_ccd(
    settings: NightSettings, frame: PlannedFrame, ccdid: int, root: Path, provenance: dict
) -> list[SimulatedAmplifier]:
    """Simulate the four amplifiers of a CCD in one frame and write the raw file."""
    amplifiers = [make_amplifier(settings.detector, settings.seed, ccdid, q) for q in QUADRANTS]
    simulated = [simulate_amplifier(settings, frame, amplifier) for amplifier in amplifiers]
    primary = primary_header(make_exposure(settings, frame), frame, ccdid)
    write_raw(
        root / frame.path(ccdid), primary, amplifiers, [part.raw for part in simulated], provenance
    )
    return simulated
