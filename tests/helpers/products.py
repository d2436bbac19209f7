"""Whether two runs made the same products, but for the seconds that they took."""

import filecmp
import re
from pathlib import Path

import pandas as pd
from astropy.io import fits

# Columns of the tables of a fit.
TIMINGS = ["seconds", "compile_seconds"]
# astropy dates its checksums.
DATED = {"ignore_keywords": ["CHECKSUM"], "ignore_comments": ["CHECKSUM", "DATASUM"]}
# Texts and a picture that tell, and draw, seconds.
TELL_SECONDS = "compare_fits"
NUMBER = re.compile(r"[-+]?\d[\d.e+-]*")
END_OF_PNG = b"IEND\xaeB`\x82"


def list_products(results: Path) -> set[Path]:
    """Paths below a results folder; a killed job may leave hidden files, which are no products."""
    files = (path for path in results.rglob("*") if path.is_file())
    return {path.relative_to(results) for path in files if not path.name.startswith(".")}


def differing(results: Path, other: Path) -> list[Path]:
    """Products that one folder lacks, or that are not the same in both."""
    mine, theirs = list_products(results), list_products(other)
    common = sorted(mine & theirs)
    unlike = [path for path in common if not is_same(results / path, other / path)]
    return [*sorted(mine ^ theirs), *unlike]


def is_same(path: Path, other: Path) -> bool:
    """Byte for byte, or else in everything but dates and seconds."""
    if filecmp.cmp(path, other, shallow=False):
        return True
    if path.suffix == ".fits":
        return fits.FITSDiff(path, other, **DATED).identical
    if path.suffix == ".parquet":
        tables = [pd.read_parquet(file) for file in (path, other)]
        without = [table.drop(columns=TIMINGS, errors="ignore") for table in tables]
        return without[0].equals(without[1])
    if TELL_SECONDS not in path.parts:
        return False
    if path.suffix == ".png":
        return path.read_bytes().endswith(END_OF_PNG)
    words = [re.sub(r"[ -]+", " ", NUMBER.sub("", file.read_text())) for file in (path, other)]
    return words[0] == words[1]
