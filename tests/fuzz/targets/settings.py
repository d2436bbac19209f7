"""The configuration of the readers: the defaults, for small images."""

from pathlib import Path
from typing import Any

import yaml
from raw_frames import DETECTOR

ROOT = Path(__file__).parents[3]
CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text("utf-8"))
# Twenty stars, 30 px apart, and masters of few frames.
CHANGES: dict[str, dict[str, Any]] = {
    "select_stars": {"isolation_arcsec": 15.0},
    "cut_stamps": {"size_px": 15},
    "measure_photometry": {"size_px": 15},
    "detector": DETECTOR,
    "make_master_bias": {"n_skip": 1},
}


def make_config() -> dict[str, Any]:
    """A configuration that stands for itself."""
    config = yaml.safe_load(yaml.safe_dump(CONFIG))
    for block, changes in CHANGES.items():
        config[block].update(changes)
    return config


SMALL = make_config()
