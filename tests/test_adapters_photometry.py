"""The function behind measure_photometry, from files to files."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from fit_products import IMAGES, SKY_ADU, make_psf
from measure_photometry import measure_photometry
from photometry_scenes import make_image, make_quadrant, spread
from quadrants import BAD_BITS, SETTINGS
from select_stars import select_stars
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, read_provenance, write_table
from ztfpsf.psf.product.file import write_psfs

STATUS = "ztf_x: only 2 stars are left to fit, 3 are needed: loosen the selection."
OPTIONS = {"size_px": 15, "position_min_snr": 20.0}


class Unit:
    """Two images of the same stars, and a fit that knows the PSF of some."""

    def __init__(self, directory: Path, fitted: tuple[str, ...] = IMAGES):
        self.directory = directory
        x, y = spread(60, 40, seed=5)
        self.truth = pd.DataFrame({"x": x, "y": y, "flux": 10 ** np.linspace(2.9, 4.6, 60)})
        noiseless = make_image(x, y, self.truth["flux"])
        self.sciimg = [str(directory / f"{image}_sciimg.fits") for image in IMAGES]
        for seed, path in enumerate(self.sciimg):
            quadrant = make_quadrant(noiseless, seed)
            fits.writeto(path, quadrant.data, quadrant.header)
        self.stars = str(directory / "stars.parquet")
        select_stars(
            images=IMAGES,
            paths_to_sciimg=self.sciimg,
            paths_to_mskimg=["", ""],
            paths_to_catalogue=["", ""],
            path_to_stars=self.stars,
            path_to_counts=str(directory / "counts.json"),
            catalogue={"kind": "detection", "path": None},
            settings=SETTINGS,
            size_px=15,
            max_failed_fraction=0.0,
        )
        provenance = make_provenance([], {})
        self.psf, self.fits = (str(directory / name) for name in ("psf.fits", "fits.parquet"))
        write_psfs([make_psf(image) for image in fitted], "moffat", self.psf, provenance)
        status = ["ok" if image in fitted else STATUS for image in IMAGES]
        write_table(pd.DataFrame({"image": IMAGES, "status": status}), self.fits, provenance)
        self.photometry, self.images, self.residual = (
            directory / name for name in ("out.parquet", "images.parquet", "residual.png")
        )

    def measure(
        self,
        images: tuple[str, ...] = IMAGES,
        max_failed_fraction: float = 0.0,
        varimg: str = "",
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        n = len(images)
        measure_photometry(
            images=images,
            paths_to_sciimg=self.sciimg[-n:],
            paths_to_mskimg=[""] * n,
            paths_to_varimg=[varimg] * n,
            path_to_stars=self.stars,
            path_to_fits=self.fits,
            path_to_psf=self.psf,
            path_to_photometry=str(self.photometry),
            path_to_images=str(self.images),
            path_to_residual=str(self.residual),
            unit="ztf_20200924431759_000655_zr_c13_o",
            settings=OPTIONS,
            bad_mask_bits=BAD_BITS,
            saturation_fraction=0.8,
            subtracted_sky=None,
            device="cpu",
            threads=2,
            max_failed_fraction=max_failed_fraction,
        )
        return pd.read_parquet(self.photometry), pd.read_parquet(self.images)


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Unit:
    return Unit(tmp_path_factory.mktemp("both"))


def test_every_star_of_the_catalogue_is_a_row(unit: Unit, caplog) -> None:
    with caplog.at_level(logging.INFO, "ztfpsf"):
        table, images = unit.measure()
    catalogue = pd.read_parquet(unit.stars)
    for name in ("image", "star_id", "ra_deg", "dec_deg", "mag"):
        assert table[name].tolist() == catalogue[name].tolist()
    assert (catalogue["reason"] != "").any()
    assert images["image"].tolist() == list(IMAGES)
    assert images["status"].tolist() == ["ok", "ok"]
    assert images["n_stars"].sum() == len(table)
    assert (images["zero_point_mag"] == 26.3).all()
    assert images["shift_x_px"].abs().max() < 0.05
    assert f"2/2 {IMAGES[1]}: " in caplog.text
    provenance = read_provenance(unit.photometry)
    assert provenance["settings"]["position_min_snr"] == 20.0
    assert provenance["settings"]["flags"]["BLENDED"] == 64
    assert unit.psf in provenance["inputs"]
    assert unit.residual.read_bytes()[:4] == b"\x89PNG"


def test_fluxes_of_detected_stars(unit: Unit) -> None:
    table, _ = unit.measure()
    for _, rows in table.groupby("image"):
        distance = np.hypot(
            rows["x_px"].to_numpy()[:, None] - unit.truth["x"].to_numpy(),
            rows["y_px"].to_numpy()[:, None] - unit.truth["y"].to_numpy(),
        )
        nearest = distance.argmin(axis=0)
        assert distance.min(axis=0).max() < 0.25
        found = rows.iloc[nearest]
        pull = (found["flux_adu"].to_numpy() - unit.truth["flux"]) / found[
            "flux_error_adu"
        ].to_numpy()
        assert np.abs(pull).max() < 4.5
        assert pull.std() == pytest.approx(1, abs=0.25)
        np.testing.assert_allclose(found["background_adu"], SKY_ADU, atol=3)


def test_image_without_a_psf_fails_alone(tmp_path: Path) -> None:
    unit = Unit(tmp_path, fitted=IMAGES[:1])
    table, images = unit.measure(max_failed_fraction=0.5)
    assert images["status"].tolist() == ["ok", STATUS]
    assert table["image"].unique().tolist() == [IMAGES[0]]
    with pytest.raises(InputError, match="1 of 2 images failed"):
        unit.measure()
    with pytest.raises(InputError, match="only 2 stars are left to fit"):
        unit.measure(images=IMAGES[1:])
    table, images = unit.measure(images=IMAGES[1:], max_failed_fraction=1.0)
    assert len(table) == 0
    assert images["status"].tolist() == [STATUS]
    assert unit.residual.read_bytes()[:4] == b"\x89PNG"


def test_damaged_psf_file_is_named(tmp_path: Path) -> None:
    unit = Unit(tmp_path, fitted=IMAGES)
    Path(unit.psf).write_bytes(b"no FITS file")
    _, images = unit.measure(max_failed_fraction=1.0)
    for status in images["status"]:
        assert status.startswith(f"{unit.psf}: ")
        assert "with the rule fit_psf" in status


def test_broken_image(unit: Unit, tmp_path: Path) -> None:
    before = unit.sciimg[1]
    unit.sciimg[1] = str(tmp_path / "lost.fits")
    try:
        with pytest.raises(InputError, match=r"lost\.fits: no such file"):
            unit.measure(images=IMAGES[1:])
    finally:
        unit.sciimg[1] = before


def test_variance_plane(unit: Unit, tmp_path: Path) -> None:
    plain, _ = unit.measure(images=IMAGES[1:])
    path = str(tmp_path / "varimg.fits")
    fits.writeto(path, np.full(fits.getdata(unit.sciimg[1]).shape, 100.0, np.float32))
    noisy, _ = unit.measure(images=IMAGES[1:], varimg=path)
    faint = plain["flux_adu"] < 1000
    assert faint.any()
    assert (noisy["flux_error_adu"][faint] > 1.5 * plain["flux_error_adu"][faint]).all()
