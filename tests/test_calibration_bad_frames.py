"""Raw frames that are no good: what is left out, what fails, with which sentence."""

import copy
import re

import numpy as np
import pytest
from astropy.io import fits
from normalise_flats import normalise_flats
from raw_frames import GAIN, NX, NY, raw_name, write_raw
from raw_night import (
    CCDID,
    READ_ADU,
    SKY,
    Night,
    make_night,
    photons,
)
from ztfpsf.calibration import calibrate as calibrate_module
from ztfpsf.calibration.mask import BITS
from ztfpsf.calibration.products import open_master
from ztfpsf.errors import InputError
from ztfpsf.io import read_json


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return make_night(tmp_path_factory.mktemp("night"))


def reasons_in(path, kind):
    """Status of each quadrant of a master."""
    with open_master(path, kind, CCDID) as master:
        return [master.status(qid) for qid in (1, 2, 3, 4)]


def test_night_without_bias(night, tmp_path):
    with pytest.raises(InputError, match="0 of at least 1 bias frames of CCD 6 in the night 2020"):
        night.make_bias(tmp_path / "bias.fits", [])
    assert not list(tmp_path.iterdir())


def test_master_without_usable_frames_says_why_and_the_science_frame_repeats_it(night, tmp_path):
    night.make_bias(tmp_path / "bias.fits", night.flats)
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
    (tmp_path / "products").mkdir()
    with pytest.raises(InputError, match=r"no quadrant could be calibrated.*is a flat frame"):
        broken.calibrate(tmp_path / "products")
    assert not list((tmp_path / "products").iterdir())
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
    dead.normalise(tmp_path / "flat.fits", tmp_path / "focal.json")
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


def test_one_unlit_flat_of_four_spoils_nothing(night, tmp_path):
    lit = night.flats[:3]
    signal = np.random.default_rng(1).normal(0, 0.1, night.bias.shape) + night.bias
    unlit = write_raw(tmp_path, raw_name("f", 701), signal, led=7, seed=9)
    expected = night.make_flat(tmp_path / "lit.fits", lit)
    found = night.make_flat(tmp_path / "flat.fits", [lit[0], unlit, *lit[1:]])
    with open_master(expected, "flat", CCDID) as right, open_master(found, "flat", CCDID) as flat:
        assert "was the lamp off" in str(flat.primary()["REJECT1"])
        assert flat.primary()["FLTNORM"] == pytest.approx(right.primary()["FLTNORM"], rel=1e-3)
        for qid in (1, 2, 3, 4):
            assert flat.status(qid) == "ok"
            sigma = np.median(flat.sigma_rows(qid, 0, NY))
            assert sigma == pytest.approx(np.median(right.sigma_rows(qid, 0, NY)), rel=0.02)
    other = copy.copy(night)
    other.folder = tmp_path
    (tmp_path / "bias.fits").write_bytes((night.folder / "bias.fits").read_bytes())
    other.normalise(found, tmp_path / "focal.json")
    variance = fits.getdata(other.calibrate(tmp_path)["varimg"][0])
    assert np.nanmedian(variance) == pytest.approx(SKY * 1.1 / GAIN + READ_ADU**2, rel=0.1)


def test_lamp_that_was_off_is_the_reason_the_run_ends_with(night, tmp_path):
    dark = [
        write_raw(tmp_path, raw_name("f", i), night.bias + 0.9, led=7, seed=i) for i in range(4)
    ]
    path = night.make_flat(tmp_path / "flat.fits", dark)
    for reason in reasons_in(path, "flat"):
        assert re.search(r"shows 0\.\d ADU of light, 0\.\d times the noise of a pixel", reason), (
            reason
        )
    with pytest.raises(InputError, match=r"0 CCDs have a flat.*CCD 6: 0 of at least 3.*lamp off"):
        night.normalise(path, tmp_path / "focal.json")


@pytest.mark.parametrize("kind", ["light", "noise"])
def test_two_bad_biases_of_eight_do_not_count_in_the_noise(night, tmp_path, kind):
    rng = np.random.default_rng(4)
    spoil = {
        "light": lambda: photons(rng, np.full(night.bias.shape, 40.0)),
        "noise": lambda: rng.normal(0, 30, night.bias.shape),
    }
    signals = [night.bias + (spoil[kind]() if i in (3, 5) else 0) for i in range(8)]
    frames = [
        write_raw(tmp_path, raw_name("b", i), signal, seed=i) for i, signal in enumerate(signals)
    ]
    path = night.make_bias(tmp_path / "bias.fits", frames, n_skip=0)
    with open_master(path, "bias", CCDID) as master:
        for qid in (1, 2, 3, 4):
            header = master.hdus[f"Q{qid}"].header
            assert (header["NFRAMES"], header["NREJECT"]) == (6, 2)
            assert header["NOISEADU"] == pytest.approx(READ_ADU, rel=0.05)


def change_overscan(path, level, noise):
    """The serial overscan of the first quadrant at another level, in ADU."""
    with fits.open(path) as hdus:
        strip = np.random.default_rng(0).normal(level, noise, hdus[5].shape)
        hdus[5] = fits.ImageHDU(strip.astype(np.float32), hdus[5].header)
        hdus.writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize(
    ("level", "noise", "message"),
    [
        (65535.0, 0.0, "the overscan lies at 65535 ADU"),
        (0.0, 0.0, "the overscan lies at 0 ADU"),
        (1e30, 0.0, "only 0 of 96 overscan rows"),
        (100.0, 0.0, "the overscan has a noise of 0.00 ADU"),
        (400.0, READ_ADU, r"the pixels lie 2\d\d ADU below the overscan"),
    ],
)
def test_overscans_that_are_none(night, tmp_path, level, noise, message):
    good = night.biases[:5]
    bad = tmp_path / raw_name("b", 90000)
    bad.write_bytes(night.biases[8].read_bytes())
    path = night.make_bias(
        tmp_path / "bias.fits", [*good, change_overscan(bad, level, noise)], n_skip=0
    )
    with open_master(path, "bias", CCDID) as master:
        header = master.hdus["Q1"].header
        assert (header["NFRAMES"], header["NREJECT"]) == (5, 1)
        assert re.search(message, header["REJECT1"])
        assert master.hdus["Q2"].header["NFRAMES"] == 6
        error = master.rows(1, 0, NY) - night.bias[0]
        assert np.abs(np.median(error)) < 0.3
    (tmp_path / "out").mkdir()
    raw = tmp_path / night.science_name()
    raw.write_bytes(night.science.read_bytes())
    # The sky of 300 ADU hides an overscan that is too high.
    if noise == 0.0:
        night.calibrate(tmp_path / "out", change_overscan(raw, level, noise))
        status = read_json(tmp_path / "out" / "status.json", "calibrate_science")
        reasons = [record["status"] for record in status.values()]
        assert re.search(message, reasons[0])
        assert reasons[1:] == ["ok"] * 3


def damage_row(path, row):
    """Overwrite the compressed bytes of a row of the first quadrant."""
    content = bytearray(path.read_bytes())
    with fits.open(path, disable_image_compression=True) as hdus:
        table = hdus[1]
        start, header = table.fileinfo()["datLoc"], table.header
        heap = start + header["NAXIS1"] * header["NAXIS2"]
        rows = np.frombuffer(bytes(content[start:heap]), table.columns.dtype.newbyteorder(">"))
    length, offset = rows["COMPRESSED_DATA"][row]
    content[heap + offset : heap + offset + length] = b"\xaa" * length
    return bytes(content)


# Row 1 is one of those that are looked at first.
@pytest.mark.parametrize("row", [1, 3])
def test_frame_with_damaged_rows_is_left_out_of_masters(night, tmp_path, row):
    frames = night.biases[2:5] + night.biases[6:8]
    torn = tmp_path / frames[1].name
    torn.write_bytes(damage_row(frames[1], row))
    path = night.make_bias(tmp_path / "bias.fits", [frames[0], torn, *frames[2:]], n_skip=0)
    flats = night.flats[:4]
    torn = tmp_path / flats[1].name
    torn.write_bytes(damage_row(flats[1], row))
    flat = night.make_flat(tmp_path / "flat.fits", [flats[0], torn, *flats[2:]])
    for kind, made, n_frames in (("bias", path, 5), ("flat", flat, 4)):
        with open_master(made, kind, CCDID) as master:
            assert reasons_in(made, kind) == ["ok"] * 4
            headers = [master.hdus[f"Q{qid}"].header for qid in (1, 2, 3, 4)]
            assert [header["NFRAMES"] for header in headers] == [n_frames - 1, *[n_frames] * 3]
            told = str([*headers[0].values(), *master.primary().values()])
            assert "damaged (decompression error" in told
            assert np.isfinite(master.rows(1, 0, NY)).all()


def test_science_frame_with_damaged_rows_fails_in_that_quadrant(night, tmp_path):
    raw = tmp_path / night.science_name()
    raw.write_bytes(damage_row(night.science, 3))
    night.calibrate(tmp_path, raw)
    status = read_json(tmp_path / "status.json", "calibrate_science")
    reasons = [record["status"] for record in status.values()]
    assert "damaged (decompression error" in reasons[0]
    assert reasons[1:] == ["ok"] * 3


def test_an_error_nobody_foresaw_fails_its_quadrant_alone(night, tmp_path, monkeypatch, caplog):
    calibrate = calibrate_module._calibrate

    def fail_second(ccd, qid):
        return 1 / 0 if qid == 2 else calibrate(ccd, qid)

    monkeypatch.setattr(calibrate_module, "_calibrate", fail_second)
    night.calibrate(tmp_path)
    status = read_json(tmp_path / "status.json", "calibrate_science")
    reasons = [record["status"] for record in status.values()]
    sentence = "an error that ztfpsf does not expect (ZeroDivisionError: division by zero)"
    assert [sentence in reason for reason in reasons] == [False, True, False, False]
    assert reasons[0] == reasons[2] == reasons[3] == "ok"
    assert any(record.exc_info for record in caplog.records)


def test_pixels_that_no_converter_gives_are_masked(night, tmp_path):
    raw = tmp_path / night.science_name()
    with fits.open(night.science) as hdus:
        pixels = hdus[1].data.copy()
        pixels[3, 4:7] = -1e38, 1e38, -500
        hdus[1] = fits.ImageHDU(pixels, hdus[1].header)
        hdus.writeto(raw)
    products = night.calibrate(tmp_path, raw)
    assert (fits.getdata(products["mskimg"][0])[3, 4:7] & BITS["nan"] != 0).all()
    image = fits.getdata(products["sciimg"][0])
    assert np.isnan(image[3, 4:7]).all()
    assert np.nanmax(np.abs(image)) < 1e5


def test_masters_below_a_folder_with_letters_of_all_kinds(night, tmp_path):
    folder = tmp_path / "données\nα"
    folder.mkdir()
    torn = folder / night.biases[2].name
    torn.write_bytes(night.biases[2].read_bytes()[:-20000])
    path = night.make_bias(folder / "bias.fits", [*night.biases[3:9], torn], n_skip=0)
    with open_master(path, "bias", CCDID) as master:
        assert r"donn\xe9es \u03b1" in str(master.primary()["REJECT1"])
    path = night.make_bias(folder / "bias.fits", [torn], n_skip=0)
    assert r"donn\xe9es \u03b1" in reasons_in(path, "bias")[0]
