"""One step of the calibration by ztfimg 0.19.0 and ztfin2p3 0.4.1, on the frames of a list.

Runs in an environment of its own (envs/bench.lock). Their commands expect the data base of
CC-IN2P3, and ztfin2p3's build_science_data refers to an undefined flat_coef: the steps are put
together here from the functions that these commands call, as they call them.

    python tests/bench/upstream.py bias|flat|science frames.json folder
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import ztfimg
from astropy.io import fits
from ztfin2p3.builder import get_meandata

CLIPPING = {
    "sigma_clip": 3,
    "mergedhow": "nanmean",
    "clipping_prop": {
        "maxiters": 1,
        "cenfunc": "median",
        "stdfunc": "std",
        "masked": False,
        "copy": False,
    },
}
# The overscan columns of both sides.
OVERSCAN = {"userange": [25, 30]}


def read_ccd(path: str) -> np.ndarray:
    frame = ztfimg.RawCCD.from_filename(path, as_path=True, use_dask=False)
    return frame.get_data(corr_nl=True, corr_overscan=True, overscan_prop=OVERSCAN)


def make_bias(frames: dict, folder: Path) -> None:
    stack = np.stack([read_ccd(path) for path in frames["bias"]])
    fits.writeto(folder / "bias.fits", get_meandata(stack, **CLIPPING), overwrite=True)


def make_flat(frames: dict, folder: Path) -> None:
    bias = fits.getdata(folder / "bias.fits")
    flats = []
    for paths in frames["flat"].values():
        flat = get_meandata(np.stack([read_ccd(path) - bias for path in paths]), **CLIPPING)
        flats.append(flat / np.nanmedian(flat))
    fits.writeto(folder / "flat.fits", np.mean(flats, axis=0), overwrite=True)


def calibrate(frames: dict, folder: Path) -> None:
    bias, flat = (fits.getdata(folder / f"{name}.fits") for name in ("bias", "flat"))
    for path in frames["science"]:
        image = read_ccd(path)
        image -= bias
        image /= flat
        ccd = ztfimg.CCD.from_data(image)
        for qid, data in enumerate(ccd.get_quadrantdata(from_data=True, reorder=False), start=1):
            fits.writeto(folder / f"q{qid}_sciimg.fits", data, overwrite=True)


STEPS = {"bias": make_bias, "flat": make_flat, "science": calibrate}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    started = time.process_time()
    STEPS[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3]))
    print(json.dumps({"import_cpu_s": started, "work_cpu_s": time.process_time() - started}))
