"""A configuration, read as the Snakefile reads it, and taken by the rules whose keys it changes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ztfpsf.psf.inputs.settings import make_settings
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.validation.verdict import check_limits
from ztfpsf_workflow import inputs
from ztfpsf_workflow.configuration import read_configuration

from fuzz.cases import Answer, Target
from fuzz.mutations import configurations
from fuzz.targets import images, raw, sheets
from fuzz.targets.settings import ROOT, SMALL, make_config

FILE = "config.yaml"
SHEETS = {"images": "images.csv", "frames": "frames.csv"}


def make_files(folder: Path) -> None:
    images.make_files(folder)
    raw.make_files(folder)
    sheets.make_files(folder)
    config = make_config() | SHEETS
    (folder / FILE).write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")


def run(folder: Path) -> Answer:
    config = read_configuration(yaml.safe_load((folder / FILE).read_text("utf-8")), ROOT)
    simulated = inputs.list_simulated(config["simulate_raw"])
    frames = inputs.list_frames(config, simulated["raw"], ROOT)
    sheet = inputs.list_images(config, frames, ROOT)
    for unit in sheet.units(config["unit"], config["batch_size"])[:1]:
        inputs.find_images(sheet, unit, config["catalogue"])
    for take in {TAKERS[block] for block in TAKERS if config[block] != SMALL[block]}:
        take(config)
    return Answer(yaml.safe_dump(config))


def select_and_cut(config: Mapping[str, Any]) -> None:
    images.select(config=config)
    images.cut(config=config)


def calibrate(config: Mapping[str, Any]) -> None:
    raw.make_bias(Path(), config)
    raw.make_flat(Path(), config)
    raw.calibrate(config)


def fit(config: Mapping[str, Any]) -> None:
    """The settings of the fits, without fitting."""
    grid = make_settings(config["fit_psf"]).grid
    _ = grid.groups(), grid.geometry.nodes_px
    for name, options in config["fit_psf"]["optimisers"].items():
        get_optimiser(name).make_solver(**options)


def validate(config: Mapping[str, Any]) -> None:
    check_limits(config["validate_psf"]["limits"])


TAKERS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "select_stars": select_and_cut,
    "cut_stamps": select_and_cut,
    "catalogue": select_and_cut,
    "fit_psf": fit,
    "validate_psf": validate,
    "detector": calibrate,
    "make_master_bias": calibrate,
    "make_master_flat": calibrate,
    "calibrate_science": calibrate,
}

TARGETS = [Target("configuration", make_files, FILE, configurations.DAMAGES, run)]
