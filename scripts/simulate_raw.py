"""Rule simulate_raw: a night of raw CCD frames in ZTF's format, and the truth about it."""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from ztfpsf.io import make_provenance, write_table, write_text
from ztfpsf.jobs import job
from ztfpsf.simulation.detector import make_amplifier
from ztfpsf.simulation.linearity import table_name
from ztfpsf.simulation.night import frame_table, simulate_ccd
from ztfpsf.simulation.plan import QUADRANTS, PlannedFrame, ccd_path, detector_path, plan_night
from ztfpsf.simulation.settings import NightSettings, make_settings
from ztfpsf.simulation.sky import sky_catalogue
from ztfpsf.simulation.truth import write_detector_truth, write_exposure_truth

logger = logging.getLogger("ztfpsf")


def simulate_raw(
    *,
    path_to_linearity: str,
    path_to_night: str,
    path_to_catalogue: str,
    path_to_frames: str,
    settings: Mapping[str, Any],
    n_processes: int,
) -> None:
    """Write a night below `path_to_night` and, last, the catalogue and the list of the frames.

    raw/ and sci/ have ZTF's layout (sci/ holds headers only), truth/ says what is in the frames.
    `path_to_linearity` is the folder of ZTF's linearity tables, or "" for a linear detector.
    """
    night = make_settings(NightSettings, settings, "config: simulate_raw")
    if path_to_linearity:
        table = str(Path(path_to_linearity) / table_name(night.night))
        night = replace(night, detector=replace(night.detector, linearity_table=table))
    root = Path(path_to_night)
    provenance = make_provenance([], settings)
    for ccdid in night.ccdids:
        simulate_detector(night, ccdid, root, provenance)
        work = partial(simulate_frame, night, ccdid, root, provenance)
        # The slowest first.
        frames = plan_night(night)[::-1]
        with process_map(n_processes) as each:
            names = [frame.file_name(ccdid) for frame in frames]
            tracks = pd.concat(log_progress(each(work, frames), names), ignore_index=True)
        write_table(tracks, root / ccd_path(night.night, ccdid, "cosmics"), provenance)
    stars = pd.concat([sky_catalogue(night, ccdid) for ccdid in night.ccdids], ignore_index=True)
    catalogue = stars[["ra", "dec", "mag"]].drop_duplicates(ignore_index=True)
    write_table(catalogue, path_to_catalogue, provenance)
    write_text(frame_table(night).to_csv(index=False), path_to_frames)


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


def log_progress(tables: Iterator[pd.DataFrame], names: list[str]) -> Iterator[pd.DataFrame]:
    for number, (table, name) in enumerate(zip(tables, names, strict=True), start=1):
        logger.info("%d/%d %s", number, len(names), name)
        yield table


if __name__ == "__main__":
    with job(snakemake.log[0]):
        simulate_raw(
            path_to_linearity=snakemake.params.linearity,
            path_to_night=str(Path(snakemake.output.frames).parent),
            path_to_catalogue=snakemake.output.catalogue,
            path_to_frames=snakemake.output.frames,
            settings=snakemake.params.settings,
            n_processes=snakemake.threads,
        )
