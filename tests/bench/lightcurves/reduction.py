"""From simulated stamps to light curves, the way of the workflow: PSFs, maps, ratios, scenes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml
from epochs import (
    DEC_DEG,
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
from ztfpsf.group.maps import fit_group
from ztfpsf.group.places import find_centre, find_places
from ztfpsf.group.tables import make_ratios_table
from ztfpsf.io import make_provenance
from ztfpsf.lightcurve.scene import OK, Scene
from ztfpsf.lightcurve.sights import MAG_PER_LN, Group, Sights, Tie, find_sights
from ztfpsf.psf import Psf
from ztfpsf.psf.product.file import load_psf
from ztfpsf.simulation.wcs import from_tangent_plane
from ztfpsf.stamps import IMAGE_COLUMNS, STAR_COLUMNS, Stamps, write_stamps
from ztfpsf.survey.ratios import Measurements, solve_ratios

ROOT = Path(__file__).parents[3]
DAYS_YR = 1 / 365.25
RA_DEG, MIDDLE_MJD = 58.0, 59000.0
PLACE_ERROR_ARCSEC = 0.1
MIN_SNR = 20.0
SAME = Tie(0.0, 0.0, N_STARS)


class Reduced(NamedTuple):
    """What is known about the exposures; E of them, n objects."""

    psfs: Sequence[Psf | None]
    sights: list[Sights]  # n
    group: Group | None  # None: everything is the truth


def know(epochs: Epochs) -> Reduced:
    """Everything is the truth."""
    nothing = np.zeros(len(epochs.data))
    ratio_mag = -2.5 * np.log10(epochs.ratio)
    sights = [
        Sights(epochs.position_px[:, k], nothing, epochs.axes, ratio_mag[:, k], nothing)
        for k in range(epochs.data.shape[1])
    ]
    return Reduced(epochs.psfs, sights, None)


def reduce(epochs: Epochs, model: str, folder: Path) -> Reduced:
    """PSFs fitted to the stars; maps and ratios from their positions and fluxes."""
    path = folder / f"{model}_stamps.fits"
    write_stamps(_make_stamps(epochs), path, make_provenance([], {}))
    stars, path_to_psf = fit(path, model, folder)
    names = [_name(e) for e in range(len(epochs.data))]
    psfs = [load_psf(path_to_psf, name) for name in names]
    group = _make_group(stars, names, epochs)
    return Reduced(psfs, _look(make_things(epochs), group), group)


def forget_colours(epochs: Epochs, reduced: Reduced) -> Reduced:
    """The supernovae are taken for as red as the stars."""
    things = make_things(epochs)
    things.loc[N_STARS:, "colour_mag"] = np.nan
    return reduced._replace(sights=_look(things, reduced.group))


def _look(things: pd.DataFrame, group: Group) -> list[Sights]:
    """Places and ratios by the maps; places of supernovae are known to PLACE_ERROR_ARCSEC."""
    error = np.random.default_rng(2).normal(0, PLACE_ERROR_ARCSEC / 3600, (len(TARGETS), 2))
    things.loc[N_STARS:, ["ra_deg", "dec_deg"]] += error
    return [find_sights([group], [SAME], thing) for _, thing in things.iterrows()]


def make_things(epochs: Epochs) -> pd.DataFrame:
    """Stars and supernovae as a catalogue has them."""
    east_deg, north_deg = epochs.sky_arcsec.T / 3600
    ra, dec = from_tangent_plane(east_deg, north_deg, RA_DEG, DEC_DEG)
    return pd.DataFrame(
        {
            "star_id": np.arange(len(ra)),
            "ra_deg": ra,
            "dec_deg": dec,
            "epoch_mjd": MIDDLE_MJD,
            "pmra_mas_yr": 1e3 * epochs.motion_arcsec_yr[:, 0],
            "pmdec_mas_yr": 1e3 * epochs.motion_arcsec_yr[:, 1],
            "colour_mag": epochs.colour_mag,
        }
    )


def _make_group(stars: pd.DataFrame, names: list[str], epochs: Epochs) -> Group:
    """By the code of match_stars, fit_maps and solve_ratios; the catalogue is that of the truth."""
    n = len(names)
    exposures = pd.DataFrame(
        {
            "image": names, "nx": FIELD_PX, "ny": FIELD_PX, "airmass": epochs.airmass,
            "mjd": MIDDLE_MJD + epochs.time_yr / DAYS_YR,
            "parallactic_deg": epochs.parallactic_deg,
        }
    )  # fmt: skip
    things = make_things(epochs)[:N_STARS]
    exposure = stars["image"].map({name: e for e, name in enumerate(names)}).to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        measured = stars.assign(
            exposure=exposure,
            star_id=stars["star_id"].str[1:7].astype(int),
            mag=-2.5 * np.log10(stars["flux_adu"]),
            mag_error=1.0857 * stars["flux_error_adu"] / stars["flux_adu"],
            airmass=epochs.airmass[exposure],
            parallactic_deg=epochs.parallactic_deg[exposure],
        )
    is_good = (stars["status"] == "ok") & (measured["mag_error"] < 1 / MIN_SNR)
    measured = measured[is_good].reset_index(drop=True)
    columns = ("star_id", "exposure", "mag", "mag_error", "x_px", "y_px")
    ratios = solve_ratios(
        Measurements(*(measured[name].to_numpy() for name in columns)), n, (FIELD_PX, FIELD_PX)
    )
    of_star = things.loc[measured["star_id"]].reset_index(drop=True)
    centre = find_centre(things)
    plane = find_places(of_star, exposures["mjd"].to_numpy()[measured["exposure"]], centre)
    maps = fit_group(measured, plane, of_star["colour_mag"].to_numpy(), centre, n)
    return Group("bench", exposures, maps, make_ratios_table(exposures, ratios), things)


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
    sights = reduced.sights[k]
    return Scene(
        name=f"star {k}" if is_star else f"host {TARGETS[k - N_STARS]}",
        data=epochs.data[:, k],
        is_masked=np.zeros(epochs.data[:, k].shape, bool),
        constant_adu2=np.array([one.constant_adu2 for one in noise])[:, None, None],
        sky_adu=np.full(n, SKY_ADU),
        gain=np.array([one.gain for one in noise]),
        corner_px=epochs.corner_px[:, k],
        position_px=sights.position_px,
        position_error_px=sights.position_error_px,
        jacobian=sights.jacobian,
        ratio=10 ** (-0.4 * sights.ratio_mag),
        ratio_error=sights.ratio_error_mag / MAG_PER_LN,
        in_baseline=baseline,
        time_yr=epochs.time_yr,
        psfs=reduced.psfs,
        status=[OK] * n,
    )
