"""Correction of the non-linear response: y = x / (A x^2 + B x + 1), x and y in ADU above bias.

Coefficients per amplifier and epoch: S. Kaye, R. Smith and F. Masci (2018 to 2020), the tables
beside this module. An epoch is chosen by the night in the file name.
"""

from functools import cache
from pathlib import Path

import numpy as np

from ztfpsf.errors import InputError

# First night of each table.
EPOCHS = (
    ("00000000", "linearity_coeffs_201803.txt"),
    ("20191023", "linearity_coeffs_201910.txt"),
    ("20200428", "linearity_coeffs_202004.txt"),
)
KEYS = ("amp_id", "amp_name")


def table_of_night(night: str) -> str:
    """File name of the table valid on `night` (YYYYMMDD)."""
    return max((first, name) for first, name in EPOCHS if first <= night)[1]


@cache
def read_table(name: str) -> dict[tuple[int, str], tuple[float, float]]:
    """(A, B) by (ccdid, amplifier); an amplifier is known by its id '0'..'3' and name 'E'..'H'."""
    text = (Path(__file__).parent / "data" / name).read_text("utf-8")
    table = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        ccdid, amp_name, amp_id, a, b = line.split()
        for amplifier in (amp_id, amp_name.upper()):
            table[int(ccdid), amplifier] = float(a), float(b)
    return table


def coefficients(night: str, ccdid: int, amplifier: int | str) -> tuple[float, float]:
    """(A, B) of an amplifier, given by AMP_ID (0..3) or AMP_NAME (E..H), on a night.

    The two keys disagree for the CCDs that are mounted rotated; the table keyed by id is what
    ZTF's French pipeline uses. Raises InputError for an unknown amplifier.
    """
    key = ccdid, str(amplifier).strip().upper()
    name = table_of_night(night)
    try:
        return read_table(name)[key]
    except KeyError:
        raise InputError(
            f"CCD {ccdid} has no amplifier '{amplifier}' in {name}; "
            "correct AMP_ID or AMP_NAME in the raw header."
        ) from None


def correct_linearity(adu: np.ndarray, a: float, b: float) -> np.ndarray:
    """Linear signal, same shape and dtype as `adu` (float32 is accurate to 1e-7)."""
    denominator = adu * adu.dtype.type(a)
    denominator += adu.dtype.type(b)
    denominator *= adu
    denominator += adu.dtype.type(1.0)
    return np.divide(adu, denominator, out=denominator)


def cards(night: str, key: str, a: float, b: float) -> list[tuple[str, object, str]]:
    """Header cards of the step."""
    return [
        ("LINTABLE", table_of_night(night), "linearity table"),
        ("LINKEY", key, "keyword that chose the row"),
        ("LINCOEFA", a, "linearity coefficient A (1/ADU^2)"),
        ("LINCOEFB", b, "linearity coefficient B (1/ADU)"),
    ]
