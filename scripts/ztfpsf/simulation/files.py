"""The files of a simulated CCD: raw frames in several processes, and the truth about them."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from ztfpsf.io import write_table
from ztfpsf.simulation.detector import make_amplifier
from ztfpsf.simulation.night import simulate_ccd
from ztfpsf.simulation.plan import QUADRANTS, PlannedFrame, ccd_path, detector_path, plan_night
from ztfpsf.simulation.settings import NightSettings
from ztfpsf.simulation.truth import write_detector_truth, write_exposure_truth


def simulate_ccd_files(
    night: NightSettings, ccdid: int, root: Path, provenance: dict[str, Any], n_processes: int
) -> Iterator[str]:
    """Write all of a CCD below `root`; yields after each frame how far it is: 1/12 and the name."""
    simulate_detector(night, ccdid, root, provenance)
    # The slowest first.
    frames = plan_night(night)[::-1]
    tracks = []
    with process_map(n_processes) as each:
        tables = each(partial(simulate_frame, night, ccdid, root, provenance), frames)
        for number, (frame, table) in enumerate(zip(frames, tables, strict=True), start=1):
            tracks.append(table)
            yield f"{number}/{len(frames)} {frame.file_name(ccdid)}"
    table = pd.concat(tracks, ignore_index=True)
    write_table(table, root / ccd_path(night.night, ccdid, "cosmics"), provenance)


def simulate_detector(
    night: NightSettings, ccdid: int, root: Path, provenance: Mapping[str, Any]
) -> None:
    """Write the truth about a CCD. Its arrays stay cached for the frames."""
    tables = [
        write_detector_truth(
            make_amplifier(night.detector, night.seed, ccdid, qid),
            root / detector_path(night.night, ccdid, qid),
            provenance,
        )
        for qid in QUADRANTS
    ]
    path = root / ccd_path(night.night, ccdid, "bad_pixels")
    write_table(pd.concat(tables, ignore_index=True), path, provenance)


def simulate_frame(
    night: NightSettings, ccdid: int, root: Path, provenance: dict[str, Any], frame: PlannedFrame
) -> pd.DataFrame:
    """Write one raw file and its truth; returns its cosmic rays."""
    parts = simulate_ccd(night, frame, ccdid, root, provenance)
    if frame.kind == "o":
        for qid, part in zip(QUADRANTS, parts, strict=True):
            amplifier = make_amplifier(night.detector, night.seed, ccdid, qid)
            write_exposure_truth(night, frame, amplifier, part, root, provenance)
    path = frame.path(ccdid)
    return pd.concat(
        [part.tracks.assign(path=path, qid=qid) for qid, part in zip(QUADRANTS, parts, strict=True)]
    )


@contextmanager
def process_map(n_processes: int) -> Iterator[Any]:
    """`map` over some processes; forked ones share the detector's arrays."""
    if n_processes == 1:
        yield map
        return
    with ProcessPoolExecutor(n_processes, mp_context=get_context("fork")) as pool:
        yield pool.map
