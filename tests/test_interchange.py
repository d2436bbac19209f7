"""The PSF for other programs: read by GalSim, compared with the PSF itself."""

from pathlib import Path

import galsim.des
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from export_psf import export_psf
from galsim_stars import ACCURATE, moffat
from ztfpsf.errors import InputError
from ztfpsf.interchange.oversampled import make_oversampled
from ztfpsf.interchange.psfex import PsfexModel, make_psfex, to_hdu
from ztfpsf.io import write_table
from ztfpsf.noise import Noise
from ztfpsf.psf import Psf
from ztfpsf.psf.models import get_model
from ztfpsf.psf.product.file import write_psfs
from ztfpsf.psf.product.sampling import draw_oversampled

IMAGES = ("ztf_20200924431759_000655_zr_c13_o_q3", "ztf_20200924431759_000655_zr_c13_o_q4")
NX, NY = 600, 400
SIZE = 25
NOISE = Noise(6.2, 3.0)
SETTINGS = {
    "psfex": {"degree": 4, "oversampling": 4, "size_px": SIZE},
    "oversampled": {"positions_per_axis": 2, "oversampling": 4, "size_px": SIZE},
}


@pytest.fixture(scope="module")
def psf() -> Psf:
    """FWHM from 1.8 to 2.6 px over the field, and an elongation that turns."""
    shape = np.zeros((4, 6))
    shape[0, :4] = np.log(2.1), 0.1, -0.06, 0.03
    shape[1, 0] = np.log(2.0)
    shape[2, :3] = 0.03, 0.05, 0.0
    shape[3, :3] = -0.02, 0.0, 0.06
    return Psf(IMAGES[0], get_model("moffat"), shape, np.eye(24) * 1e-6, 2, NX, NY, NOISE, 1e-3)


@pytest.fixture(scope="module")
def model(psf: Psf) -> PsfexModel:
    return make_psfex(psf, **SETTINGS["psfex"])


def read_stamp(reader: galsim.des.DES_PSFEx, x_px: float, y_px: float) -> np.ndarray:
    """What a user of GalSim draws, scaled from flux 1 within PSF_MASK to flux 1."""
    position = galsim.PositionD(x_px + 1, y_px + 1)
    drawn = reader.getPSF(position).drawImage(
        nx=SIZE,
        ny=SIZE,
        scale=1.0,
        offset=(x_px - np.floor(x_px + 0.5), y_px - np.floor(y_px + 0.5)),
        method="no_pixel",
        dtype=float,
    )
    return drawn.array * reader.getPSFArray(position).sum(dtype=float) * reader.sample_scale**2


def test_samples_are_pixels_of_shifted_stars(psf: Psf) -> None:
    drawn = draw_oversampled(psf, [200.0, 200.5], [300.0, 299.75], 4, 6)
    assert drawn.shape == (2, 49, 49)
    for image, x, y in zip(drawn, (200.0, 200.5), (300.0, 299.75), strict=True):
        stamp = psf.stamp(x, y, 11)
        dx, dy = (round(4 * (value - np.floor(value + 0.5))) for value in (x, y))
        pixels = image[4 - dy : 45 - dy : 4, 4 - dx : 45 - dx : 4]
        np.testing.assert_allclose(pixels, stamp, atol=1e-5)


def test_samples_agree_with_galsim() -> None:
    shape = np.array([[np.log(2.0)], [np.log(2.0)], [0.0], [0.0]])
    psf = Psf(IMAGES[0], get_model("moffat"), shape, np.eye(4), 0, NX, NY, NOISE, 1e-3)
    true = galsim.Convolve(moffat(2.0, 3.0), galsim.Pixel(1.0, gsparams=ACCURATE))
    expected = true.drawImage(nx=41, ny=41, scale=0.2, method="no_pixel", dtype=float).array * 25
    np.testing.assert_allclose(draw_oversampled(psf, [9.0], [9.0], 5, 4)[0], expected, atol=1e-5)


def test_galsim_reads_the_psfex_file(psf: Psf, model: PsfexModel) -> None:
    reader = galsim.des.DES_PSFEx(to_hdu(model))
    for x, y in ((300.0, 200.0), (20.25, 30.5), (580.5, 380.75), (15.0, 390.25)):
        expected = psf.stamp(x, y, SIZE)
        # At the samples; the light beyond PSF_MASK is missing from the last row and column.
        inside = np.s_[1:-1, 1:-1]
        error = np.abs(read_stamp(reader, x, y) - expected)[inside].max()
        assert error < 1e-3 * expected.max()


def test_errors_are_told(psf: Psf, model: PsfexModel) -> None:
    assert model.worst_residual < 1e-3
    assert make_psfex(psf, 1, 2, 11).worst_residual > 10 * model.worst_residual
    # Between samples GalSim's kernel of three lobes is good to some tenths of a per cent.
    reader = galsim.des.DES_PSFEx(to_hdu(model))
    x, y = 420.6, 111.1
    expected = psf.stamp(x, y, SIZE)
    error = np.abs(read_stamp(reader, x, y) - expected).max() / expected.max()
    assert 1e-4 < error < 2 * model.worst_drawn
    assert model.worst_drawn < 6e-3


def test_header_is_what_sextractor_reads(psf: Psf, model: PsfexModel) -> None:
    hdu = to_hdu(model)
    header = hdu.header
    assert hdu.name == "PSF_DATA"
    assert (header["POLNAXIS"], header["POLNGRP"], header["POLDEG1"]) == (2, 1, 4)
    assert (header["POLNAME1"], header["POLNAME2"]) == ("X_IMAGE", "Y_IMAGE")
    assert (header["POLGRP1"], header["POLGRP2"]) == (1, 1)
    assert (header["POLZERO1"], header["POLZERO2"]) == ((NX + 1) / 2, (NY + 1) / 2)
    assert header["PSF_SAMP"] == 0.25
    assert [header[f"PSFAXIS{axis}"] for axis in (1, 2, 3)] == [97, 97, 15]
    assert header["PSFNAXIS"] == 3
    assert hdu.data["PSF_MASK"].shape == (1, 15, 97, 97)
    # FLUX_PSF: 1 over the plane, of which the samples hold a part.
    middle = psf.stamp((NX - 1) / 2, (NY - 1) / 2, 51).sum()
    centre = hdu.data["PSF_MASK"][0, 0].sum(dtype=float) * 0.25**2
    assert centre == pytest.approx(header["PSFLIGHT"], abs=1e-4)
    assert header["PSFLIGHT"] < middle
    # A Moffat of 2.1 px behind the pixel.
    assert 2.1 < header["PSF_FWHM"] < 2.4


def test_oversampled_images(psf: Psf) -> None:
    made = make_oversampled(psf, 2, 3, 11)
    assert list(made.x_px) == [149.5, 449.5, 149.5, 449.5]
    assert list(made.y_px) == [99.5, 99.5, 299.5, 299.5]
    expected = draw_oversampled(psf, [449.5], [99.5], 3, 5)[0]
    np.testing.assert_allclose(made.data[1], expected, rtol=1e-12)


@pytest.mark.parametrize("size_px", [1, 10])
def test_even_sizes_are_refused(psf: Psf, size_px: int) -> None:
    with pytest.raises(InputError, match="odd number"):
        make_psfex(psf, 1, 2, size_px)
    with pytest.raises(InputError, match="odd number"):
        make_oversampled(psf, 1, 2, size_px)


# --- rule ---


def run(folder: Path, psfs: list[Psf], images: pd.DataFrame, max_failed_fraction: float) -> None:
    provenance = {"version": "test", "inputs": [], "settings": {}}
    write_psfs(psfs, "moffat", folder / "psf.fits", provenance)
    write_table(images, folder / "images.parquet", provenance)
    export_psf(
        path_to_psf=str(folder / "psf.fits"),
        path_to_images=str(folder / "images.parquet"),
        path_to_psfex=str(folder / "x.psf"),
        path_to_oversampled=str(folder / "oversampled.fits"),
        max_failed_fraction=max_failed_fraction,
        **SETTINGS,
    )


def test_a_failed_image_is_left_out(psf: Psf, tmp_path: Path) -> None:
    rows = {"image": IMAGES, "status": ["only 2 stars", "ok"], "n_fitted": [np.nan, 100]}
    run(tmp_path, [psf._replace(image=IMAGES[1])], pd.DataFrame(rows), 0.5)
    with fits.open(tmp_path / "x.psf") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "PSF_DATA"]
        assert hdus[1].header["IMAGE"] == IMAGES[1]
        assert hdus[0].header["ORIGIN"] == "ztfpsf"
    reader = galsim.des.DES_PSFEx(str(tmp_path / "x.psf"))
    assert reader.fit_order == 4
    with fits.open(tmp_path / "oversampled.fits") as hdus:
        cube, positions = hdus["PSF", 1], hdus["POSITIONS", 1].data
        assert cube.data.shape == (4, 97, 97)
        np.testing.assert_allclose(cube.data.sum(axis=(1, 2)) / 16, positions["light"], rtol=1e-5)
        x, y = WCS(cube.header, naxis=2).all_pix2world([48, 52], [48, 44], 0)
        np.testing.assert_allclose((x, y), ([0, 1], [0, -1]), atol=1e-12)
        assert cube.header["OVERSAMP"] == 4


def test_no_psf_at_all_is_one_sentence(tmp_path: Path) -> None:
    rows = pd.DataFrame({"image": IMAGES[:1], "status": ["only 2 stars are left"]})
    with pytest.raises(InputError, match="only 2 stars"):
        run(tmp_path, [], rows, 0.0)
