"""Columns and flags of light curves are in the documents."""

import re
from pathlib import Path

from ztfpsf.lightcurve.flags import BITS

DOCS = Path(__file__).parents[1] / "docs"


def test_flags_are_documented() -> None:
    text = (DOCS / "lightcurves.md").read_text()
    named = re.findall(r"^\| (\d+) \| ([A-Z0-9_]+) \|", text, re.M)
    assert {name: int(bit) for bit, name in named} == BITS
