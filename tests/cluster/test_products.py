"""The comparison of two runs finds what it must find; no SLURM is needed."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from products import differing

TABLE = pd.DataFrame({"image": ["a", "b"], "flux_adu": [1.0, 2.0], "seconds": [3.0, 4.0]})


@pytest.fixture
def two_runs(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one", tmp_path / "other"
    (one / "compare_fits").mkdir(parents=True)
    TABLE.to_parquet(one / "a.parquet")
    fits.writeto(one / "a.fits", np.arange(6.0).reshape(2, 3), checksum=True)
    (one / "a.json").write_text("{}")
    (one / "compare_fits" / "a.md").write_text("| seconds | 1.5 |")
    shutil.copytree(one, other)
    (other / ".a.fits.x1y2.part").touch()
    return one, other


def test_dates_and_seconds_do_not_count(two_runs: tuple[Path, Path]) -> None:
    one, other = two_runs
    TABLE.assign(seconds=[5.0, 6.0]).to_parquet(other / "a.parquet")
    fits.setval(other / "a.fits", "CHECKSUM", value="0", comment="another day")
    (other / "compare_fits" / "a.md").write_text("| seconds | 12.5 |")
    assert differing(one, other) == []


def test_all_else_counts(two_runs: tuple[Path, Path]) -> None:
    one, other = two_runs
    TABLE.assign(flux_adu=[1.0, 2.0000001]).to_parquet(other / "a.parquet")
    with fits.open(other / "a.fits", mode="update") as hdus:
        hdus[0].data[1, 2] += 1e-9
    (other / "a.json").unlink()
    (other / "compare_fits" / "a.md").write_text("| steps | 1.5 |")
    found = ["a.fits", "a.json", "a.parquet", "compare_fits/a.md"]
    assert sorted(map(str, differing(one, other))) == found
