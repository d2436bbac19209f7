"""Raw CCD files of a simulated night: format, orientation, and what is in the pixels."""

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from simulate_raw import simulate_raw
from ztfpsf.errors import InputError
from ztfpsf.robust import mad_sigma
from ztfpsf.simulation import rice
from ztfpsf.simulation.plan import detector_path, list_files, plan_night, truth_path
from ztfpsf.simulation.settings import NightSettings, make_settings
from ztfpsf.simulation.truth import read_true_psf
from ztfpsf.simulation.wcs import quadrant_wcs_header

NX, NY = 120, 100
CONFIG = {
    "n_biases": 2,
    "n_flats_per_led": 1,
    "detector": {"nx": NX, "ny": NY, "dead_fraction": 1e-3, "hot_fraction": 1e-3},
    "sky": {"stars_per_quadrant": 10, "cosmic_rays_per_mpx_s": 10.0},
}
SETTINGS = make_settings(NightSettings, CONFIG, "config")


def make_night(folder):
    simulate_raw(
        path_to_linearity="",
        path_to_night=str(folder),
        path_to_catalogue=str(folder / "catalogue.parquet"),
        path_to_frames=str(folder / "frames.csv"),
        settings=CONFIG,
        n_processes=1,
    )
    return folder


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return make_night(tmp_path_factory.mktemp("night"))


def files(folder):
    return {str(p.relative_to(folder)): p for p in Path(folder).rglob("*") if p.is_file()}


def test_planned_files_are_there(night):
    planned = [path for paths in list_files(SETTINGS).values() for path in paths]
    assert sorted([*planned, "catalogue.parquet", "frames.csv"]) == sorted(files(night))
    frames = pd.read_csv(night / "frames.csv")
    assert frames["path"].tolist() == list_files(SETTINGS)["raw"]
    assert (night / frames["path"][0]).name == "ztf_20200924080000_000000_bi_c13_b.fits.fz"
    assert frames.loc[frames["kind"] == "f", "led"].tolist() == [7, 8]


def test_equal_seeds_give_equal_files_in_any_order(night, tmp_path):
    # A process of its own: forks of one that holds other libraries' threads may hang.
    code = (
        "import json, sys; from simulate_raw import simulate_raw;"
        "simulate_raw(**json.loads(sys.argv[1]))"
    )
    arguments = {
        "path_to_linearity": "",
        "path_to_night": str(tmp_path),
        "path_to_catalogue": str(tmp_path / "catalogue.parquet"),
        "path_to_frames": str(tmp_path / "frames.csv"),
        "settings": CONFIG,
        "n_processes": 2,
    }
    scripts = Path(__file__).parents[1] / "scripts"
    subprocess.run([sys.executable, "-c", code, json.dumps(arguments)], check=True, cwd=scripts)
    for name in list_files(SETTINGS)["raw"]:
        with fits.open(night / name) as first, fits.open(tmp_path / name) as second:
            for k in range(1, 9):
                np.testing.assert_array_equal(first[k].data, second[k].data)


def test_raw_files_have_ztf_s_structure(night):
    flat = next(path for path in list_files(SETTINGS)["raw"] if path.endswith("_f.fits.fz"))
    with fits.open(night / flat) as hdus:
        assert len(hdus) == 9
        assert hdus[0].data is None
        assert hdus[0].header["ILUM_LED"] == 7
        for qid in (1, 2, 3, 4):
            image, overscan = hdus[qid], hdus[qid + 4]
            assert isinstance(image, fits.CompImageHDU)
            assert image.compression_type == "RICE_1"
            assert image.data.shape == (NY, NX)
            assert overscan.data.shape == (NY, 30)
            assert image.data.dtype.kind == "f"
            assert image.header["BITPIX"] == -32
            for header in (image.header, overscan.header):
                assert (header["CCD_ID"], header["AMP_ID"]) == (13, qid - 1)
                assert header["AMP_NAME"] == "HGFE"[qid - 1]
                assert 5 < header["GAIN"] < 7
                assert 8 < header["READNOI"] < 11


@pytest.mark.parametrize("is_compiled", [True, False])
def test_compression_costs_no_more_than_its_step(tmp_path, monkeypatch, is_compiled):
    if not is_compiled:
        monkeypatch.setattr(rice, "compress_rice_1_c", None)
    noise = 3.0
    data = np.random.default_rng(1).normal(1000, noise, (70, 90)).astype(np.float32)
    data[5, 7] = 60000.0
    header = fits.Header({"GAIN": 6.2})
    hdus = fits.HDUList([fits.PrimaryHDU(), rice.compress(data, header)])
    hdus.writeto(tmp_path / "x.fits", checksum=True)
    with fits.open(tmp_path / "x.fits", checksum=True) as read:
        assert read[1].header["GAIN"] == 6.2
        error = read[1].data - data
    step = noise / rice.STEPS_PER_NOISE
    assert np.abs(error).max() < 0.55 * step
    assert error.std() == pytest.approx(step / 12**0.5, rel=0.05)
    assert abs(error.mean()) < 0.02 * step


def test_differences_of_frames_tell_their_noise():
    """No two frames have their steps at the same places."""
    noise, random, frames = 1.5, np.random.default_rng(1), []
    for _ in range(2):
        pixels = random.normal(100, noise, (200, 1000)).astype(np.float32)
        table = rice.compress(pixels, fits.Header())
        hdus = fits.HDUList([fits.PrimaryHDU(), table])
        file = BytesIO()
        hdus.writeto(file)
        with fits.open(BytesIO(file.getvalue())) as read:
            frames.append(read[1].data.astype(float))
    found = mad_sigma(frames[0] - frames[1]) / np.sqrt(2)
    assert found == pytest.approx(noise, rel=0.01)


def test_quadrants_join_on_the_sky():
    settings = NightSettings()
    corner = {}
    for qid in (1, 2, 3, 4):
        with_wcs = make_wcs(settings, qid)
        ny, nx = settings.detector.ny, settings.detector.nx
        # Stored pixel next to the centre of the CCD: stored x is to the West, y to the South.
        x = nx - 1 if qid in (1, 4) else 0
        y = ny - 1 if qid in (1, 2) else 0
        corner[qid] = with_wcs.all_pix2world([[x, y]], 0)[0]
    spread = np.ptp(list(corner.values()), axis=0) * 3600
    # One TPV solution serves all quadrants: they join to some arcsec only.
    assert spread.max() < 25
    middles = {q: make_wcs(settings, q).all_pix2world([[1535, 1539]], 0)[0] for q in (1, 2, 3, 4)}
    assert middles[1][0] > middles[2][0]
    assert middles[1][1] > middles[4][1]
    assert middles[4][0] > middles[3][0]
    assert middles[2][1] > middles[3][1]


def make_wcs(settings, qid):
    shape = settings.detector.nx, settings.detector.ny
    return WCS(quadrant_wcs_header(13, qid, *shape, settings.ra_deg, settings.dec_deg))


def test_truth_agrees_with_the_frames(night):
    frame = plan_night(SETTINGS)[-1]
    name = frame.quadrant(13, 3)
    with (
        fits.open(night / frame.path(13)) as raw,
        fits.open(night / truth_path(name, "truth.fits")) as truth,
        fits.open(night / detector_path("20200924", 13, 3)) as detector,
    ):
        gain, read_noise = (detector[0].header[key] for key in ("GAIN", "READNOI"))
        level = np.median(raw[7].data[:, :20], axis=1, keepdims=True)
        signal = raw[3].data - level - detector["BIAS"].data
        flat = detector["FLAT"].data
        expected = truth["NOISELESS"].data * flat
        variance = expected / gain + (read_noise / gain) ** 2 * (1 + 1.6 / 20)
        good = (truth["AFFECTED"].data == 0) & (detector["BAD"].data == 0)
        pull = ((signal - expected) / np.sqrt(variance))[good]
        assert abs(np.median(pull)) < 0.06
        assert pull.std() == pytest.approx(1, abs=0.04)
        assert (truth["AFFECTED"].data & 1).any()
        assert (truth["AFFECTED"].data & 4).any()
        header = truth["NOISELESS"].header
    stars = pd.read_parquet(night / truth_path(name, "stars.parquet"))
    x, y = WCS(header).all_world2pix(stars["ra_deg"], stars["dec_deg"], 0)
    np.testing.assert_allclose(x, stars["x_px"], atol=1e-6)
    np.testing.assert_allclose(y, stars["y_px"], atol=1e-6)
    science = fits.getheader(night / name.path("sciimg.fits"))
    assert science["MAGZP"] == 26.2
    assert science["CTYPE1"] == "RA---TPV"
    assert (science["QID"], science["RCID"]) == (3, 50)


def test_true_psf_is_read_back(night):
    name = plan_night(SETTINGS)[-1].quadrant(13, 1)
    path = night / truth_path(name, "psf.fits")
    psf = read_true_psf(path)
    with fits.open(path) as hdus:
        table, cube = hdus["POSITIONS"].data, hdus["PSF"].data
        stamp = psf.stamp(table["x_px"][7], table["y_px"][7], 41)
        np.testing.assert_allclose(cube[7], stamp, atol=2e-5)
        # The settings hold field coordinates from -1 to 1 over the CCD.
        assert psf.field(NX - 1, NY - 1) == pytest.approx((1 / NX / 2, 1 / NY / 2))
    with pytest.raises(InputError, match="no such file"):
        read_true_psf(night / "none.fits")
    with pytest.raises(InputError, match="'TRUEPSF' not found"):
        read_true_psf(night / name.path("sciimg.fits"))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"nigt": 1}, "nigt"),
        ({"night": "2020-09-24"}, "2020-09-24.* is not a night"),
        ({"ccdids": [17]}, "1 to 16"),
        ({"leds": [6]}, "leds is"),
        ({"detector": {"nx": 3}}, "too small"),
        ({"psf": {"profile": "airy"}}, "airy"),
    ],
)
def test_wrong_settings_are_told(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        make_settings(NightSettings, wrong, "config: simulate_raw")
