"""Raw CCD files: what is read, and the sentence about each that cannot be."""

import gzip
import os

import numpy as np
import pytest
from astropy.io import fits
from raw_frames import DETECTOR, SHAPE, raw_name, write_raw
from ztfpsf.calibration import rice
from ztfpsf.calibration.detector import prepare_quadrant
from ztfpsf.calibration.header import identity_cards, make_header, raw_cards
from ztfpsf.calibration.identity import field_declination
from ztfpsf.calibration.raw import open_raw
from ztfpsf.calibration.settings import make_detector
from ztfpsf.errors import InputError


@pytest.fixture
def raw(tmp_path):
    primary = {"DARKCUR": 0.0}
    return write_raw(tmp_path, raw_name("o", 1, field=517), np.zeros((4, *SHAPE)), primary=primary)


def test_raw_frame_is_read(raw):
    with open_raw(raw, SHAPE) as frame:
        assert frame.name.ccdid == 6
        assert frame.rows(2, 3, 9).shape == (6, SHAPE[1])
        assert frame.overscan(4).shape == (SHAPE[0], 30)
        assert frame.number("GAIN", 1) == 6.2


def damage(path, how):
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-4000])
        return path
    with fits.open(path) as hdus:
        hdus = fits.HDUList([hdu.copy() for hdu in hdus])
    if how == "hdu":
        del hdus[3]
    if how == "order":
        hdus[1], hdus[2] = hdus[2], hdus[1]
    if how == "keyword":
        del hdus[2].header["GAIN"]
    hdus.writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated", r"not a complete FITS file \(\d+ of \d+ bytes"),
        ("hdu", "8 HDUs instead of 9"),
        ("order", "AMP_ID = 1 instead of 0"),
    ],
)
def test_damaged_raw_frames(raw, how, message):
    with pytest.raises(InputError, match=message), open_raw(damage(raw, how), SHAPE):
        pass


def test_raw_frame_of_another_shape_or_without_keyword(raw):
    with pytest.raises(InputError, match=r"has shape \(96, 128\)"), open_raw(raw, (100, 128)):
        pass
    with (
        open_raw(damage(raw, "keyword"), SHAPE) as frame,
        pytest.raises(InputError, match="quadrant 2: header keyword GAIN is missing"),
    ):
        frame.number("GAIN", 2)
    with pytest.raises(InputError, match="no such file"), open_raw(raw.with_name(raw_name("o", 2))):
        pass


def test_rows_are_the_same_without_the_decoder(raw, monkeypatch):
    with open_raw(raw, SHAPE) as frame:
        direct, n_direct = frame.rows(3, 5, 60), len(frame.rice)
    monkeypatch.setattr(rice, "decompress_rice_1_c", None)
    with open_raw(raw, SHAPE) as frame:
        np.testing.assert_array_equal(frame.rows(3, 5, 60), direct)
        assert (n_direct, len(frame.rice)) == (8, 0)


@pytest.mark.parametrize(
    ("primary", "message"),
    [
        ({"IMGTYPE": "bias"}, "IMGTYPE = bias contradicts the name, which ends in _o"),
        ({"FILTER": "ZTF_g"}, "FILTER = ZTF_g contradicts the filter code zr of the name"),
        ({"OBSMJD": 58939.300001}, r"OBSMJD = 58939.* contradicts the time .* MJD 58940.000001"),
        ({"OBSJD": 2458941.0}, "OBSJD = 2458941.* contradicts the time of the name"),
        ({"DECD": -11.75}, r"DECD = -11.75 contradicts field 517 of the name, at 11.75 deg"),
        ({"DECD": 1e30}, r"RAD = .* and DECD = 1e\+30 are no position on the sky"),
        ({"RAD": -149.0}, r"RAD = -149 and DECD = 11.75 are no position on the sky"),
    ],
)
def test_headers_that_contradict_the_name(tmp_path, primary, message):
    name = raw_name("o", 1, field=517)
    path = write_raw(tmp_path, name, np.zeros((4, *SHAPE)), primary=primary)
    with pytest.raises(InputError, match=f"{name}: {message}"), open_raw(path, SHAPE):
        pass


def test_headers_that_name_the_same_in_other_words(tmp_path):
    primary = {"IMGTYPE": "Science ", "FILTER": "ZTF r", "OBSJD": 2458940.5}
    path = write_raw(tmp_path, raw_name("o", 1, field=517), np.zeros((4, *SHAPE)), primary=primary)
    with open_raw(path, SHAPE):
        pass
    # The light path of a bias has some filter in it, and its pointing says nothing.
    primary = {"FILTER": "ZTF_g", "DECD": -20.0}
    path = write_raw(tmp_path, raw_name("b", 1), np.zeros((4, *SHAPE)), primary=primary)
    with open_raw(path, SHAPE):
        pass


# Of the survey's list of fields.
@pytest.mark.parametrize(
    ("field", "dec_deg"),
    [
        *[(1, -89.05), (244, -31.45), (245, -24.25), (655, 33.35), (694, 40.55), (877, 83.75)],
        *[(879, 88.0), (1015, -79.02), (1644, 22.55), (1893, 80.15), (1895, 88.5)],
    ],
)
def test_declinations_of_fields(field, dec_deg):
    assert field_declination(field) == pytest.approx(dec_deg, abs=3)


@pytest.mark.parametrize("field", [0, 880, 1000, 1896, 9999])
def test_fields_outside_the_grids(field):
    assert np.isnan(field_declination(field))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"READNOI": 1e30}, r"READNOI = 1e\+30; expected .* of less than 600 ADU"),
        ({"READNOI": -10.0}, "READNOI = -10; expected a positive gain and read noise"),
        ({"GAIN": 0.0}, "GAIN = 0 and READNOI = 10; expected a positive gain"),
        ({"GAIN": "6.2"}, "header keyword GAIN is '6.2'; a finite number is needed"),
    ],
)
def test_gains_and_read_noises_of_no_ccd(raw, header, message):
    with fits.open(raw) as hdus:
        hdus[2].header.update(header)
        hdus.writeto(raw, overwrite=True)
    with (
        open_raw(raw, SHAPE) as frame,
        pytest.raises(InputError, match=f"quadrant 2: .*{message}"),
    ):
        prepare_quadrant(frame, 2, make_detector(DETECTOR))


def read_all(path):
    with open_raw(path, SHAPE) as frame:
        for qid in (1, 2, 3, 4):
            prepare_quadrant(frame, qid, make_detector(DETECTOR))
            frame.rows(qid, 0, SHAPE[0])


def change_card(path, card):
    """Overwrite the first card of a keyword, as a faulty disk may."""
    keyword = card.partition("=")[0].encode()
    content = path.read_bytes()
    places = range(0, len(content), 80)
    place = next(i for i in places if content[i : i + len(keyword)] == keyword)
    path.write_bytes(content[:place] + card.encode().ljust(80) + content[place + 80 :])


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("ZBITPIX =                   99", "BITPIX = 99; expected -32"),
        ("ZBITPIX =                   16", "BITPIX = 16; expected -32"),
        ("ZNAXIS1 =            100000000", "damaged|shape"),
        ("ZNAXIS2 =                    0", "damaged|shape"),
        ("NAXIS1  =            100000000", r"not a complete FITS file \(\d+ of \d+ bytes"),
        ("ZVAL1   =                    0", "compressed in blocks of 0 pixels"),
        ("ZVAL2   =                  -32", "compressed from pixels of -32 bytes"),
        ("PCOUNT  =                  nan", "damaged|not a complete|HDUs"),
        ("SIMPLE  =                    F", "damaged|not a FITS|HDUs"),
        ("GAIN    =                   \x01", "header keyword GAIN is 'not printable'"),
        ("GAIN    =                  nan", "header keyword GAIN is 'nan'"),
    ],
)
def test_cards_that_a_disk_fault_changed(raw, card, message):
    change_card(raw, card)
    with pytest.raises(InputError, match=message):
        read_all(raw)


def test_infinite_cards_are_not_taken_over(raw):
    change_card(raw, "DARKCUR =                1e400")
    with open_raw(raw, SHAPE) as frame:
        header = make_header(raw_cards(frame, 1), identity_cards(frame, 1))
    assert "DARKCUR" not in header
    assert header["EXPTIME"] == 30


@pytest.mark.parametrize("compress", [fits.CompImageHDU, fits.ImageHDU])
def test_whole_numbers_are_no_raw_pixels_of_ztf(raw, compress):
    with fits.open(raw) as hdus:
        hdus[3] = compress(hdus[3].data.astype(np.uint16), hdus[3].header[-5:])
        hdus.writeto(raw, overwrite=True)
    message = "HDU 3 has BITPIX = 16; expected -32, floats"
    with pytest.raises(InputError, match=message), open_raw(raw, SHAPE):
        pass


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
def test_other_layouts_are_read_as_well(raw, suffix):
    with open_raw(raw, SHAPE) as frame:
        expected = frame.rows(2, 3, 9)
    path = raw.with_name(raw.name.replace(".fits.fz", suffix))
    with fits.open(raw) as hdus:
        parts = [fits.ImageHDU(hdu.data, hdu.header) for hdu in hdus[1:]]
        fits.HDUList([hdus[0], *parts]).writeto(path)
    with open_raw(path, SHAPE) as frame:
        np.testing.assert_array_equal(frame.rows(2, 3, 9), expected)


@pytest.mark.parametrize("suffix", [".fits.fz", ".fits.gz"])
def test_compressed_frame_that_was_packed_once_more(raw, tmp_path, suffix):
    path = tmp_path / "packed" / raw.name.replace(".fits.fz", suffix)
    path.parent.mkdir()
    path.write_bytes(gzip.compress(raw.read_bytes()))
    with open_raw(raw, SHAPE) as frame, open_raw(path, SHAPE) as packed:
        np.testing.assert_array_equal(packed.rows(2, 3, 9), frame.rows(2, 3, 9))
        np.testing.assert_array_equal(packed.overscan(4), frame.overscan(4))


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_does_not_hang(tmp_path, kind):
    path = tmp_path / raw_name("o", 1, field=517)
    {"pipe": os.mkfifo, "device": lambda p: p.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](
        path
    )
    with pytest.raises(InputError, match="not a file"), open_raw(path, SHAPE):
        pass
