"""From the blocks of the configuration to the settings of the steps."""

from collections.abc import Mapping
from typing import Any

from ztfpsf.calibration import linearity
from ztfpsf.calibration.cosmics import Cosmics
from ztfpsf.calibration.detector import Detector
from ztfpsf.calibration.flat import FlatSettings, Response
from ztfpsf.calibration.masters import Combination
from ztfpsf.calibration.overscan import Overscan
from ztfpsf.calibration.pocket import read_pockets
from ztfpsf.calibration.science import Science
from ztfpsf.errors import InputError


def make_detector(settings: Mapping[str, Any]) -> Detector:
    """From the block `detector`. Raises InputError for a value without a meaning."""
    key = settings["linearity_key"]
    if key not in linearity.KEYS:
        raise InputError(
            f"linearity_key '{key}' is unknown; use one of {', '.join(linearity.KEYS)}."
        )
    pockets = settings["pocket_parameters"]
    return Detector(
        quadrant_shape=tuple(settings["quadrant_shape"]),
        overscan=Overscan(**settings["overscan"]),
        linearity_key=key,
        saturation_adu=float(settings["saturation_adu"]),
        pockets=read_pockets(pockets) if pockets else None,
    )


def make_combination(settings: Mapping[str, Any], detector: Mapping[str, Any]) -> Combination:
    """From the block of a master frame, and the block `detector`. Raises InputError."""
    return Combination(
        settings["min_frames"],
        settings["clip_sigma"],
        settings["max_outlier_fraction"],
        make_detector(detector),
    )


def make_flat_settings(settings: Mapping[str, Any], detector: Mapping[str, Any]) -> FlatSettings:
    """From the blocks `make_master_flat` and `detector`. Raises InputError."""
    return FlatSettings(
        make_combination(settings, detector),
        Response(**settings["response"]),
        {int(led): float(weight) for led, weight in (settings["led_weights"] or {}).items()},
    )


def make_science(settings: Mapping[str, Any]) -> Science:
    """From the block `calibrate_science`."""
    cosmics = settings["cosmics"]
    return Science(
        saturation_grow_px=settings["saturation_grow_px"],
        cosmics=Cosmics(**cosmics) if cosmics else None,
    )
