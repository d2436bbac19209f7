"""Configuration: schema, defaults, documentation, one sentence for each mistake."""

import dataclasses
import importlib
import math
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from ztfpsf.errors import InputError
from ztfpsf.lightcurve.flags import Limits
from ztfpsf.lightcurve.scene import SceneSettings
from ztfpsf.photometry.fit import PhotometrySettings
from ztfpsf.psf.inputs.settings import Clipping
from ztfpsf.simulation.epoch_settings import EpochSettings
from ztfpsf.stars.selection import Criteria
from ztfpsf_workflow.configuration import check_schema, read_configuration, to_number
from ztfpsf_workflow.contradictions import list_plugins
from ztfpsf_workflow.wording import MUST

ROOT = Path(__file__).parents[1]
SCHEMA = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text())
CONFIG = (ROOT / "config" / "config.yaml").read_text()


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """What Snakemake does with --configfile."""
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        base[key] = merge(base[key], value) if both else value
    return base


def read(changes: dict[str, Any]) -> dict[str, Any]:
    return read_configuration(merge(yaml.safe_load(CONFIG), changes), ROOT)


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


def test_errors_of_every_keyword_are_worded() -> None:
    silent = {"description", "properties", "items", "additionalProperties", "$schema"}
    keywords = {keyword for block in blocks(SCHEMA) for keyword in block} - silent
    assert keywords <= set(MUST)


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
    ("overlay", "n_fits"),
    [("config", 1), ("minimal", 2), ("compare", 6), ("simulation", 1), ("lightcurve", 1)],
)
def test_shipped_configurations_are_valid(overlay: str, n_fits: int) -> None:
    changes = yaml.safe_load((ROOT / "config" / f"{overlay}.yaml").read_text())
    assert len(read(changes)["compare_fits"]["fits"]) == n_fits


def test_readme_has_the_table_of_all_keys() -> None:
    describe = runpy.run_path(str(ROOT / "config" / "describe.py"))
    text = (ROOT / "config" / "README.md").read_text()
    assert describe["with_table"](text) == text, "run `make docs`"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"unti": "ccd"}, "there is no key 'unti' (did you mean 'unit'?)"),
        ({"fit_psf": {"degre": 2}}, "there is no key 'fit_psf.degre' (did you mean 'degree'?)"),
        (
            {"unit": "night"},
            "key 'unit' is 'night'; it must be one of quadrant, ccd, exposure, group, batch (",
        ),
        ({"cut_stamps": {"size_px": 24}}, "'cut_stamps.size_px' is 24; it must be odd"),
        ({"cut_stamps": None}, "key 'cut_stamps' is None; it must be a block of keys"),
        ({"max_failed_fraction": 2}, "'max_failed_fraction' is 2; it must be at most 1"),
        (
            {"fit_psf": {"degree": "two"}},
            "'fit_psf.degree' is 'two'; it must be an integer of at most 15 digits (",
        ),
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
        (
            {"time_fits": {"model": "mofat"}},
            "there is no PSF model 'mofat' (did you mean 'moffat'?); take one of ",
        ),
        ({7: "ccd"}, "there is no key '7'; the top level has images, data_root, "),
        ({"cut_stamps": {7: 17}}, "there is no key 'cut_stamps.7'; cut_stamps has size_px."),
        ({"fit_psf": {"degree": 2.5}}, "'fit_psf.degree' is 2.5; it must be an integer of at"),
        ({"fit_psf": {"degree": 1e300}}, "'fit_psf.degree' is 1e+300; it must be an integer of at"),
        ({"fit_psf": {"degree": 10**80}}, f"is {str(10**80)[:60]}...; it must be an integer of at"),
        ({"fit_psf": {"degree": "1e400"}}, "'fit_psf.degree' is '1e400'; it must be an integer"),
        ({"max_failed_fraction": math.nan}, "'max_failed_fraction' is nan; it must be a finite"),
        ({"max_failed_fraction": ".nan"}, "'max_failed_fraction' is '.nan'; it must be a finite"),
        ({"select_stars": {"min_snr": "nan"}}, "is nan; it must be a finite number ("),
        ({"select_stars": {"isolation_arcsec": math.inf}}, "is inf; it must be a finite number ("),
        (
            {"select_stars": {"magnitude_min_mag": 18, "magnitude_max_mag": 14}},
            "'select_stars.magnitude_min_mag' is 18; it must be less than "
            "'select_stars.magnitude_max_mag', which is 14.",
        ),
        (
            {"select_stars": {"magnitude_min_mag": 14.0, "magnitude_max_mag": 14.0}},
            "must be less than 'select_stars.magn",
        ),
        (
            {"detector": {"overscan": {"first_column": 30, "stop_column": 25}}},
            "'detector.overscan.first_column' is 30; it must be less than 'detector.overscan.stop",
        ),
        (
            {"make_master_flat": {"response": {"low": 1.3}}},
            "'make_master_flat.response.low' is 1.3; it must be less than ",
        ),
        (
            {"make_period_master": {"periods": ["20200930-20200901"]}},
            "'make_period_master.periods' has '20200930-20200901'; write the first night before",
        ),
        (
            {"make_period_master": {"periods": ["20200901-20200931"]}},
            "'make_period_master.periods': '20200931' is not a night; expected a UT day",
        ),
        ({"simulate_raw": {"night": "20200230"}}, "'simulate_raw.night': '20200230' is not a nig"),
        (
            {"validate_psf": {"limits": {"max_misfit": [0.1, 0.02]}}},
            "'validate_psf.limits.max_misfit' is [0.1, 0.02]; its second number must not be strict",
        ),
        (
            {"validate_psf": {"limits": {"min_fwhm_px": [0.9, 1.2]}}},
            "'validate_psf.limits.min_fwhm_px' is [0.9, 1.2]; its second number must not be strict",
        ),
        (
            {"images": "https://example.org/images.csv"},
            "'images' is the URL 'https://example.org/images.csv'; fetch it, and give the path",
        ),
        ({"catalogue": {"kind": "table", "path": "s3://a/b"}}, "'catalogue.path' is the URL "),
        (
            {"simulate_raw": {"n_biases": 20200230}},
            "'simulate_raw.n_biases' is 20200230; it must be",
        ),
    ],
)
def test_mistake_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as told:
        read(changes)
    text = str(told.value)
    assert sentence in text
    assert text.endswith(".")
    assert "\n" not in text


def test_limits_may_be_equal() -> None:
    limits = {"max_misfit": [0.1, 0.1], "min_fwhm_px": [1.2, 1.2]}
    assert read({"validate_psf": {"limits": limits}})["validate_psf"]["limits"].items() >= (
        limits.items()
    )


def test_texts_are_numbers_where_the_schema_asks() -> None:
    """As --config "cut_stamps={size_px: 17}" gives them, and YAML 1e-9; 1.0 is an integer."""
    config = read(
        {
            "data_root": "null",
            "select_stars": {
                "bad_mask_bits": ["0", "12"],
                "isolation_arcsec": "20",
                "magnitude_max_mag": "null",
            },
            "cut_stamps": {"size_px": "17"},
            "fit_psf": {"degree": 1.0, "optimisers": {"scipy": {"tol": "1e-9", "method": "CG"}}},
        }
    )
    assert config["data_root"] is None
    assert config["select_stars"]["bad_mask_bits"] == [0, 12]
    assert config["select_stars"]["isolation_arcsec"] == 20
    assert config["select_stars"]["magnitude_max_mag"] is None
    assert config["cut_stamps"]["size_px"] == 17
    assert (config["fit_psf"]["degree"], type(config["fit_psf"]["degree"])) == (1, int)
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
def test_one_text(text: str, kinds: Any, value: Any) -> None:
    converted = to_number(text, kinds)
    assert converted == value
    assert type(converted) is type(value)


def test_lists_of_numbers_say_that_they_are_numbers() -> None:
    """Or the texts of the command line would be refused."""
    choices = [block for block in blocks(SCHEMA) if "enum" in block]
    numeric = [block for block in choices if not isinstance(block["enum"][0], str)]
    assert {block.get("type") for block in numeric} == {"integer"}
    assert read({"simulate_raw": {"leds": ["7", "8"]}})["simulate_raw"]["leds"] == [7, 8]


def test_missing_key_is_named() -> None:
    broken = yaml.safe_load(CONFIG)
    del broken["select_stars"]["edge_px"]
    with pytest.raises(InputError, match=r"key 'select_stars\.edge_px' is missing"):
        check_schema(broken, SCHEMA)


def test_options_of_every_optimiser() -> None:
    configured = yaml.safe_load(CONFIG)["fit_psf"]["optimisers"]
    assert sorted(configured) == list_plugins(ROOT / "scripts" / "ztfpsf", "optimisers")
    for name, options in configured.items():
        module = importlib.import_module(f"ztfpsf.psf.optimisers.{name}")
        assert options == dataclasses.asdict(module.Options()), name


def test_clipping_of_the_fit() -> None:
    assert yaml.safe_load(CONFIG)["fit_psf"]["clipping"] == dataclasses.asdict(Clipping())


def test_settings_of_light_curves() -> None:
    block = yaml.safe_load(CONFIG)["extract_lightcurve"]
    assert block["scene"] == dataclasses.asdict(SceneSettings())
    assert block["limits"] == dataclasses.asdict(Limits())


def test_settings_of_the_series() -> None:
    defaults = dataclasses.asdict(EpochSettings())
    shown = yaml.safe_load(CONFIG)["simulate_epochs"]
    assert {**shown, "fwhm_px": tuple(shown["fwhm_px"])} == defaults


def test_criteria_of_the_selection() -> None:
    fields = {field.name for field in dataclasses.fields(Criteria)}
    assert fields == {*SCHEMA["properties"]["select_stars"]["properties"], "size_px"}


def test_settings_of_the_photometry() -> None:
    fields = {field.name for field in dataclasses.fields(PhotometrySettings)}
    assert fields == set(SCHEMA["properties"]["measure_photometry"]["properties"])
