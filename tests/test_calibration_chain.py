"""Raw frames to calibrated quadrants, through the adapters, against the injected truth."""

import copy
import json
import re

import numpy as np
import pytest
from astropy.io import fits
from calibrate_science import calibrate_science
from make_master_bias import make_master_bias
from make_master_flat import make_master_flat
from make_period_master import make_period_master
from normalise_flats import normalise_flats
from raw_frames import DETECTOR, GAIN, NIGHT, NX, NY, READ_NOISE, raw_name, write_raw
from ztfpsf.calibration.linearity import coefficients
from ztfpsf.calibration.mask import BITS
from ztfpsf.calibration.products import open_master
from ztfpsf.errors import InputError
from ztfpsf.io import read_json
from ztfpsf.simulation.linearity import measured_adu

CCDID = 6
N_BIAS, N_SKIP = 12, 2
LEDS = {7: 9000.0, 8: 15000.0, 9: 20000.0, 10: 12000.0}
N_FLATS = 5
READ_ADU = READ_NOISE / GAIN
COMBINE = {"min_frames": 3, "clip_sigma": 4.0, "max_outlier_fraction": 0.05}
BIAS_SETTINGS = {**COMBINE, "n_skip": N_SKIP, "hot_sigma": 10.0}
FLAT_SETTINGS = {
    **COMBINE,
    "led_weights": None,
    "response": {"dead": 0.1, "low": 0.8, "high": 1.2},
}
COSMICS = {
    "sigma_clip": 5.0,
    "margin_sigma": 3.0,
    "stars_quantile": 0.03,
    "safety": 0.7,
    "bright_sigma": 50.0,
    "min_stars": 30,
    "grow_px": 2,
}
SCIENCE_SETTINGS = {"saturation_grow_px": 1, "cosmics": COSMICS, "compress": "none"}
FLAT_LEVEL = np.mean(list(LEDS.values()))
SKY = 300.0
HOT, DEAD, LOW, SATURATED, HIT = (0, 20, 30), (1, 40, 50), (2, 60, 70), (0, 50, 90), (3, 30, 64)


def measured(linear_adu):
    """What the amplifiers of the CCD make of a linear signal, (4, ny, nx)."""
    return np.stack([measured_adu(linear_adu[i], *coefficients(NIGHT, CCDID, i)) for i in range(4)])


def truth():
    """Bias structure in ADU, and the response of the CCD relative to its median."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:NY, 0:NX]
    bias = rng.normal(0, 2, (4, NY, NX)) + 1.5 * np.sin(x / 9.0)
    bias[HOT] += 400
    response = 1 + 0.01 * rng.normal(size=(4, NY, NX)) - 0.1 * (x / NX) ** 2 * (y / NY)
    response *= np.array([0.98, 1.0, 1.01, 1.03])[:, None, None]
    response[DEAD], response[LOW] = 0.001, 0.5
    return bias, response / np.median(response)


def levels(frame):
    """Overscan level of each row: tilted, each quadrant its own way, different in each frame."""
    slope = np.array([3.0, -3.0, 1.0, -1.0])[:, None]
    return 100 + frame + slope * np.linspace(0, 1, NY)


def photons(rng, linear_adu):
    return rng.poisson(linear_adu * GAIN) / GAIN


class Night:
    """Files and truth of a night."""

    def __init__(self, folder):
        self.folder = folder
        self.bias, self.response = truth()
        rng = np.random.default_rng(11)
        measured_bias = measured(self.bias)
        self.biases = []
        for i in range(N_BIAS):
            signal = measured_bias + (1000 if i == 5 else 0)
            signal[1, 10 + i, 20] += 500  # one hit per frame
            name = raw_name("b", 80000 + i)
            self.biases.append(write_raw(folder, name, signal, level=levels(i), seed=i))
        self.flats = []
        for led, level in LEDS.items():
            for i in range(N_FLATS):
                lamp = 1 + 0.02 * rng.normal()
                signal = photons(rng, level * lamp * self.response) + self.bias
                signal[2, 15, 3 * i + 10] += 3000
                path = write_raw(
                    folder,
                    raw_name("f", 100 * led + i),
                    measured(signal),
                    level=levels(i),
                    led=led,
                    seed=1000 * led + i,
                )
                self.flats.append(path)
        self.sky = SKY * (1 + 0.2 * np.linspace(0, 1, NX)) * np.ones((4, NY, NX))
        signal = photons(rng, self.sky * self.response) + self.bias
        signal[SATURATED] = 65000
        signal[HIT] += 800
        self.science = write_raw(
            folder, self.science_name(), measured(signal), level=levels(3), seed=5
        )

    @staticmethod
    def science_name():
        return raw_name("o", 300000, field=517)

    def make_bias(self, path, frames=None, **changes):
        make_master_bias(
            paths_to_frames=[str(p) for p in frames or self.biases],
            path_to_bias=str(path),
            night=NIGHT,
            ccdid=CCDID,
            detector=DETECTOR,
            settings={**BIAS_SETTINGS, **changes},
        )
        return path

    def make_flat(self, path, frames=None, **changes):
        make_master_flat(
            paths_to_frames=[str(p) for p in (self.flats if frames is None else frames)],
            path_to_bias=str(self.folder / "bias.fits"),
            path_to_flat=str(path),
            night=NIGHT,
            filtercode="zr",
            ccdid=CCDID,
            detector=DETECTOR,
            settings={**FLAT_SETTINGS, **changes},
            missing="",
        )
        return path

    def calibrate(self, folder, raw=None, ipac=(), missing="", **changes):
        stem = str(folder / self.science_name().removesuffix(".fits.fz"))
        products = {
            kind: [f"{stem}_q{q}_{kind}.fits" for q in range(1, 5)]
            for kind in ("sciimg", "varimg", "mskimg")
        }
        calibrate_science(
            path_to_raw=str(raw or self.science),
            path_to_bias=str(self.folder / "bias.fits"),
            path_to_flat=str(self.folder / "flat.fits"),
            path_to_focal_plane=str(self.folder / "focal.json"),
            paths_to_ipac=[str(path) for path in ipac],
            paths_to_sciimg=products["sciimg"],
            paths_to_varimg=products["varimg"],
            paths_to_mskimg=products["mskimg"],
            path_to_status=str(folder / "status.json"),
            detector=DETECTOR,
            settings={**SCIENCE_SETTINGS, **changes},
            missing=missing,
        )
        return products


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    night = Night(tmp_path_factory.mktemp("night"))
    night.make_bias(night.folder / "bias.fits")
    night.make_flat(night.folder / "flat.fits")
    normalise_flats(
        paths_to_flats=[str(night.folder / "flat.fits")],
        path_to_focal_plane=str(night.folder / "focal.json"),
        ccdids=[CCDID],
        min_ccds=1,
    )
    return night


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


def bias_of(night, frames, path):
    make_master_bias(
        paths_to_frames=[str(frame) for frame in frames],
        path_to_bias=str(path),
        night=NIGHT,
        ccdid=CCDID,
        detector=DETECTOR,
        settings=BIAS_SETTINGS,
    )


def reasons_in(path, kind):
    """Status of each quadrant of a master."""
    with open_master(path, kind, CCDID) as master:
        return [master.status(qid) for qid in (1, 2, 3, 4)]


def test_night_without_bias(night, tmp_path):
    with pytest.raises(InputError, match="0 of at least 1 bias frames of CCD 6 in the night 2020"):
        bias_of(night, [], tmp_path / "bias.fits")
    assert not list(tmp_path.iterdir())


def test_master_without_usable_frames_says_why_and_the_science_frame_repeats_it(night, tmp_path):
    bias_of(night, night.flats, tmp_path / "bias.fits")
    reasons = reasons_in(tmp_path / "bias.fits", "bias")
    assert all("is a flat frame" in reason for reason in reasons)
    broken = copy.copy(night)
    broken.folder = tmp_path
    broken.make_flat(tmp_path / "flat.fits")
    reasons = reasons_in(tmp_path / "flat.fits", "flat")
    assert all(reason.count("is a flat frame") for reason in reasons), reasons
    # The other CCDs of the night are normalised without this one.
    normalise_flats(
        paths_to_flats=[str(night.folder / "flat.fits"), str(tmp_path / "flat.fits")],
        path_to_focal_plane=str(tmp_path / "focal.json"),
        ccdids=[CCDID, CCDID],
        min_ccds=1,
    )
    with pytest.raises(InputError, match=r"no quadrant could be calibrated.*is a flat frame"):
        broken.calibrate(tmp_path)
    with pytest.raises(InputError, match=r"_o\.fits\.fz: no night with 15 bias frames"):
        night.calibrate(tmp_path, missing="no night with 15 bias frames.")


def test_bad_bias_frames_are_left_out_with_their_reasons(night, tmp_path):
    other_day = write_raw(tmp_path, raw_name("b", 1, night="20200402"), night.bias)
    full = write_raw(tmp_path, raw_name("b", 90000), np.full((4, NY, NX), 65400.0))
    torn = tmp_path / raw_name("b", 90001)
    torn.write_bytes(night.biases[0].read_bytes()[:-20000])
    path = night.make_bias(tmp_path / "bias.fits", [*night.biases, other_day, full, torn])
    with open_master(path, "bias", CCDID) as master:
        reasons = " ".join(str(master.primary()[f"REJECT{i}"]) for i in range(1, 5))
        assert "is of the night 20200402" in reasons
        assert "not a complete FITS file" in reasons
        assert "saturated" in " ".join(map(str, master.hdus["Q1"].header.values()))
        assert np.abs(master.rows(4, 0, NY) - night.bias[3]).max() < 6 * READ_ADU


def test_flats_of_another_filter_or_led(night, tmp_path):
    signal = photons(np.random.default_rng(0), 9000 * night.response) + night.bias
    green = [
        write_raw(tmp_path, raw_name("f", i, filtercode="zg"), signal, led=2) for i in range(4)
    ]
    path = night.make_flat(tmp_path / "flat.fits", green)
    for reason in reasons_in(path, "flat"):
        assert re.match("0 of at least 3 zr flat.*is in zg", reason)
    lit = [write_raw(tmp_path, raw_name("f", i), signal, led=2, seed=i) for i in range(4)]
    path = night.make_flat(tmp_path / "flat.fits", lit)
    assert "lit by LED 2" in reasons_in(path, "flat")[0]


def test_a_dead_amplifier_fails_alone(night, tmp_path):
    """One constant quadrant: flagged through bias, flat and science, the others are made."""
    dead = Night.__new__(Night)
    dead.folder = tmp_path
    dead.bias, dead.response = night.bias, night.response
    for kind in ("biases", "flats"):
        setattr(dead, kind, [kill_amplifier(path, tmp_path) for path in getattr(night, kind)])
    science = kill_amplifier(night.science, tmp_path)
    dead.make_bias(tmp_path / "bias.fits")
    dead.make_flat(tmp_path / "flat.fits")
    normalise_flats(
        paths_to_flats=[str(tmp_path / "flat.fits")],
        path_to_focal_plane=str(tmp_path / "focal.json"),
        ccdids=[CCDID],
        min_ccds=1,
    )
    products = dead.calibrate(tmp_path, science)
    status = read_json(tmp_path / "status.json", "calibrate_science")
    assert [record["status"] == "ok" for record in status.values()] == [True, False, True, True]
    assert "dead amplifier" in fits.getheader(products["sciimg"][1])["STATUS"]
    assert np.isnan(fits.getdata(products["sciimg"][1])).all()
    assert np.isfinite(fits.getdata(products["sciimg"][0])).all()


def kill_amplifier(path, folder):
    with fits.open(path) as hdus:
        hdus[2].data[:] = 100.0
        hdus.writeto(folder / path.name, overwrite=True)
    return folder / path.name


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
