"""From simulated stamps to light curves, the way of the workflow: PSFs, maps, ratios, scenes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml
from epochs import (
    FIELD_PX,
    GAIN,
    N_STARS,
    NOISE,
    READ_NOISE,
    SIZE_PX,
    SKY_ADU,
    TARGETS,
    Epochs,
    make_light_curve,
)
from ztfpsf.io import make_provenance
from ztfpsf.lightcurve.scene import OK, Scene
from ztfpsf.psf import Psf
from ztfpsf.psf.product.file import load_psf
from ztfpsf.robust import mad_sigma
from ztfpsf.stamps import IMAGE_COLUMNS, STAR_COLUMNS, Stamps, write_stamps
from ztfpsf.survey.ratios import Measurements, scale, solve_ratios

ROOT = Path(__file__).parents[3]
PX_PER_ARCSEC = 1 / 1.0126
DAYS_YR = 1 / 365.25


class Reduced(NamedTuple):
    """What is known about the exposures; E of them, n objects."""

    psfs: Sequence[Psf | None]
    position_px: np.ndarray  # (E, n, 2)
    position_error_px: np.ndarray  # (E,)
    ratio: np.ndarray  # (E, n)
    ratio_error: np.ndarray  # (E, n)


def know(epochs: Epochs) -> Reduced:
    """Everything is the truth."""
    nothing = np.zeros_like(epochs.ratio)
    return Reduced(epochs.psfs, epochs.position_px, nothing[:, 0], epochs.ratio, nothing)


def reduce(epochs: Epochs, model: str, folder: Path) -> Reduced:
    """PSFs fitted to the stars; shifts and ratios from their positions and fluxes."""
    path = folder / f"{model}_stamps.fits"
    write_stamps(_make_stamps(epochs), path, make_provenance([], {}))
    stars, path_to_psf = fit(path, model, folder)
    n_epochs = len(epochs.data)
    names = [_name(e) for e in range(n_epochs)]
    psfs = [load_psf(path_to_psf, name) for name in names]
    epoch = stars["image"].map({name: e for e, name in enumerate(names)}).to_numpy()
    star = stars["star_id"].str[1:7].astype(int).to_numpy()
    use = (stars["status"] == "ok").to_numpy()
    truth = epochs.position_px[epoch, star]
    off = stars[["x_px", "y_px"]].to_numpy() - truth
    bright = use & (stars["flux_adu"] > 50 * stars["flux_error_adu"]).to_numpy()
    shift, error = np.zeros((n_epochs, 2)), np.zeros(n_epochs)
    for e in range(n_epochs):
        rows = off[bright & (epoch == e)]
        shift[e] = np.median(rows, axis=0)
        error[e] = mad_sigma(rows) / np.sqrt(len(rows)) * np.sqrt(np.pi / 2)
    ratio = _find_ratios(stars[use], star[use], epoch[use], epochs)
    return Reduced(psfs, epochs.position_px + shift[:, None], error, *ratio)


def _find_ratios(
    stars: pd.DataFrame, star: np.ndarray, epoch: np.ndarray, epochs: Epochs
) -> tuple[np.ndarray, np.ndarray]:
    flux = stars["flux_adu"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = -2.5 * np.log10(flux)
        error = 1.0857 * stars["flux_error_adu"].to_numpy() / flux
    good = np.isfinite(mag) & (error < 0.05)
    at = stars[["x_px", "y_px"]].to_numpy()[good].T
    measured = Measurements(star[good], epoch[good], mag[good], error[good], *at)
    shape = (FIELD_PX, FIELD_PX)
    ratios = solve_ratios(measured, len(epochs.data), shape)
    n_epochs, n = epochs.ratio.shape
    where = np.repeat(np.arange(n_epochs), n)
    u, v = scale(*epochs.position_px.reshape(-1, 2).T, shape)
    value, sigma = ratios.at(where, u, v)
    ratio = 10 ** (-0.4 * value)
    return ratio.reshape(n_epochs, n), (sigma / 1.0857).reshape(n_epochs, n)


def _name(e: int) -> str:
    return f"ztf_2020{e:010d}_000655_zr_c13_o_q3"


def _make_stamps(epochs: Epochs) -> Stamps:
    n_epochs = len(epochs.data)
    blank = {str: "", float: np.nan, int: 0}
    row = {key: blank[kind] for key, kind in IMAGE_COLUMNS.items()}
    row |= {
        "status": "ok", "gain": GAIN, "read_noise_electron": READ_NOISE, "saturation_adu": 1e9,
        "nx": FIELD_PX, "ny": FIELD_PX, "sky_adu": SKY_ADU, "exptime_s": 30.0,
    }  # fmt: skip
    images = pd.DataFrame([row | {"image": _name(e)} for e in range(n_epochs)])
    data = epochs.data[:, :N_STARS].reshape(-1, SIZE_PX, SIZE_PX)
    position = epochs.position_px[:, :N_STARS].reshape(-1, 2)
    corner = epochs.corner_px[:, :N_STARS].reshape(-1, 2)
    jitter = np.random.default_rng(1).normal(0, 0.05, position.shape)
    stars = {
        key: np.full(len(data), blank[kind])
        for key, kind in STAR_COLUMNS.items()
        if kind is not bool
    }
    stars |= {
        "image": np.repeat(images["image"].to_numpy(), N_STARS),
        "star_id": [f"J{k:06d}.00+300000.0" for k in range(N_STARS)] * n_epochs,
        "x_px": (position + jitter)[:, 0], "y_px": (position + jitter)[:, 1],
        "x0_px": corner[:, 0], "y0_px": corner[:, 1],
        "sky_adu": SKY_ADU, "sky_rms_adu": 5.0,
        "is_reserved": np.zeros(len(data), bool),
    }  # fmt: skip
    variance = data.clip(0) / GAIN + NOISE.constant_adu2
    return Stamps(images, pd.DataFrame(stars), data, variance, np.zeros(data.shape, np.uint8))


def fit(path: Path, model: str, folder: Path) -> tuple[pd.DataFrame, Path]:
    """By rule fit_psf with the settings of the configuration; the noise is the header's."""
    from fit_psf import fit_psf

    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["fit_psf"]
    options = config.pop("optimisers")["gauss_newton"]
    names = ("stars.parquet", "images.parquet", "history.parquet", "psf.fits")
    paths = {f"path_to_{name.partition('.')[0]}": folder / f"{model}_{name}" for name in names}
    fit_psf(
        path_to_stamps=str(path), path_to_pocket="",
        **{key: str(value) for key, value in paths.items()},
        model=model, optimiser="gauss_newton", options=options,
        settings=config | {"noise": "header", "degree": 1}, device="cpu",
        dask_scheduler=None, threads=os.cpu_count() or 1, max_failed_fraction=0.0,
    )  # fmt: skip
    return pd.read_parquet(paths["path_to_stars"]), paths["path_to_psf"]


def make_scene(epochs: Epochs, reduced: Reduced, k: int) -> Scene:
    """Of object k: a star, or a supernova with the dates of its light."""
    n = len(epochs.data)
    is_star = k < N_STARS
    baseline = np.zeros(n, bool) if is_star else make_light_curve(n)[1]
    noise = [psf.noise for psf in reduced.psfs if psf is not None]
    jacobian = np.array([[-1.0, 0.0], [0.0, 1.0]]) * PX_PER_ARCSEC
    return Scene(
        name=f"star {k}" if is_star else f"host {TARGETS[k - N_STARS]}",
        data=epochs.data[:, k],
        is_masked=np.zeros(epochs.data[:, k].shape, bool),
        constant_adu2=np.array([one.constant_adu2 for one in noise])[:, None, None],
        sky_adu=np.full(n, SKY_ADU),
        gain=np.array([one.gain for one in noise]),
        corner_px=epochs.corner_px[:, k],
        position_px=reduced.position_px[:, k],
        position_error_px=reduced.position_error_px,
        jacobian=np.broadcast_to(jacobian, (n, 2, 2)),
        ratio=reduced.ratio[:, k],
        ratio_error=reduced.ratio_error[:, k],
        in_baseline=baseline,
        time_yr=np.arange(n) * 3 * DAYS_YR,
        psfs=reduced.psfs,
        status=[OK] * n,
    )
