"""Configuration: schema, defaults, documentation, one sentence for each mistake."""

import dataclasses
import importlib
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from ztfpsf.photometry.fit import PhotometrySettings
from ztfpsf.psf.image import Clipping
from ztfpsf.stars.selection import Criteria

ROOT = Path(__file__).parents[1]
SCHEMA = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text())
CONFIG = (ROOT / "config" / "config.yaml").read_text()
LoadCommon = Callable[[dict[str, Any]], dict[str, Any]]


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """What Snakemake does with --configfile."""
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        base[key] = merge(base[key], value) if both else value
    return base


@pytest.fixture
def load_common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadCommon:
    """Run rules/common.smk, which is plain Python, with a changed configuration."""
    monkeypatch.chdir(tmp_path)

    def load(changes: dict[str, Any]) -> dict[str, Any]:
        given = {
            "workflow": SimpleNamespace(basedir=str(ROOT)),
            "config": merge(yaml.safe_load(CONFIG), changes),
        }
        return runpy.run_path(str(ROOT / "rules" / "common.smk"), given)

    return load


def blocks(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """A schema and all schemas in it."""
    parts = [*schema.get("properties", {}).values()]
    parts += [schema["items"]] if "items" in schema else []
    return [schema, *(block for part in parts for block in blocks(part))]


def test_schema_is_strict_and_described() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for block in blocks(SCHEMA):
        if block.get("type") == "object":
            assert block["additionalProperties"] is False, block
        for name, part in block.get("properties", {}).items():
            assert part["description"].endswith("."), name


def test_errors_of_every_keyword_are_worded(load_common: LoadCommon) -> None:
    silent = {"description", "properties", "items", "additionalProperties", "$schema"}
    keywords = {keyword for block in blocks(SCHEMA) for keyword in block} - silent
    assert keywords <= set(load_common({})["MUST"])


def test_keys_with_a_unit_say_it() -> None:
    units = {"_px": "px", "_mag": "mag", "_arcsec": "arcsec"}
    named = [
        (name, part["description"], unit)
        for block in blocks(SCHEMA)
        for name, part in block.get("properties", {}).items()
        for suffix, unit in units.items()
        if name.endswith(suffix)
    ]
    assert named
    for name, description, unit in named:
        assert f"({unit})" in description, name


@pytest.mark.parametrize(
    ("overlay", "n_fits"), [("config", 1), ("minimal", 2), ("compare", 6), ("simulation", 1)]
)
def test_shipped_configurations_are_valid(
    load_common: LoadCommon, overlay: str, n_fits: int
) -> None:
    changes = yaml.safe_load((ROOT / "config" / f"{overlay}.yaml").read_text())
    assert len(load_common(changes)["FITS"]) == n_fits


def test_readme_has_the_table_of_all_keys() -> None:
    describe = runpy.run_path(str(ROOT / "config" / "describe.py"))
    text = (ROOT / "config" / "README.md").read_text()
    assert describe["with_table"](text) == text, "run `make docs`"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"unti": "ccd"}, "there is no key 'unti' (did you mean 'unit'?)"),
        ({"fit_psf": {"degre": 2}}, "there is no key 'fit_psf.degre' (did you mean 'degree'?)"),
        ({"unit": "night"}, "key 'unit' is 'night'; it must be one of quadrant, ccd, exposure ("),
        ({"cut_stamps": {"size_px": 24}}, "'cut_stamps.size_px' is 24; it must be odd"),
        ({"cut_stamps": None}, "key 'cut_stamps' is None; it must be a block of keys"),
        ({"max_failed_fraction": 2}, "'max_failed_fraction' is 2; it must be at most 1"),
        ({"fit_psf": {"degree": "two"}}, "'fit_psf.degree' is 'two'; it must be an integer ("),
        ({"data_root": 3}, "key 'data_root' is 3; it must be a text or null ("),
        (
            {"compare_fits": {"fits": [{"model": "moffat"}]}},
            "'compare_fits.fits[0]' is {'model': 'moffat'}; it must have the keys model, optimiser",
        ),
        (
            {"compare_fits": {"fits": [{"model": "mofat", "optimiser": "adam"}]}},
            "there is no PSF model 'mofat' (did you mean 'moffat'?); take one of ",
        ),
        (
            {"compare_fits": {"fits": [{"model": "moffat", "optimiser": "lbfgs"}]}},
            "there is no optimiser 'lbfgs'; take one of ",
        ),
        ({"catalogue": {"kind": "gaia_dr2_htm"}}, "key 'catalogue.path' is needed"),
        (
            {"catalogue": {"kind": "gaia_dr3_healpix", "path": "lost"}},
            "key 'catalogue.path': there is no directory 'lost'; write that of the shards of",
        ),
        ({"images": "none.csv"}, "none.csv: no such image sheet"),
    ],
)
def test_mistake_ends_with_one_sentence(
    load_common: LoadCommon, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SystemExit) as end:
        load_common(changes)
    text = str(end.value)
    assert sentence in text
    assert text.startswith("Error: ")
    assert text.endswith(".")
    assert "\n" not in text


def test_strings_are_numbers_where_the_schema_asks(load_common: LoadCommon) -> None:
    """As --config 'cut_stamps={size_px: 17}' gives them, and YAML 1e-9."""
    config = load_common(
        {
            "data_root": "null",
            "select_stars": {
                "bad_mask_bits": ["0", "12"],
                "isolation_arcsec": "20",
                "neighbour_magnitude_difference_mag": "null",
            },
            "cut_stamps": {"size_px": "17"},
            "fit_psf": {"optimisers": {"scipy": {"tol": "1e-9", "method": "CG"}}},
        }
    )["config"]
    assert config["data_root"] is None
    assert config["select_stars"]["bad_mask_bits"] == [0, 12]
    assert config["select_stars"]["isolation_arcsec"] == 20
    assert config["select_stars"]["neighbour_magnitude_difference_mag"] is None
    assert config["cut_stamps"]["size_px"] == 17
    assert config["fit_psf"]["optimisers"]["scipy"] == {"method": "CG", "niter": 500, "tol": 1e-9}


@pytest.mark.parametrize(
    ("text", "kinds", "value"),
    [
        ("17", "integer", 17),
        ("17", "number", 17),
        ("1e-9", ["number", "null"], 1e-9),
        ("null", ["number", "null"], None),
        ("True", "boolean", True),
        ("17.5", "integer", "17.5"),
        ("17", "string", "17"),
    ],
)
def test_one_string(load_common: LoadCommon, text: str, kinds: Any, value: Any) -> None:
    converted = load_common({})["to_number"](text, kinds)
    assert converted == value
    assert type(converted) is type(value)


def test_missing_key_is_named(load_common: LoadCommon, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = yaml.safe_load(CONFIG)
    del broken["select_stars"]["edge_px"]
    monkeypatch.setitem(globals(), "CONFIG", yaml.safe_dump(broken))
    with pytest.raises(SystemExit, match=r"key 'select_stars\.edge_px' is missing"):
        load_common({})


def test_images_without_a_table_are_named(load_common: LoadCommon) -> None:
    common = load_common({"catalogue": {"kind": "table"}})
    unit = common["SHEET"].names[0]
    with pytest.raises(SystemExit, match=f"no catalogue for '{unit}'"):
        common["unit_images"](unit)


def test_options_of_every_optimiser(load_common: LoadCommon) -> None:
    common = load_common({})
    configured = common["config"]["fit_psf"]["optimisers"]
    assert set(configured) == set(common["OPTIMISERS"])
    for name, options in configured.items():
        module = importlib.import_module(f"ztfpsf.psf.optimisers.{name}")
        assert options == module.Options()._asdict(), name


def test_clipping_of_the_fit() -> None:
    assert yaml.safe_load(CONFIG)["fit_psf"]["clipping"] == Clipping()._asdict()


def test_criteria_of_the_selection() -> None:
    fields = {field.name for field in dataclasses.fields(Criteria)}
    assert fields == {*SCHEMA["properties"]["select_stars"]["properties"], "size_px"}


def test_settings_of_the_photometry() -> None:
    fields = {field.name for field in dataclasses.fields(PhotometrySettings)}
    assert fields == set(SCHEMA["properties"]["measure_photometry"]["properties"])


def test_imports_are_followed(load_common: LoadCommon) -> None:
    common = load_common({})
    package = ROOT / "scripts" / "ztfpsf"
    found = common["imported_modules"](package / "sheet.py")
    names = ("__init__.py", "errors.py", "listing.py", "names.py", "sheet_parquet.py")
    assert found == {package / name for name in names}
