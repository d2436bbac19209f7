"""Reading a quadrant, its mask and its sky; every bad input is one sentence."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from quadrants import BAD_BITS, SKY_ADU, add_noise, make_header, make_scene, write_scene
from ztfpsf.cards import get_number
from ztfpsf.errors import InputError
from ztfpsf.stars.images import measure_sky, read_science_image, read_variance_plane


@pytest.fixture
def scene():
    return make_scene(seed=10)


def read(paths, bits=BAD_BITS, fraction=0.8):
    return read_science_image(*paths, bits, fraction)


def test_quadrant_holds_what_the_files_say(scene, tmp_path):
    scene.data[10, 20] = np.nan
    scene.data[11, 21] = 50_000  # above 0.8 * 58000
    scene.mask[12, 22] = 1 << 9
    scene.mask[13, 23] = 1 << 8
    scene.mask[14, 24] = (1 << 1) | (1 << 11)  # a source: not bad
    quadrant = read(write_scene(scene, tmp_path))
    assert quadrant.data.shape == scene.data.shape
    assert quadrant.data.dtype == np.float32
    assert list(zip(*np.nonzero(quadrant.bad), strict=True)) == [(10, 20), (12, 22)]
    assert list(zip(*np.nonzero(quadrant.saturated), strict=True)) == [(11, 21), (13, 23)]
    assert (quadrant.gain, quadrant.read_noise_electron, quadrant.saturation_adu) == (6, 9, 58000)


def test_bits_are_of_the_configuration(scene, tmp_path):
    scene.mask[12, 22] = 1 << 12
    scene.mask[13, 23] = 1 << 8
    paths = write_scene(scene, tmp_path)
    assert read(paths).bad.sum() == 1
    quadrant = read(paths, bits=[0])
    assert not quadrant.bad.any()
    assert not quadrant.saturated.any()


def test_highest_bit_and_no_mask(scene, tmp_path):
    scene.mask[12, 22] = -(1 << 15)
    path, mask = write_scene(scene, tmp_path)
    assert read((path, mask), bits=[15]).bad.sum() == 1
    assert not read((path, "")).bad.any()


def test_integer_image(scene, tmp_path):
    path, mask = write_scene(scene._replace(data=scene.data.astype(np.int16)), tmp_path)
    assert read((path, mask)).data.dtype == np.float32


def test_sky_that_was_subtracted_is_put_back(scene, tmp_path):
    whole = read(write_scene(scene, tmp_path))
    lacking = scene._replace(data=scene.data - np.float32(SKY_ADU))
    paths = write_scene(lacking, tmp_path)
    fits.setval(paths[0], "BCKGND", value=SKY_ADU)
    fits.setval(paths[0], "NONSENSE", value=-5.0)
    for known in (SKY_ADU, "BCKGND"):
        found = read_science_image(*paths, BAD_BITS, 0.8, known)
        np.testing.assert_allclose(found.data, whole.data, atol=0.01)
    with pytest.raises(InputError, match=r"says that -5\.0 ADU of sky were subtracted"):
        read_science_image(*paths, BAD_BITS, 0.8, "NONSENSE")
    with pytest.raises(InputError, match="SKYLEVEL"):
        read_science_image(*paths, BAD_BITS, 0.8, "SKYLEVEL")


def test_sky_is_that_drawn(scene, tmp_path):
    sky = measure_sky(read(write_scene(scene, tmp_path)))
    assert sky.level_adu == pytest.approx(SKY_ADU, abs=0.5)
    # 6 electron/ADU, 9 electron: sqrt(157 / 6 + 1.5^2)
    assert sky.rms_adu == pytest.approx(5.33, rel=0.05)
    assert sky.subtracted.dtype == np.float32


def test_nan_pixels_are_zero_in_the_subtracted_image(scene, tmp_path):
    scene.data[100:105] = np.nan
    sky = measure_sky(read(write_scene(scene, tmp_path)))
    assert (sky.subtracted[100:105] == 0).all()
    assert sky.level_adu == pytest.approx(SKY_ADU, abs=0.5)


@pytest.mark.parametrize("shape", [(64, 50), (594, 594), (30, 700)])
def test_small_and_narrow_images(tmp_path, shape):
    path = tmp_path / "image.fits"
    fits.writeto(path, add_noise(np.full(shape, SKY_ADU), 1), make_header(shape))
    assert measure_sky(read((str(path), ""))).level_adu == pytest.approx(SKY_ADU, abs=1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("GAIN", "READNOI", "SATURATE") for value in (None, "high")),
        ("GAIN", 0.0),
        ("GAIN", -6.0),
        ("READNOI", -9.0),
        ("SATURATE", 0.0),
        ("SATURATE", -1.0),
        ("READNOI", 1e30),
        ("GAIN", 1e30),
    ],
)
def test_bad_keyword(scene, tmp_path, key, value):
    if value is None:
        del scene.header[key]
    else:
        scene.header[key] = value
    path, mask = write_scene(scene, tmp_path)
    with pytest.raises(InputError, match=key) as info:
        read((path, mask))
    assert str(info.value).startswith(f"{path}: ")


def test_no_read_noise(scene, tmp_path):
    scene.header["READNOI"] = 0
    assert read(write_scene(scene, tmp_path)).read_noise_electron == 0


def test_truncated_and_missing_files(scene, tmp_path):
    path, mask = write_scene(scene, tmp_path)
    for broken in (path, mask):
        whole = Path(broken).read_bytes()
        Path(broken).write_bytes(whole[: len(whole) // 2])
        size = rf"{len(whole) // 2} of {len(whole)} bytes are there"
        with pytest.raises(InputError, match=rf"{broken}: not a complete FITS file \({size}\)"):
            read((path, mask))
        Path(broken).write_bytes(whole)
    with pytest.raises(InputError, match="no such file"):
        read((path + "x", mask))
    with pytest.raises(InputError, match="no such file"):
        read((path, mask + "x"))


@pytest.mark.parametrize("content", [b"", b"<html>" * 999, b"SIMPLE  =                    T"])
def test_not_a_fits_file(tmp_path, content):
    path = tmp_path / "image.fits"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"(not a FITS file|damaged).*; fetch it") as info:
        read((str(path), ""))
    assert "ignore_missing" not in str(info.value)


def test_directory_is_no_image(tmp_path):
    with pytest.raises(InputError, match="a folder, not a file; give a file"):
        read((str(tmp_path), ""))


def test_mask_of_another_shape_or_type(scene, tmp_path):
    path, mask = write_scene(scene._replace(mask=scene.mask[:-1]), tmp_path)
    with pytest.raises(InputError, match="the mask has 440 x 359 pixels, its image 440 x 360"):
        read((path, mask))
    path, mask = write_scene(scene._replace(mask=scene.mask.astype(np.float32)), tmp_path)
    with pytest.raises(InputError, match="expected integer bit masks"):
        read((path, mask))


def test_images_without_information(scene, tmp_path):
    def measure(data, mask=scene.mask):
        return measure_sky(read(write_scene(scene._replace(data=data, mask=mask), tmp_path)))

    with pytest.raises(InputError, match="all pixels are NaN"):
        measure(np.full_like(scene.data, np.nan))
    with pytest.raises(InputError, match=r"constant image \(half of the pixels or more are 157\)"):
        measure(np.full_like(scene.data, 157))
    with pytest.raises(InputError, match="all pixels are saturated or masked"):
        measure(np.full_like(scene.data, 60_000))
    with pytest.raises(InputError, match="all pixels are saturated or masked"):
        measure(scene.data, np.full_like(scene.mask, 512))
    mostly = np.full_like(scene.data, 157)
    mostly[:, 300:] = scene.data[:, 300:]
    with pytest.raises(InputError, match="constant image"):
        measure(mostly)


def test_unparsable_header_values(scene, tmp_path):
    """SEEING = nan, which no FITS reader can parse, does not matter; GAIN = nan does."""
    path, mask = write_scene(scene, tmp_path)
    content = Path(path).read_bytes()
    for key in (b"SEEING", b"OBSMJD", b"GAIN"):
        start = content.index(key.ljust(8) + b"=")
        content = content[:start] + key.ljust(8) + b"= nan".ljust(72) + content[start + 80 :]
        Path(path).write_bytes(content)
        if key != b"GAIN":
            assert np.isnan(get_number(read((path, mask)).header, key.decode()))
    with pytest.raises(InputError, match="header keyword GAIN is 'nan'"):
        read((path, mask))


def test_blank_pixels_of_unsigned_integers(scene, tmp_path):
    counts = scene.data.astype(np.uint16)
    counts[10:13, 20] = 7
    path, mask = write_scene(scene._replace(data=counts), tmp_path)
    with fits.open(path, mode="update", uint=True) as hdus:
        hdus[0].header["BLANK"] = 7 - 32768
    image = read((path, mask))
    assert np.argwhere(image.bad).tolist() == [[10, 20], [11, 20], [12, 20]]
    np.testing.assert_array_equal(image.data[~image.bad], counts[~image.bad])


def test_sky_between_masked_pixels(scene, tmp_path):
    """No cell of the background has half of its pixels: the level is that of those left."""
    noise = np.random.default_rng(6)
    masked = noise.random(scene.data.shape) < 0.6
    scene.mask[masked] = 1
    image = read(write_scene(scene, tmp_path))
    sky = measure_sky(image)
    assert sky.level_adu == pytest.approx(SKY_ADU, abs=0.5)
    assert sky.rms_adu == pytest.approx(5.33, rel=0.05)
    np.testing.assert_allclose(sky.subtracted, image.data - sky.level_adu, atol=1e-3)
    scene.mask[:] = 1
    scene.mask[100, :49] = 0
    with pytest.raises(InputError, match="49 pixels are neither saturated nor masked"):
        measure_sky(read(write_scene(scene, tmp_path)))


def test_garbled_pixels(scene, tmp_path):
    """A transfer in text mode; sep's C code would end in a segmentation fault."""
    content = bytearray(scene.data.astype(">f4").tobytes().replace(b"C", b"\xc2C"))
    garbled = np.frombuffer(content[: 4 * scene.data.size], ">f4").reshape(scene.data.shape)
    with pytest.raises(InputError, match="ADU, which no camera gives: bytes were mixed up"):
        read(write_scene(scene._replace(data=garbled), tmp_path))


@pytest.mark.parametrize("value", [1e30, -1e30, np.inf, 3e38])
def test_one_value_for_pixels_without_any(scene, tmp_path, value):
    scene.data[10:20, 30] = value
    image = read(write_scene(scene, tmp_path))
    assert image.bad.sum() == np.isnan(image.data).sum() == 10
    assert measure_sky(image).level_adu == pytest.approx(SKY_ADU, abs=0.5)


def read_plane(scene, tmp_path, plane):
    image = read(write_scene(scene, tmp_path))
    path = tmp_path / "varimg.fits"
    fits.writeto(path, plane.astype(np.float32), overwrite=True)
    return read_variance_plane(str(path), image, measure_sky(image))


def test_variance_plane(scene, tmp_path):
    plane = np.full(scene.data.shape, 28.4)
    plane[5, :4] = [0, -3, np.nan, 1e30]
    found = read_plane(scene, tmp_path, plane)
    assert found.dtype == np.float32
    assert np.argwhere(np.isnan(found)).tolist() == [[5, 0], [5, 1], [5, 2], [5, 3]]
    assert found[0, 0] == np.float32(28.4)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "of 158400 usable pixels have no positive finite variance"),
        (-28.0, "have no positive finite variance"),
        (np.nan, "have no positive finite variance"),
        (1e30, "have no positive finite variance"),
        (1e12, "its median is 1e+12 where the sky has a variance of 27"),
        (5.3, "it looks like the standard deviation; give the variance in ADU^2"),
        (1 / 28.4, "it looks like the inverse variance; give the variance in ADU^2"),
    ],
)
def test_what_is_no_variance(scene, tmp_path, value, words):
    with pytest.raises(InputError) as caught:
        read_plane(scene, tmp_path, np.full(scene.data.shape, value))
    assert words in str(caught.value)
