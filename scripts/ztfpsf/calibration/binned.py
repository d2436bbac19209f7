"""The masters of a focal plane in small: a number of each quadrant, and its pixels in blocks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from astropy.io import fits

from ztfpsf.calibration.products import OK, Master, open_master
from ztfpsf.calibration.raw import QUADRANTS
from ztfpsf.fits_files import damage_named
from ztfpsf.io import make_again, open_product, write_fits

RULE = "bin_masters"
BLOCKS = 48  # along the longer side of a quadrant


class Binned(NamedTuple):
    """Masters of one kind, night and filter; the rows of `quadrants` and `pixels` are parallel."""

    quadrants: pd.DataFrame  # see `measure_master`
    pixels: np.ndarray  # (n, ny, nx) float32: means of the good pixels of blocks, stored order


def bin_pixels(pixels: np.ndarray, good: np.ndarray, block_px: int) -> np.ndarray:
    """Means of the good pixels of blocks of block_px x block_px, (ny, nx) to
    (ceil(ny / block_px), ceil(nx / block_px)) float32; NaN where none is good.
    """
    edges = [np.arange(0, length, block_px) for length in pixels.shape]

    def total(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(values, edges[0], axis=0), edges[1], axis=1)

    sums, counts = total(np.where(good, pixels, 0.0).astype(float)), total(good.astype(float))
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0).astype("f4")


def measure_master(master: Master, qid: int, scale: float) -> tuple[dict[str, Any], np.ndarray]:
    """Row and binned pixels of a quadrant; a failed one has its status and NaN.

    The row: ccdid, qid, status; median and rms of the binned pixels (ADU; of a flat relative to
    the focal plane, which is its response times `scale`), overscan_adu (median level of the
    overscan), read_noise_electron (of a frame as measured), n_frames.
    """
    header = master.hdus[f"Q{qid}"].header
    ny, nx = master.shape(qid)
    frame = scale * master.rows(qid, 0, ny)
    good = np.isfinite(frame) & (master.mask(qid) == 0)
    binned = bin_pixels(frame, good, -(-max(ny, nx) // BLOCKS))
    known = binned[np.isfinite(binned)]
    row = {
        "ccdid": master.primary()["CCDID"],
        "qid": qid,
        "status": master.status(qid),
        "median": float(np.median(known)) if known.size else np.nan,
        "rms": float(np.std(known)) if known.size else np.nan,
        "overscan_adu": header.get("OVSMED", np.nan),
        "read_noise_electron": header.get("NOISEADU", np.nan) * header.get("GAIN", np.nan),
        "n_frames": header.get("NFRAMES", 0),
    }
    return row, binned if row["status"] == OK else np.full_like(binned, np.nan)


def bin_ccds(
    paths: Sequence[str | Path], kind: str, ccdids: Sequence[int], scales: Mapping[int, float]
) -> Binned:
    """The masters of `kind` of some CCDs, one path each; `scales` by CCD: see `measure_master`."""
    rows, pixels = [], []
    for path, ccdid in zip(paths, ccdids, strict=True):
        with open_master(path, kind, ccdid) as master:
            for qid in QUADRANTS:
                row, binned = measure_master(master, qid, scales.get(ccdid, 1.0))
                rows.append(row)
                pixels.append(binned)
    return Binned(pd.DataFrame(rows), np.stack(pixels))


def write_binned(binned: Binned, path: str | Path, provenance: Mapping[str, Any]) -> None:
    """Write HDUs QUADRANTS (table) and PIXELS (cube, quadrant = first axis)."""
    table = binned.quadrants
    formats = {"i": "J", "f": "D"}
    columns = [
        fits.Column(name, formats.get(table[name].dtype.kind, "A200"), array=table[name].to_numpy())
        for name in table
    ]
    hdus = [
        fits.PrimaryHDU(),
        fits.BinTableHDU.from_columns(columns, name="QUADRANTS"),
        fits.ImageHDU(binned.pixels, name="PIXELS"),
    ]
    write_fits(fits.HDUList(hdus), path, provenance)


def read_binned(path: str | Path) -> Binned:
    """Read a file of write_binned. Raises InputError when it is not one."""
    with open_product(path, RULE) as hdus, damage_named(path, make_again(RULE)):
        data = hdus["QUADRANTS"].data
        table = {
            name: [str(value) for value in data[name]]
            if name == "status"
            else data[name].astype(data[name].dtype.newbyteorder("="))
            for name in data.names
        }
        return Binned(pd.DataFrame(table), hdus["PIXELS"].data.astype(np.float32))


def subtract(binned: Binned, earlier: Binned) -> Binned:
    """`binned` less the same quadrants of earlier masters; NaN where one of the two lacks it."""
    key = ["ccdid", "qid"]
    place = pd.Series(
        np.arange(len(earlier.quadrants)), index=pd.MultiIndex.from_frame(earlier.quadrants[key])
    )
    found = place.reindex(pd.MultiIndex.from_frame(binned.quadrants[key]))
    pixels = np.full_like(binned.pixels, np.nan)
    known = found.notna().to_numpy()
    pixels[known] = binned.pixels[known] - earlier.pixels[found[known].to_numpy(int)]
    return Binned(binned.quadrants, pixels)
