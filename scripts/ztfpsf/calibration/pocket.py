"""Pocket effect: a trap in the serial register that holds charge back and gives it up later.

Per row, pixel by pixel in read order, with n the true signal and q the trapped charge (0 at the
start of a row), all in ADU (model of the ztfsensors package, v0.1):

    from = clip(cmax (q/cmax)^alpha, 0, q)
    to = clip(cmax (1 - q/cmax)^alpha (n/nmax)^beta, 0, n)
    observed = n + from - to;  q <- max(q + to - from, 0)

The inverse is the fixed point n <- n + observed - model(n), which gains a factor of ~18 per step.
The effect acts after the last row's charge is gone, so the overscan is not needed to invert it.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from ztfpsf.calibration.orientation import read_to_stored, stored_to_read
from ztfpsf.errors import InputError, first_sentence
from ztfpsf.fits_files import check_file

N_ITERATIONS = 4


class Pocket(NamedTuple):
    """Parameters of one quadrant."""

    alpha: float
    cmax: float  # capacity of the trap, ADU
    beta: float
    nmax: float  # signal that fills it, ADU


def read_pockets(path: str | Path) -> dict[tuple[int, int], Pocket]:
    """Parameters by (ccdid, qid) from YAML: data: [{ccdid, qid, pars: {alpha, cmax, beta, nmax}}].

    This is the form of pocket_corrections.yaml of ztfsensors. Raises InputError.
    """
    check_file(path, "correct detector.pocket_parameters")
    try:
        rows = yaml.safe_load(Path(path).read_text("utf-8"))["data"]
        pockets = {
            (row["ccdid"], row["qid"]): Pocket(
                **{name: float(row["pars"][name]) for name in Pocket._fields}
            )
            for row in rows
        }
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {first_sentence(error)}"
        raise InputError(
            f"{path}: not a table of pocket parameters ({said}); give 'data:' with ccdid, qid and "
            "pars (alpha, cmax, beta, nmax) per quadrant."
        ) from None
    for (ccdid, qid), pocket in pockets.items():
        if not (np.isfinite(pocket).all() and min(pocket) > 0):
            raise InputError(
                f"{path}: {pocket} of CCD {ccdid} quadrant {qid} describes no trap; give positive "
                "numbers."
            )
    return pockets


def forward(signal_adu: np.ndarray, pocket: Pocket) -> np.ndarray:
    """Observed rows of true rows, shape (n_rows, n_columns) in read order, dtype as given."""
    columns = np.ascontiguousarray(signal_adu.T)
    observed = np.empty_like(columns)
    charge = np.zeros(columns.shape[1], dtype=columns.dtype)
    capacities = pocket.cmax * (np.maximum(columns, 0) / pocket.nmax) ** pocket.beta
    for i, signal in enumerate(columns):
        filled = charge / pocket.cmax
        released = np.clip(pocket.cmax * filled**pocket.alpha, 0, charge)
        room = np.maximum(1 - filled, 0) ** pocket.alpha
        trapped = np.clip(capacities[i] * room, 0, np.maximum(signal, 0))
        delta = released - trapped
        observed[i] = signal + delta
        charge = np.maximum(charge - delta, 0)
    return observed.T


def invert(observed_adu: np.ndarray, pocket: Pocket) -> np.ndarray:
    """True rows of observed rows, shape (n_rows, n_columns) in read order."""
    signal = observed_adu
    for _ in range(N_ITERATIONS):
        signal = signal + (observed_adu - forward(signal, pocket))
    return signal


def correct_pocket(stored_adu: np.ndarray, qid: int, pocket: Pocket) -> np.ndarray:
    """Stored rows (n_rows, nx) freed of the effect, after overscan and linearity."""
    rows = stored_to_read(stored_adu, qid)
    return np.ascontiguousarray(read_to_stored(invert(rows, pocket), qid))


def cards(pocket: Pocket | None) -> list[tuple[str, object, str]]:
    """Header cards of the step."""
    if pocket is None:
        return [("POCKET", False, "pocket effect corrected")]
    return [
        ("POCKET", True, "pocket effect corrected"),
        ("POCALPHA", pocket.alpha, "pocket parameter alpha"),
        ("POCCMAX", pocket.cmax, "pocket parameter cmax (ADU)"),
        ("POCBETA", pocket.beta, "pocket parameter beta"),
        ("POCNMAX", pocket.nmax, "pocket parameter nmax (ADU)"),
    ]
