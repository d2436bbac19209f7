"""Raw frames to calibrated quadrants, through the adapters, against the injected truth."""

import json

import numpy as np
import pytest
from astropy.io import fits
from make_period_master import make_period_master
from raw_frames import DETECTOR, GAIN, NX, NY, READ_NOISE
from raw_night import (
    CCDID,
    DEAD,
    FLAT_LEVEL,
    HIT,
    HOT,
    LOW,
    N_BIAS,
    N_FLATS,
    N_SKIP,
    READ_ADU,
    SATURATED,
    make_night,
)
from ztfpsf.calibration.mask import BITS
from ztfpsf.calibration.products import open_master
from ztfpsf.errors import InputError
from ztfpsf.fits_files import read_image
from ztfpsf.star_flat import draw_response, write_star_flat


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return make_night(tmp_path_factory.mktemp("night"))


@pytest.fixture(scope="module")
def products(night, tmp_path_factory):
    return night.calibrate(tmp_path_factory.mktemp("science"))


def stack(paths):
    return np.stack([fits.getdata(path).astype(float) for path in paths])


def test_master_bias_has_the_error_of_a_mean(night):
    with open_master(night.folder / "bias.fits", "bias", CCDID) as master:
        for qid in (1, 2, 3, 4):
            error = master.rows(qid, 0, NY) - night.bias[qid - 1]
            n_frames = N_BIAS - N_SKIP - 1  # one has 1000 ADU more than the others
            expected = READ_ADU / np.sqrt(n_frames)
            # The overscans of the frames shift whole rows a little.
            error -= np.median(error)
            assert np.std(error) < 1.2 * expected
            assert np.median(master.sigma_rows(qid, 0, NY)) == pytest.approx(expected, rel=0.05)
            assert np.abs(error).max() < 6 * expected
            assert "REJECT1" in master.hdus[f"Q{qid}"].header
        assert set(np.unique(master.n_frames(2))) <= {n_frames - 2, n_frames - 1, n_frames}
        assert master.n_frames(2)[10 + 3, 20] == n_frames - 1
        assert master.mask(1)[HOT[1:]] == BITS["noisy"]


def test_master_flat_is_the_response(night):
    with open_master(night.folder / "flat.fits", "flat", CCDID) as master:
        for qid in (1, 2, 3, 4):
            flat, mask = master.rows(qid, 0, NY), master.mask(qid)
            relative = (flat / night.response[qid - 1])[mask == 0]
            sigma = master.sigma_rows(qid, 0, NY)[mask == 0]
            # 2800 px: the median of all is that good.
            assert np.median(relative) == pytest.approx(1, abs=1e-3)
            pull = (relative - np.median(relative)) / sigma * flat[mask == 0]
            assert np.std(pull) == pytest.approx(1, abs=0.05)
            assert np.abs(pull).max() < 6
        assert master.mask(2)[DEAD[1:]] & BITS["dead"]
        assert master.mask(3)[LOW[1:]] == BITS["lowresponsivity"]
        assert master.n_frames(3)[15, 10] == 4 * N_FLATS - 4
        assert master.primary()["FLTNORM"] == pytest.approx(FLAT_LEVEL, rel=0.03)
        assert master.primary()["LEDS"] == "7,8,9,10"


def test_science_image_is_the_sky_with_the_predicted_noise(night, products):
    image, variance = stack(products["sciimg"]), stack(products["varimg"])
    mask = stack(products["mskimg"]).astype(int)
    good = mask == 0
    # The flat of a single CCD is normalised to its own median, and so is the truth.
    difference = np.where(good, image - night.sky, np.nan)
    pull = difference / np.sqrt(np.where(good, variance, np.nan))
    assert good.mean() > 0.99
    assert np.nanvar(pull) == pytest.approx(1, abs=0.03)
    assert abs(np.nanmedian(pull)) < 0.05
    expected = np.median(night.sky) / GAIN + READ_ADU**2
    assert np.median(variance[good]) == pytest.approx(expected, rel=0.1)


def test_flags_of_the_science_image(products):
    mask = stack(products["mskimg"]).astype(int)
    assert mask[HOT] & BITS["noisy"]
    assert mask[DEAD] & BITS["dead"]
    assert mask[LOW] & BITS["lowresponsivity"]
    assert mask[SATURATED] & BITS["saturated"]
    assert mask[0, SATURATED[1] + 1, SATURATED[2]] & BITS["saturated"]
    assert mask[HIT] & BITS["cosmicray"]
    assert mask[HIT] & BITS["spikes"]
    assert ((mask & BITS["cosmicray"]) != 0).sum() < 10


def test_header_of_the_science_image(products):
    header = fits.getheader(products["sciimg"][2])
    assert (header["CCDID"], header["QID"], header["RCID"]) == (6, 3, 22)
    assert header["WCSFROM"] == "pointing"
    assert header["GAIN"] == GAIN
    assert header["READNOI"] == pytest.approx(READ_NOISE, rel=0.05)
    assert header["OVSCOLS"] == "25:30"
    assert header["LINTABLE"] == "linearity_coeffs_201910.txt"
    assert header["POCKET"] is False
    assert header["STATUS"] == "ok"
    assert "MAGZP" not in header
    assert json.loads(header["SETTINGS"])["detector"] == DETECTOR
    assert json.loads(header["INPUTS"])[0].endswith("_o.fits.fz")


def test_world_coordinates_and_mask_of_ipac_are_taken_over(night, tmp_path):
    name = night.science_name().removesuffix(".fits.fz")
    ipac = fits.PrimaryHDU(np.zeros((NY, NX), np.float32))
    ipac.header.update({"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "PV1_0": 1e-5, "SEEING": 2.1})
    ipac.header.update({"CRVAL1": 150.0, "CRVAL2": 33.0, "CRPIX1": 64.0, "CRPIX2": 48.0})
    ipac.header.update({"CD1_1": -2.8e-4, "CD2_2": -2.8e-4, "MAGZP": 26.2, "SATURATE": 50000.0})
    sciimg, mskimg = tmp_path / f"{name}_q1_sciimg.fits", tmp_path / f"{name}_q1_mskimg.fits.gz"
    ipac.writeto(sciimg)
    bits = np.zeros((NY, NX), np.int16)
    bits[3, 4] = BITS["ghosts"]
    fits.writeto(mskimg, bits)
    (tmp_path / "out").mkdir()
    products = night.calibrate(tmp_path / "out", ipac=[sciimg, mskimg], compress="rice")
    header = fits.getheader(products["sciimg"][0], 1)
    assert (header["WCSFROM"], header["PV1_0"], header["SEEING"]) == ("ipac", 1e-5, 2.1)
    assert "MAGZP" not in header
    assert header["IPACZP"] == 26.2
    assert header["SATURATE"] > 55000
    assert fits.getdata(products["mskimg"][0], 1)[3, 4] & BITS["ghosts"]
    assert fits.getheader(products["sciimg"][1], 1)["WCSFROM"] == "pointing"


@pytest.mark.parametrize("kind", ["bias", "flat"])
def test_period_master_of_three_nights(night, tmp_path, kind):
    path = tmp_path / "period.fits"
    daily = [str(night.folder / f"{kind}.fits")] * 3
    make_period_master(
        paths_to_masters=daily,
        path_to_master=str(path),
        period="20200401-20200403",
        kind=kind,
        ccdid=CCDID,
        settings={"min_frames": 3, "clip_sigma": 4.0},
    )
    with open_master(path, kind, CCDID) as period, open_master(daily[0], kind, CCDID) as one:
        np.testing.assert_allclose(period.rows(2, 0, NY), one.rows(2, 0, NY), rtol=1e-6)
        ratio = one.sigma_rows(2, 0, NY) / period.sigma_rows(2, 0, NY)
        np.testing.assert_allclose(ratio, np.sqrt(3), rtol=1e-5)
        assert (period.n_frames(2) == 3).all()
        assert period.primary()["NDAYS"] == 3
        assert period.primary()["NIGHT"] == "20200401-20200403"
    with pytest.raises(InputError, match="1 of at least 3 daily"):
        make_period_master(
            paths_to_masters=daily[:1],
            path_to_master=str(path),
            period="20200401-20200403",
            kind=kind,
            ccdid=CCDID,
            settings={"min_frames": 3, "clip_sigma": 4.0},
        )


def test_star_flat_is_divided_out(night, products, tmp_path):
    flat = np.random.default_rng(2).normal(0, 0.02, (1, 64, 5, 5))
    record = {"version": "0", "inputs": [], "settings": {}}
    write_star_flat(tmp_path / "zr_starflat.fits", flat, flat, flat[0], [58000.0], record)
    applied = night.calibrate(tmp_path, star_flat=str(tmp_path))
    for qid in range(1, 5):
        plain, header = read_image(products["sciimg"][qid - 1])
        divided, marked = read_image(applied["sciimg"][qid - 1])
        rcid = 4 * (CCDID - 1) + qid - 1
        response = draw_response(flat[0], rcid, (0, len(plain)), plain.shape)
        assert response.std() > 0.01
        np.testing.assert_allclose(divided * response, plain, rtol=1e-5)
        assert (header["STARFLAT"], marked["STARFLAT"]) == (False, True)
        before, after = (read_image(p["varimg"][qid - 1])[0] for p in (products, applied))
        # Noise of photons in fewer ADU, and the flat's own.
        assert np.nanmedian(after * response**2 / before) == pytest.approx(1.0, abs=1e-4)
