"""Products of a fit: the PSF file, the tables, the adapter."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from fit_psf import fit_psf
from problems import FWHM_PX, draw_truth
from units import IMAGES, make_unit
from ztfpsf import io
from ztfpsf.errors import InputError
from ztfpsf.io import read_provenance
from ztfpsf.psf import load_psf
from ztfpsf.psf.models import list_models

SCRIPTS = Path(__file__).parents[1] / "scripts"
GRID = {"spacing_px": 1.0, "radius_px": 3.0, "n_modes": 20, "degree": 0, "flux_terms": []}
SETTINGS = {
    "strategy": "field",
    "noise": "measured",
    "degree": 1,
    "clipping": {},
    "grid": GRID,
}


def run(folder, model: str, optimiser: str = "gauss_newton", **changes) -> dict[str, str]:
    paths = {
        f"path_to_{name.split('.')[0]}": str(folder / name)
        for name in ("stars.parquet", "images.parquet", "history.parquet", "psf.fits")
    }
    arguments = {
        "path_to_stamps": str(folder / "stamps.fits"),
        "path_to_pocket": "",
        "model": model,
        "optimiser": optimiser,
        "options": {},
        "settings": SETTINGS,
        "device": "cpu",
        "dask_scheduler": None,
        "threads": 1,
        "max_failed_fraction": 0.5,
    }
    fit_psf(**(arguments | paths | changes))
    return paths


@pytest.fixture(scope="module", params=list_models())
def products(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    stamps = make_unit(folder / "stamps.fits", request.param)
    return request.param, stamps, run(folder, request.param)


def test_images_table_tells_what_failed_and_why(products) -> None:
    _, _, paths = products
    images = pd.read_parquet(paths["path_to_images"]).set_index("image")
    assert list(images["status"][:2]) == ["ok", "ok"]
    assert images["status"].iloc[2].startswith(f"{IMAGES[2]}: only 1 stars are left to fit")
    assert images["status"].iloc[3] == "x.fits: truncated."
    good = images.iloc[:2]
    assert (good["n_fitted"] + good["n_reserved"] + good["n_rejected"] == 30).all()
    assert (good["chi2"] / good["dof"]).between(0.9, 1.1).all()
    assert (good["fwhm_px"] - FWHM_PX).abs().max() < 5 * good["fwhm_error_px"].max()


def test_stars_table(products) -> None:
    _, stamps, paths = products
    stars = pd.read_parquet(paths["path_to_stars"])
    truth = stamps.stars[stamps.stars["image"].isin(IMAGES[:2])].reset_index(drop=True)
    assert list(stars["star_id"]) == list(truth["star_id"])
    assert (stars["is_reserved"] & stars["is_fitted"]).sum() == 0
    # The table's start positions are 0.05 px off; the fit must be nearer to the truth than that.
    for axis in ("x", "y"):
        pull = (stars[f"{axis}_px"] - truth[f"{axis}_px"]) / np.hypot(
            stars[f"{axis}_error_px"], 0.05
        )
        assert pull.std() < 1.3
    assert (stars["dof"] < stars["n_pix"]).all()
    assert stars.loc[stars["status"] == "ok", "core_chi2"].between(0.3, 2.5).all()
    for column in stars.columns:
        assert stars[column].notna().all(), column


def test_history_starts_at_zero_and_falls(products) -> None:
    _, _, paths = products
    history = pd.read_parquet(paths["path_to_history"])
    for _, steps in history.groupby("image"):
        assert list(steps["iteration"]) == list(range(len(steps)))
        assert (np.diff(steps["loss"]) <= 0).all()


def test_psf_file_draws_the_true_psf(products) -> None:
    name, _, paths = products
    psf = load_psf(paths["path_to_psf"], IMAGES[0])
    stamp = psf.stamp(200.3, 151.6, 21)
    assert stamp.shape == (21, 21)
    assert stamp.dtype == np.float64
    # The window is centred on the pixel (200, 152).
    np.testing.assert_allclose(stamp, draw_truth(name, 0.3, -0.4, 21), atol=2e-3)
    assert stamp.sum() == pytest.approx(1.0, abs=0.02)
    with fits.open(paths["path_to_psf"]) as hdus:
        assert hdus["PSF"].header["MODEL"] == name
        assert hdus["CENTRE"].data.shape == (2, 51, 51)


def test_errors_of_the_psf_are_those_of_the_table(products) -> None:
    _, _, paths = products
    image = pd.read_parquet(paths["path_to_images"]).iloc[0]
    value, error = load_psf(paths["path_to_psf"], IMAGES[0]).describe(200, 150)["fwhm_px"]
    assert value == pytest.approx(image["fwhm_px"], rel=1e-6)
    assert error == pytest.approx(image["fwhm_error_px"], rel=1e-6)


def test_load_psf_says_what_is_wrong(products, tmp_path) -> None:
    _, _, paths = products
    with pytest.raises(InputError, match="choose the image, one of ztf_2020"):
        load_psf(paths["path_to_psf"])
    with pytest.raises(InputError, match="choose the image"):
        load_psf(paths["path_to_psf"], IMAGES[2])
    with pytest.raises(InputError, match="no such file; make it with the rule fit_psf"):
        load_psf(tmp_path / "none.fits")
    with pytest.raises(InputError, match="odd number of pixels"):
        load_psf(paths["path_to_psf"], IMAGES[0]).stamp(10, 10, 24)


@pytest.mark.parametrize("percent", [0, 50, 95, 99])
def test_psf_file_that_is_cut_off(products, tmp_path, percent: int) -> None:
    whole = Path(products[2]["path_to_psf"]).read_bytes()
    path = tmp_path / "psf.fits"
    path.write_bytes(whole[: len(whole) * percent // 100])
    with pytest.raises(InputError, match="delete it and make it again with the rule fit_psf"):
        load_psf(path, IMAGES[0])


def test_psf_file_of_another_version(products, monkeypatch) -> None:
    monkeypatch.setattr(io, "FORMAT", io.FORMAT + 1)
    with pytest.raises(InputError, match=f"has format {io.FORMAT - 1}, expected {io.FORMAT}"):
        load_psf(products[2]["path_to_psf"], IMAGES[0])


def test_provenance(products) -> None:
    name, _, paths = products
    for path in paths.values():
        provenance = read_provenance(path)
        assert provenance["settings"]["model"] == name
        assert provenance["settings"]["degree"] == 1
        assert provenance["inputs"][0].endswith("stamps.fits")


def test_per_star_through_the_adapter(tmp_path) -> None:
    make_unit(tmp_path / "stamps.fits", "moffat")
    paths = run(tmp_path, "moffat", settings=SETTINGS | {"strategy": "per_star"})
    stars = pd.read_parquet(paths["path_to_stars"])
    fitted = stars[stars["is_fitted"]]
    assert fitted["fwhm_px"].nunique() == len(fitted)


def test_too_many_failures_leave_nothing(tmp_path) -> None:
    make_unit(tmp_path / "stamps.fits", "moffat")
    with pytest.raises(InputError, match="2 of 4 images failed, more than max_failed_fraction"):
        run(tmp_path, "moffat", max_failed_fraction=0.2)
    assert [path.name for path in tmp_path.iterdir()] == ["stamps.fits"]


def run_configure(device: str) -> subprocess.CompletedProcess[str]:
    code = f"from ztfpsf.psf.device import configure; print(configure('{device}'))"
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), "JAX_PLATFORMS": ""}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_demanded_gpu_is_there_or_an_error() -> None:
    done = run_configure("gpu")
    sentence = "config key device is 'gpu' and JAX finds no such device on this machine"
    assert sentence in done.stderr if done.returncode else done.stdout.startswith(("gpu", "cuda"))


def test_a_cpu_can_be_demanded() -> None:
    assert run_configure("cpu").stdout.startswith("cpu")


def test_a_lowered_degree_is_told(tmp_path, caplog) -> None:
    make_unit(tmp_path / "stamps.fits", "gaussian")
    with caplog.at_level("INFO", logger="ztfpsf"):
        paths = run(tmp_path, "gaussian", settings=SETTINGS | {"degree": 3})
    assert f"{IMAGES[0]}: 24 stars fitted, 6 reserved, 0 rejected, degree 2" in caplog.text
    assert (pd.read_parquet(paths["path_to_images"])["degree"][:2] == 2).all()
