"""What a run has made so far."""

from pathlib import Path

import pytest
from ztfpsf_workflow import products

FITS = [
    {"model": "moffat", "optimiser": "adam"},
    {"model": "gaussian", "optimiser": "tncg"},
]


def test_products_of_fits_and_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = ["moffat_adam_b", "gaussian_tncg_a", "moffat_tncg_a"]
    for name in made:
        Path(name).touch()
    found = products.find_made("{model}_{optimiser}_{unit}", FITS, ["a", "b"])
    assert found == made[:2]
    assert products.there(["a", *made]) == made


def test_pattern_of_a_fit_keeps_other_wildcards() -> None:
    assert products.of_fit("{model}/{optimiser}/{unit}.fits", FITS[0]) == "moffat/adam/{unit}.fits"


def test_all_products_of_an_image() -> None:
    outputs = {"cut": {"stamps": "{unit}_s"}, "fit": {"psf": "{model}/{optimiser}/{unit}_p"}}
    assert products.list_products(outputs, FITS)[3:] == [
        ["cut", "stamps", "", "", "{unit}_s"],
        ["fit", "psf", "moffat", "adam", "moffat/adam/{unit}_p"],
        ["fit", "psf", "gaussian", "tncg", "gaussian/tncg/{unit}_p"],
    ]


def test_digest_changes_with_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("results/cut/a")
    file.parent.mkdir(parents=True)
    empty = products.digest_files(["cut", "fit"])
    file.touch()
    made = products.digest_files(["cut", "fit"])
    assert made != empty == products.digest_files(["fit"])
    file.unlink()
    assert products.digest_files(["cut", "fit"]) == empty
