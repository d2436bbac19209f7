"""The response that the linearity correction y = x / (A x^2 + B x + 1) undoes."""

from pathlib import Path

import numpy as np

from ztfpsf.errors import InputError

# Last night and name of each of ZTF's tables.
TABLES = (
    ("20191022", "linearity_coeffs_201803.txt"),
    ("20200427", "linearity_coeffs_201910.txt"),
    ("99999999", "linearity_coeffs_202004.txt"),
)


def table_name(night: str) -> str:
    """File name of the table valid on a night, YYYYMMDD."""
    return next(name for last, name in TABLES if night <= last)


def read_coefficients(path: str | Path, ccdid: int, amp_id: int) -> tuple[float, float]:
    """A and B of one amplifier from a table with columns CCDID, AMP_NAME, AMP_ID, A, B."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such linearity table; correct its path.") from None
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    for row in rows:
        if (int(row[0]), int(row[2])) == (ccdid, amp_id):
            return float(row[3]), float(row[4])
    raise InputError(
        f"{path}: no row of CCD {ccdid}, amplifier {amp_id}; give a table of the whole camera."
    )


def measured_adu(linear_adu: np.ndarray, a: float, b: float) -> np.ndarray:
    """Measured signal x of a true signal y, both in ADU above the bias; shape and dtype of y.

    x is the root of A y x^2 + (B y - 1) x + y = 0 that goes to y for small y.
    """
    p = 1 - linear_adu * b
    root = np.sqrt(np.maximum(p * p - 4 * a * linear_adu * linear_adu, 0))
    return 2 * linear_adu / (p + root)
