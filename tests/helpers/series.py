"""A short simulated series of exposures, as the workflow is asked for it."""

from pathlib import Path

import yaml

GROUP = "ztf_000655_zr_c13_o_q3"
LIGHT_CURVE = "SIM1_zr"
# Few epochs and stars; so steep a Moffat profile is a Gaussian, whose fit other tests compile, too;
# GalSim draws it round only.
SERIES = {
    "n_epochs": 8,
    "first_light_epoch": 3,
    "n_after": 2,
    "size_px": 320,
    "n_stars": 36,
    "moffat_alpha": 45.0,
    "ellipticity": 0.0,
    "psf_gradient": 0.0,
}


def write_config(directory: Path, **changes: object) -> str:
    """Configuration of the series, for --configfile; `changes` are keys of the top level."""
    reference = {
        "path": "results/simulate_epochs/catalogue.parquet",
        "mag": "mag",
        "mag_error": "mag_error",
        "colour": "colour_mag",
    }
    config = {
        "images": "simulate_epochs",
        "targets": "simulate_epochs",
        "unit": "group",
        "cut_stamps": {"size_px": 15},
        "cut_targets": {"size_px": 21},
        "fit_psf": {"degree": 0},
        "compare_fits": {"fits": [{"model": "gaussian", "optimiser": "gauss_newton"}]},
        "extract_lightcurve": {"n_stars": 15, "scene": {"host_radius_px": 7.0, "n_rounds": 3}},
        "collect_survey": {"reference": reference},
        "simulate_epochs": SERIES,
        **changes,
    }
    path = directory / "series.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)
