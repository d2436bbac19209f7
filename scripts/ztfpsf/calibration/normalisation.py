"""Normalisation of the 16 flats of a night and filter to the whole focal plane.

N_FP = median over all pixels of all CCDs of F_c FLTNORM_c, from a regular subsample and without
the pixels that are NaN or masked. A science image is divided by F_c FLTNORM_c / N_FP, which keeps
the ratio between CCDs. Kept as JSON beside the flats; the flats are not touched.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ztfpsf.calibration.products import OK, Master, open_master
from ztfpsf.calibration.raw import QUADRANTS
from ztfpsf.cards import require_keyword
from ztfpsf.errors import InputError
from ztfpsf.io import make_again, read_json

# Every STEP-th row and column of a full quadrant: the median of ZTF's response is then good to
# 1e-4. Smaller quadrants are read in full.
STEP = 8
MIN_PIXELS = 100_000


def sample_signal(flat: Master) -> np.ndarray:
    """F FLTNORM (ADU) on a regular subsample of the good pixels of a CCD, float32."""
    norm = require_keyword(flat.primary(), "FLTNORM", flat.path)
    values = []
    for qid in QUADRANTS:
        if flat.status(qid) == OK:
            ny, nx = flat.shape(qid)
            step = STEP if ny * nx > MIN_PIXELS * STEP**2 else 1
            response = flat.rows(qid, 0, ny)[::step, ::step]
            good = np.isfinite(response) & (flat.mask(qid)[::step, ::step] == 0)
            values.append(response[good] * np.float32(norm))
    return np.concatenate(values) if values else np.empty(0, np.float32)


def normalise(paths: Sequence[str | Path], ccdids: Sequence[int], min_ccds: int) -> dict[str, Any]:
    """Focal-plane record of the flats of one night and filter.

    Returns {"night", "filtercode", "norm_adu": N_FP, "n_ccds", "ccds": {ccdid: {"fltnorm_adu",
    "scale": FLTNORM_c / N_FP}}}. Raises InputError when flats are mixed or fewer than `min_ccds`
    CCDs have good pixels.
    """
    samples, norms, kinds, reasons = [], {}, set(), []
    for path, ccdid in zip(paths, ccdids, strict=True):
        with open_master(path, "flat", ccdid) as flat:
            values = sample_signal(flat)
            header = flat.primary()
            kinds.add((header["NIGHT"], header["FILTCODE"]))
            if values.size:
                norms[ccdid] = float(header["FLTNORM"])
                samples.append(values)
            else:
                reasons.append(f"CCD {ccdid}: {flat.reason() or 'no pixel is good'}")
    if len(kinds) > 1:
        raise InputError(
            f"the flats are of several nights or filters ({', '.join(map(str, sorted(kinds)))}); "
            "normalise one night and filter at a time."
        )
    if len(norms) < max(min_ccds, 1):
        raise InputError(
            f"{len(norms)} CCDs have a flat but min_ccds is {min_ccds}; make the missing flats or "
            "lower min_ccds" + (f" ({reasons[0].rstrip('.')})." if reasons else ".")
        )
    norm = float(np.median(np.concatenate(samples)))
    night, filtercode = kinds.pop()
    return {
        "night": night,
        "filtercode": filtercode,
        "norm_adu": norm,
        "n_ccds": len(norms),
        "ccds": {str(c): {"fltnorm_adu": n, "scale": n / norm} for c, n in norms.items()},
    }


def read_scale(path: str | Path, night: str, filtercode: str, ccdid: int) -> float:
    """Factor FLTNORM_c / N_FP to multiply a flat with. Raises InputError if it is not there."""
    record = read_json(path, "normalise_flats")
    try:
        found = record["night"], record["filtercode"]
        scale = record["ccds"][str(ccdid)]["scale"]
    except (KeyError, TypeError):
        raise InputError(
            f"{path}: has no normalisation of CCD {ccdid}; {make_again('normalise_flats')}."
        ) from None
    if found != (night, filtercode):
        raise InputError(
            f"{path}: normalises {found[1]} flats of {found[0]}, not {filtercode} of {night}; "
            "give the right file."
        )
    return float(scale)
