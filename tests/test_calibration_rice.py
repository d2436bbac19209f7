"""The direct decoder gives what astropy gives, and leaves other layouts alone."""

import numpy as np
import pytest
from astropy.io import fits
from ztfpsf.calibration.rice import open_rice


def open_images(path, **options):
    """Image by astropy and, if the layout allows, by the direct decoder."""
    rng = np.random.default_rng(1)
    pixels = rng.normal(1000, 5, (40, 64)).astype(np.float32)
    pixels[3, 5], pixels[7, 8] = 60000, 0
    if options.pop("with_nan", None):
        pixels[2, 2] = np.nan
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, **options)]).writeto(path)
    with open(path, "rb") as file, fits.open(path, disable_image_compression=True) as tables:
        image = open_rice(tables[1], file.fileno())
        direct = None if image is None else np.concatenate([image.rows(0, 7), image.rows(7, 40)])
    return fits.getdata(path, 1), direct


@pytest.mark.parametrize("dither", [-1, 1, 2])
@pytest.mark.parametrize("options", [{}, {"with_nan": True}], ids=["finite", "nan"])
def test_same_as_astropy(tmp_path, dither, options):
    expected, direct = open_images(
        tmp_path / "a.fits.fz",
        compression_type="RICE_1",
        quantize_method=dither,
        dither_seed=17,
        quantize_level=-0.05,
        **options,
    )
    np.testing.assert_array_equal(direct, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"compression_type": "GZIP_1"},
        {"compression_type": "RICE_1", "tile_shape": (8, 64)},
        {"compression_type": "RICE_1", "quantize_level": 1e9},  # stored without quantising
    ],
)
def test_other_layouts_are_left_to_astropy(tmp_path, options):
    _, direct = open_images(tmp_path / "a.fits.fz", **options)
    assert direct is None
