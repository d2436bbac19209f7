"""Light curves for other programs, and their picture, where little or nothing could be fitted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from ztfpsf.lightcurve.exports import Curve, dr2, forced, sncosmo
from ztfpsf.lightcurve.flags import Flag
from ztfpsf.lightcurve.tables import make_empty_stars
from ztfpsf.plots.lightcurve import draw_lightcurve

IMAGES = [f"ztf_2020092{day}300000_000655_zr_c13_o_q3" for day in range(1, 7)]
FLUX = np.array([5.0, -3.0, 400.0, np.nan, 300.0, 200.0])


def make_curve(flux_adu: np.ndarray) -> Curve:
    """Two exposures of the baseline, and four with light."""
    n, is_fitted = len(flux_adu), np.isfinite(flux_adu)
    in_baseline = np.arange(n) < 2
    error = np.where(is_fitted, 20.0, np.nan)
    rows = pd.DataFrame(
        {
            "target": "SN1",
            "image": IMAGES,
            "field": 655,
            "filtercode": "zr",
            "ccdid": 13,
            "qid": 3,
            "mjd": 59113.3 + np.arange(n),
            "exptime_s": 30.0,
            "flux_adu": np.where(in_baseline, 0.0 * flux_adu, flux_adu),
            "flux_error_adu": np.where(in_baseline, 0.0 * error, error),
            "probe_flux_adu": flux_adu,
            "probe_flux_error_adu": error,
            "zero_point_mag": 26.0,
            "magzp_mag": 26.1,
            "chi2": 300.0 + 0 * flux_adu,
            "dof": 300.0 + 0 * flux_adu,
            "fwhm_px": 2.0,
            "airmass": 1.2,
            "sky_adu": 150.0,
            "infobits": np.nan,
            "host_adu": 50.0,
            "in_baseline": in_baseline,
            "flags": [0, 0, int(Flag.CLOUDY), 1, 0, 0],
            "status": np.where(is_fitted, "ok", "has no PSF."),
        }
    )
    covariance = np.where(np.outer(is_fitted, is_fitted), 100.0, np.nan)
    covariance[np.diag_indices(n)] = error**2
    return Curve(rows, covariance, has_baseline=True, version="1.2")


def read_forced(path: Path) -> pd.DataFrame:
    _, names, *lines = path.read_text().splitlines()
    return pd.DataFrame([line.split() for line in lines], columns=names.split(", "))


@pytest.mark.parametrize("flux", [FLUX, np.full(6, np.nan)], ids=["some", "nothing"])
def test_formats(tmp_path: Path, flux: np.ndarray) -> None:
    curve = make_curve(flux)
    paths = {}
    for module in (sncosmo, dr2, forced):
        paths[module] = tmp_path / f"SN1_{module.SUFFIX}"
        module.write(curve, paths[module])
    shines = np.isfinite(flux) & ~curve.rows["in_baseline"].to_numpy()
    table = Table.read(paths[sncosmo])
    assert table["flux"].tolist() == flux[shines].tolist()
    if shines.any():
        expected = curve.covariance_adu2[np.ix_(shines, shines)]
        assert np.array_equal(table["fluxcov"], expected)
    found = pd.read_csv(paths[dr2], sep=r"\s+", comment="#")
    assert found["flux"].tolist() == flux[np.isfinite(flux)].tolist()
    assert found["mag"].isna().tolist() == (flux[np.isfinite(flux)] < 0).tolist()
    service = read_forced(paths[forced])
    assert len(service) == len(flux)
    assert (service["procstatus"] == "255").tolist() == np.isnan(flux).tolist()
    assert (service["forcediffimflux"] == "null").tolist() == np.isnan(flux).tolist()


def test_flags_of_dr2(tmp_path: Path) -> None:
    dr2.write(make_curve(FLUX), tmp_path / "x_LC.csv")
    found = pd.read_csv(tmp_path / "x_LC.csv", sep=r"\s+", comment="#")
    # Baseline 256; 5 sigma 1024; clouds 4.
    assert found["flag"].tolist() == [256, 256, 256 + 1024 + 4, 256 + 1024, 256 + 1024]


@pytest.mark.parametrize("flux", [FLUX, np.full(6, np.nan)], ids=["some", "nothing"])
def test_picture_of_a_light_curve_without_stars(flux: np.ndarray) -> None:
    rows = make_curve(flux).rows
    blank = np.full((5, 5), np.nan)
    pictures = {"GALAXY": blank, "ERROR": blank, "RESIDUAL": blank}
    record = {
        "target": "SN1",
        "verdict": "bad",
        "reason": "no $ exposure",
        "zero_point": {"zero_point_mag": None},
    }
    curves = rows.iloc[:0].assign(name="")
    figure = draw_lightcurve(rows, pictures, make_empty_stars(), curves, record)
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert ("not fitted" in labels) == bool(np.isnan(flux).any())
