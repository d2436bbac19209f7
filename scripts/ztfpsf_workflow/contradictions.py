"""What a schema cannot say of a configuration: keys that contradict others, names of nothing."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ztfpsf.errors import InputError
from ztfpsf.nights import to_date
from ztfpsf.sheet import suggest

# The first must be less than the second.
_RISING = (
    ("select_stars.magnitude_min_mag", "select_stars.magnitude_max_mag"),
    ("detector.overscan.first_column", "detector.overscan.stop_column"),
    ("make_master_flat.response.dead", "make_master_flat.response.low"),
    ("make_master_flat.response.low", "make_master_flat.response.high"),
    ("simulate_raw.sky.brightest_mag", "simulate_raw.sky.faintest_mag"),
)
_PATHS = (
    "images",
    "targets",
    "data_root",
    "catalogue.path",
    "frames",
    "frames_root",
    "ipac_root",
    "detector.pocket_parameters",
    "calibrate_science.star_flat",
    "measure_pocket.law",
    "simulate_raw.linearity_tables",
    "simulate_raw.sky.catalogue",
    "report.earlier_results",
)


def check_contradictions(config: Mapping[str, Any], package: Path) -> None:
    """Raise InputError naming the first key that contradicts another, or names nothing there is.

    `package` is the folder of ztfpsf, whose files are the models and optimisers.
    """
    for key in _PATHS:
        _check_path(key, _get(config, key))
    for low, high in _RISING:
        _check_rising(config, low, high)
    for name, limits in config["validate_psf"]["limits"].items():
        _check_limits(name, limits)
    _check_nights(config)
    for fit in config["compare_fits"]["fits"]:
        check_fit(package, fit["model"], fit["optimiser"])
    _check_plugin(package, "models", config["time_fits"]["model"], "'time_fits.model'")
    _check_catalogue(config["catalogue"])


def _get(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = value[name]
    return value


def _check_path(key: str, path: str | None) -> None:
    if path and "://" in path:
        raise InputError(
            f"config: key '{key}' is the URL '{path}'; fetch it, and give the path of a file or "
            "directory of this machine."
        )


def _check_rising(config: Mapping[str, Any], low: str, high: str) -> None:
    smaller, larger = _get(config, low), _get(config, high)
    if smaller is not None and larger is not None and smaller >= larger:
        raise InputError(
            f"config: key '{low}' is {smaller}; it must be less than '{high}', which is {larger}."
        )


def _check_limits(name: str, limits: Sequence[float]) -> None:
    good, usable = limits if name.startswith("max_") else limits[::-1]
    if good > usable:
        raise InputError(
            f"config: key 'validate_psf.limits.{name}' is {limits}; its second number must not be "
            "stricter than the first: beyond the first an image is usable, beyond the second bad."
        )


def _check_nights(config: Mapping[str, Any]) -> None:
    for period in config["make_period_master"]["periods"]:
        first, last = (
            _check_night("make_period_master.periods", night) for night in period.split("-")
        )
        if first > last:
            raise InputError(
                f"config: key 'make_period_master.periods' has '{period}'; write the first night "
                "before the last."
            )
    _check_night("simulate_raw.night", config["simulate_raw"]["night"])


def _check_night(key: str, night: str) -> str:
    try:
        to_date(night)
    except InputError as error:
        raise InputError(f"config: key '{key}': {error}") from None
    return night


def list_plugins(package: Path, kind: str) -> list[str]:
    """Names of the `models` or `optimisers`: one file each."""
    return sorted(path.stem for path in (package / "psf" / kind).glob("[!_]*.py"))


def check_fit(package: Path, model: str, optimiser: str) -> None:
    """Raise InputError for a model or an optimiser that does not exist."""
    where = "'compare_fits.fits' and in file names"
    _check_plugin(package, "models", model, where)
    _check_plugin(package, "optimisers", optimiser, where)


def _check_plugin(package: Path, kind: str, name: str, where: str) -> None:
    valid = list_plugins(package, kind)
    if name not in valid:
        called = {"models": "PSF model", "optimisers": "optimiser"}[kind]
        raise InputError(
            f"there is no {called} '{name}'{suggest(name, valid)}; take one of "
            f"{', '.join(valid)} in the config key {where}."
        )


def _check_catalogue(catalogue: Mapping[str, Any]) -> None:
    kind, path = catalogue["kind"], catalogue["path"]
    if kind in ("detection", "table"):
        return
    if not path:
        raise InputError(
            f"config: key 'catalogue.path' is needed for the kind {kind}; "
            "write the directory of its shards."
        )
    if not os.path.isdir(path):
        raise InputError(
            f"config: key 'catalogue.path': there is no directory '{path}'; "
            f"write that of the shards of {kind}."
        )
