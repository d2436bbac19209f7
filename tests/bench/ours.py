"""One step of the calibration by this workflow, on the frames of a list.

`floor` decodes the frames and passes over their pixels once, nothing else.

    PYTHONPATH=scripts python tests/bench/ours.py floor|bias|flat|science frames.json folder
"""

import json
import sys
import time
from pathlib import Path

import yaml
from calibrate_science import calibrate_science
from make_master_bias import make_master_bias
from make_master_flat import make_master_flat
from normalise_flats import normalise_flats
from ztfpsf.calibration.detector import BLOCK_ROWS
from ztfpsf.calibration.raw import QUADRANTS, open_raw
from ztfpsf.names import parse_raw

CONFIG = yaml.safe_load((Path(__file__).parents[2] / "config" / "config.yaml").read_text())


def what(path: str) -> dict:
    """Night and CCD of a frame, and the configuration of the detector."""
    name = parse_raw(Path(path).name)
    return {"night": name.night, "ccdid": name.ccdid, "detector": CONFIG["detector"]}


def read_once(frames: dict, folder: Path) -> None:
    ny, _ = CONFIG["detector"]["quadrant_shape"]
    for path in frames["bias"]:
        with open_raw(path) as frame:
            for qid in QUADRANTS:
                for first in range(0, ny, BLOCK_ROWS):
                    frame.rows(qid, first, min(first + BLOCK_ROWS, ny)).sum()


def make_bias(frames: dict, folder: Path) -> None:
    make_master_bias(
        paths_to_frames=frames["bias"],
        path_to_bias=str(folder / "bias.fits"),
        settings={**CONFIG["make_master_bias"], "n_skip": 0},
        **what(frames["bias"][0]),
    )


def make_flat(frames: dict, folder: Path) -> None:
    paths = [path for group in frames["flat"].values() for path in group]
    make_master_flat(
        paths_to_frames=paths,
        path_to_bias=str(folder / "bias.fits"),
        path_to_flat=str(folder / "flat.fits"),
        filtercode=parse_raw(Path(paths[0]).name).filtercode,
        settings=CONFIG["make_master_flat"],
        missing="",
        **what(paths[0]),
    )
    normalise_flats(
        paths_to_flats=[str(folder / "flat.fits")],
        path_to_focal_plane=str(folder / "focal_plane.json"),
        ccdids=[parse_raw(Path(paths[0]).name).ccdid],
        min_ccds=1,
    )


def calibrate(frames: dict, folder: Path) -> None:
    for path in frames["science"]:
        products = {
            f"paths_to_{kind}": [str(folder / f"q{qid}_{kind}.fits") for qid in QUADRANTS]
            for kind in ("sciimg", "varimg", "mskimg")
        }
        calibrate_science(
            path_to_raw=path,
            path_to_bias=str(folder / "bias.fits"),
            path_to_flat=str(folder / "flat.fits"),
            path_to_focal_plane=str(folder / "focal_plane.json"),
            paths_to_ipac=[],
            path_to_status=str(folder / "status.json"),
            detector=CONFIG["detector"],
            settings=CONFIG["calibrate_science"],
            missing="",
            **products,
        )


STEPS = {"floor": read_once, "bias": make_bias, "flat": make_flat, "science": calibrate}

if __name__ == "__main__":
    started = time.process_time()
    STEPS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3]))
    print(json.dumps({"import_cpu_s": started, "work_cpu_s": time.process_time() - started}))
