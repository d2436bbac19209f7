"""The guarded way to open a FITS file: right values, or one sentence."""

import gzip
import lzma
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from ztfpsf.cards import get_number, get_text, get_value, require_keyword
from ztfpsf.errors import InputError
from ztfpsf.fits_files import open_fits, read_image
from ztfpsf.io import make_provenance, write_fits

PIXELS = np.arange(60 * 50, dtype=np.float32).reshape(60, 50)


def change_card(path: Path, keyword: str, text: str) -> None:
    """Put other text into a card of a file, as no FITS library would."""
    content = path.read_bytes()
    start = content.index(f"{keyword:8}=".encode())
    card = f"{keyword:8}= {text}".ljust(80).encode()
    path.write_bytes(content[:start] + card + content[start + 80 :])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    header = fits.Header({"GAIN": 6.0, "SEEING": 2.1, "FILTER": "zr"})
    fits.writeto(tmp_path / "image.fits", PIXELS, header)
    return tmp_path / "image.fits"


def refuse(path: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("name", ["image.fit", "IMAGE.FITS", "a_sciimg.fits?center=1,2", "image"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_any_name_will_do(image: Path, name: str, pack: type) -> None:
    path = image.with_name(name)
    path.write_bytes(pack(image.read_bytes()))
    pixels, header = read_image(path)
    np.testing.assert_array_equal(pixels, PIXELS)
    assert pixels.dtype.isnative
    assert header["GAIN"] == 6.0


@pytest.mark.parametrize("text", ["nan", "3:51:59", "1,5", "inf", "--", "6.0.0"])
def test_cards_that_cannot_be_parsed_are_text(image: Path, text: str) -> None:
    for keyword in ("GAIN", "SEEING"):
        change_card(image, keyword, text)
    pixels, header = read_image(image)
    np.testing.assert_array_equal(pixels, PIXELS)
    assert np.isnan(get_number(header, "SEEING"))
    with pytest.raises(InputError, match=f"header keyword GAIN is '{text}'; a finite number"):
        require_keyword(header, "GAIN", image)
    with open_fits(image) as hdus:  # and where nothing was repaired
        assert np.isnan(get_number(hdus[0].header, "SEEING"))
        assert get_text(hdus[0].header, "GAIN") == text


@pytest.mark.parametrize("text", ["6.0\0\0", "'zr\0'", "\0\0 / gain"])
def test_cards_with_bytes_that_are_no_letters(image: Path, text: str) -> None:
    change_card(image, "GAIN", text)
    with pytest.raises(InputError, match="header keyword GAIN is 'not printable'; a finite"):
        require_keyword(read_image(image)[1], "GAIN", image)


def test_values_of_cards() -> None:
    header = fits.Header({"A": 1, "B": True, "C": "x", "D": None, "E": float(2)})
    assert [get_number(header, key) for key in "AE"] == [1.0, 2.0]
    assert np.isnan([get_number(header, key) for key in "BCDX"]).all()
    assert [get_text(header, key) for key in "CDX"] == ["x", "", ""]
    assert get_value(header, "D") is None
    with pytest.raises(InputError, match="header keyword D is missing"):
        require_keyword(header, "D", "a.fits")


@pytest.mark.parametrize("kind", [fits.ImageHDU, fits.CompImageHDU])
@pytest.mark.parametrize(("dtype", "blank"), [("u2", 7 - 32768), ("i2", 7)])
def test_blank_pixels_are_nan(tmp_path: Path, kind: type, dtype: str, blank: int) -> None:
    hdu = kind(np.arange(3000, dtype=dtype).reshape(50, 60))
    hdu.header["BLANK"] = blank
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "image.fits")
    pixels, _ = read_image(tmp_path / "image.fits")
    assert np.argwhere(np.isnan(pixels)).tolist() == [[0, 7]]
    assert pixels[0, :7].tolist() == list(range(7))
    assert pixels.dtype == np.float32


@pytest.mark.parametrize("keyword", ["BITPIX", "NAXIS", "NAXIS1", "NAXIS2"])
@pytest.mark.parametrize("text", ["100000000", "-5", "nan", "'abc'", "", "99999999999999999999"])
def test_absurd_structure(image: Path, keyword: str, text: str) -> None:
    change_card(image, keyword, text)
    assert "; " in refuse(image)


@pytest.mark.parametrize("text", ["100000000", "-5", "nan"])
@pytest.mark.parametrize("keyword", ["ZNAXIS1", "ZNAXIS2", "ZBITPIX", "NAXIS2", "PCOUNT"])
def test_absurd_structure_of_a_compressed_image(tmp_path: Path, keyword: str, text: str) -> None:
    path = tmp_path / "image.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(PIXELS.astype("i2"))]).writeto(path)
    change_card(path, keyword, text)
    refuse(path)


def test_damaged_tile(tmp_path: Path) -> None:
    path = tmp_path / "image.fits.fz"
    noise = np.random.default_rng(1).normal(0, 1000, PIXELS.shape).astype("i2")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(noise)]).writeto(path)
    with fits.open(path, disable_image_compression=True) as hdus:
        start = hdus[1].fileinfo()["datLoc"]
    content = bytearray(path.read_bytes())
    content[start : start + 8] = b"\xff" * 8  # where the first tile begins and ends
    path.write_bytes(content)
    assert "damaged (" in refuse(path)


def test_every_byte_of_a_gzip_file_counts(image: Path) -> None:
    """Reading of the pixels alone ends before the checksum of the file."""
    path = image.with_name("image.fits.gz")
    packed = bytearray(gzip.compress(image.read_bytes(), 0))
    for bit in np.random.default_rng(2).integers(8 * 20, 8 * (len(packed) - 8), 40):
        content = packed.copy()
        content[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(content)
        assert "fetch it again" in refuse(path)


def test_data_of_our_own_files_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "image.fits"
    write_fits(fits.HDUList([fits.PrimaryHDU(PIXELS)]), path, make_provenance([], {}))
    assert read_image(path)[1]["FORMAT"]
    content = bytearray(path.read_bytes())
    content[-2000] ^= 1
    path.write_bytes(content)
    assert "was changed after it was written (DATASUM of HDU PRIMARY" in refuse(path)


def test_header_of_our_own_image_may_be_corrected(tmp_path: Path) -> None:
    path = tmp_path / "image.fits"
    hdus = fits.HDUList([fits.PrimaryHDU(PIXELS, fits.Header({"GAIN": 6.0}))])
    write_fits(hdus, path, make_provenance([], {}))
    change_card(path, "GAIN", "6.2")
    assert read_image(path)[1]["GAIN"] == 6.2


def test_truncated(image: Path) -> None:
    whole = image.read_bytes()
    image.write_bytes(whole[:9000])
    assert "(9000 of 14880 bytes are there); fetch it again" in refuse(image)
    packed = gzip.compress(whole)
    image.write_bytes(packed[: len(packed) // 2])
    assert "damaged (" in refuse(image)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "a pipe or a device, not a file" in refuse(tmp_path / "pipe")
    assert "a pipe or a device, not a file" in refuse("/dev/zero")
    assert "a folder, not a file" in refuse(tmp_path)
    assert "no such file" in refuse(tmp_path / "none")
    assert "no such file" in refuse("a\0b")
    for url in ("http://localhost:1/a.fits", "file:///a.fits", "s3://bucket/a.fits"):
        assert "an address, not a file; fetch the file first" in refuse(url)
