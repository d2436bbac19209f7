"""Products of our own: written whole, and read back whole or not at all."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from ztfpsf import io
from ztfpsf.errors import InputError

RULE = "count_stars"
RECORD = {"a": {"status": "ok", "kept": 80}, "b": [1, 2.5, None]}


def write_fits(path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("x", "D", array=np.arange(500.0))])
    hdus = fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(np.ones((40, 50)))])
    io.write_fits(hdus, path, io.make_provenance(["in.fits"], {"size_px": 25}))


def read_fits(path: Path) -> None:
    io.open_product(path, RULE).close()


def write_table(path: Path) -> None:
    values = np.random.default_rng(1).normal(size=2000)
    table = pd.DataFrame({"x": values, "name": [f"star {i}" for i in range(2000)]})
    io.write_table(table, path, io.make_provenance(["in.fits"], {"size_px": 25}))


def read_table(path: Path) -> None:
    io.read_table(path, RULE, ["x", "name"])


def write_json(path: Path) -> None:
    io.write_json(RECORD, path)


def read_json(path: Path) -> None:
    io.read_json(path, RULE)


KINDS = {
    "a.fits": (write_fits, read_fits),
    "a.parquet": (write_table, read_table),
    "a.json": (write_json, read_json),
}


@pytest.mark.parametrize("name", KINDS)
def test_whole(tmp_path: Path, name: str) -> None:
    write, read = KINDS[name]
    write(tmp_path / name)
    read(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("percent", [0, 1, 50, 95, 98])
def test_cut_off(tmp_path: Path, name: str, percent: int) -> None:
    write, read = KINDS[name]
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * percent // 100])
    with pytest.raises(InputError, match=f"make it again with the rule {RULE}") as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")


def same_values(content: bytes) -> bool:
    try:
        return {**json.loads(content), "ztfpsf": None} == {**RECORD, "ztfpsf": None}
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["a.fits", "a.json"])
def test_one_bit_elsewhere(tmp_path: Path, name: str) -> None:
    write, read = KINDS[name]
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    for bit in np.random.default_rng(4).integers(0, 8 * len(whole), 60):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(content)
        if name == "a.json" and same_values(content):  # a blank between them
            continue
        with pytest.raises(InputError, match=f"with the rule {RULE}"):
            read(path)


def test_one_bit_elsewhere_in_a_table(tmp_path: Path) -> None:
    """The checksums are those of the pages: what is read is what was written."""
    path = tmp_path / "a.parquet"
    write_table(path)
    whole, truth = path.read_bytes(), io.read_table(path, RULE)
    noticed = 0
    for bit in np.random.default_rng(5).integers(0, 8 * len(whole), 60):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(content)
        try:
            pd.testing.assert_frame_equal(io.read_table(path, RULE, ["x", "name"]), truth)
        except InputError:
            noticed += 1
    assert noticed > 45


@pytest.mark.parametrize("name", KINDS)
def test_another_format(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = KINDS[name]
    write(tmp_path / name)
    monkeypatch.setattr(io, "FORMAT", io.FORMAT + 1)
    with pytest.raises(InputError, match=f"has format {io.FORMAT - 1}, expected {io.FORMAT}"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", KINDS)
def test_missing(tmp_path: Path, name: str) -> None:
    _, read = KINDS[name]
    with pytest.raises(InputError, match=f"no such file; make it with the rule {RULE}"):
        read(tmp_path / name)


def test_table_without_a_column(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="has no column y, z; delete it and make it again"):
        io.read_table(tmp_path / "a.parquet", RULE, ["x", "y", "z"])


def test_record_and_provenance_come_back(tmp_path: Path) -> None:
    for name, (write, _) in KINDS.items():
        write(tmp_path / name)
    assert io.read_json(tmp_path / "a.json", RULE) == RECORD
    for name in ("a.fits", "a.parquet"):
        told = io.read_provenance(tmp_path / name)
        assert (told["inputs"], told["settings"]) == (["in.fits"], {"size_px": 25})
        assert told["format"] == io.FORMAT
    io.write_json({1: "one", 10: "ten", 2: "two"}, tmp_path / "b.json")
    assert io.read_json(tmp_path / "b.json", RULE) == {"1": "one", "10": "ten", "2": "two"}
