"""Rule validate_psf: its files, for images that were fitted and for images that failed."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import yaml
from fit_products import FWHM_PX, IMAGES, N_RESERVED, Products, make_products
from validate_psf import validate_psf
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, read_provenance, write_table
from ztfpsf.stamps import concatenate, describe_failure, write_stamps

ROOT = Path(__file__).parents[1]
SETTINGS = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["validate_psf"]
FAILED = "ztf_20200924431759_000655_zr_c13_o_q1"
SENTENCE = "a.fits: no star kept of 3; needs 10: loosen select_stars."
NAMES = ("images", "stars", "rho", "picture", "report")


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Products:
    return make_products(tmp_path_factory.mktemp("one"), n=60)


def run(products: Products, folder: Path, suffix: str = "png", **changes) -> dict[str, Path]:
    suffixes = (*[".parquet"] * 3, f".{suffix}", ".txt")
    paths = {name: folder / f"{name}{end}" for name, end in zip(NAMES, suffixes, strict=True)}
    validate_psf(
        path_to_stamps=str(products.stamps),
        path_to_fitted_stars=str(products.stars),
        path_to_fitted_images=str(products.images),
        path_to_psf=str(products.psf),
        **{f"path_to_{name}": str(path) for name, path in paths.items()},
        unit="ztf_20200924431759_000655_zr_c13_o",
        model="moffat",
        optimiser="gauss_newton",
        settings=SETTINGS | changes,
    )
    return paths


def add_failed_image(products: Products, folder: Path) -> Products:
    """The products, with one more image whose stars were too few."""
    paths = {name: folder / f"fit_{name}" for name in ("stamps", "images")}
    cubes = products.cubes
    failed = [cubes.images, describe_failure(FAILED, SENTENCE)]
    stamps = concatenate(failed, [cubes], cubes.data.shape[-1])
    write_stamps(stamps, paths["stamps"], make_provenance([], {}))
    fits = pd.concat(
        [pd.read_parquet(products.images), pd.DataFrame([{"image": FAILED, "status": SENTENCE}])]
    )
    write_table(fits, paths["images"], make_provenance([], {}))
    return products._replace(**paths)


def test_fit_without_an_error(products: Products, tmp_path: Path) -> None:
    paths = run(products, tmp_path)
    (row,) = pd.read_parquet(paths["images"]).to_dict("records")
    assert row["image"] == IMAGES[0]
    assert row["verdict"] == "usable"
    assert row["reason"] == f"reserved stars to judge by: {N_RESERVED}, below 10"
    assert row["fwhm_px"] > FWHM_PX
    assert abs(row["size_residual"]) < 3 * row["size_residual_error"]
    assert row["n_fitted"] == 60 - N_RESERVED
    stars = pd.read_parquet(paths["stars"])
    assert len(stars) == 60
    assert (stars["moments"] == "ok").all()
    assert pd.read_parquet(paths["rho"]).empty
    report = paths["report"].read_text()
    assert "1 image: 1 usable" in report
    assert row["reason"] in report.replace("\n", " ")
    assert "14-15 mag" in report
    assert max(map(len, report.splitlines())) < 130
    assert matplotlib.image.imread(paths["picture"])[..., :3].std() > 0.05
    settings = read_provenance(paths["images"])["settings"]
    assert settings["limits"] == SETTINGS["limits"]


def test_rho_where_stars_are_enough(products: Products, tmp_path: Path) -> None:
    rho = pd.read_parquet(run(products, tmp_path, "svg", min_stars_rho=N_RESERVED)["rho"])
    assert len(rho) > 0
    assert set(rho["image"]) == {IMAGES[0]}
    assert np.isfinite(rho.drop(columns="image").to_numpy()).all()


def test_failed_image_is_bad_beside_others(products: Products, tmp_path: Path) -> None:
    paths = run(add_failed_image(products, tmp_path), tmp_path, "svg")
    images = pd.read_parquet(paths["images"]).set_index("image")
    assert images["verdict"].to_dict() == {IMAGES[0]: "usable", FAILED: "bad"}
    assert images.loc[FAILED, "reason"] == SENTENCE
    assert images.loc[FAILED, "n_reserved"] == 0
    picture = paths["picture"].read_text()
    assert "2 images: 1 usable, 1 bad; shown: the 1 that are not bad" in picture
    assert f"c13 q1 bad: {SENTENCE}"[:60] in picture


def test_unit_whose_images_all_failed(products: Products, tmp_path: Path) -> None:
    stamps, images, stars = (tmp_path / f"fit_{name}" for name in ("stamps", "images", "stars"))
    provenance = make_provenance([], {})
    write_stamps(concatenate([describe_failure(FAILED, SENTENCE)], [], 15), stamps, provenance)
    write_table(pd.DataFrame([{"image": FAILED, "status": SENTENCE}]), images, provenance)
    write_table(pd.DataFrame({"image": []}), stars, provenance)
    failed = products._replace(stamps=stamps, images=images, stars=stars)
    paths = run(failed, tmp_path, "svg")
    (row,) = pd.read_parquet(paths["images"]).to_dict("records")
    assert (row["verdict"], row["reason"]) == ("bad", SENTENCE)
    assert not row["needs_flux_term"]
    assert pd.read_parquet(paths["stars"]).empty
    assert "no star kept of 3" in paths["picture"].read_text()
    assert SENTENCE[:40] in paths["report"].read_text()


def test_reason_with_dollars(products: Products, tmp_path: Path) -> None:
    """A path may hold what matplotlib takes for a formula."""
    reason = "in/$a_{b$c.fits: no such file"
    fits = pd.read_parquet(products.images).assign(status=reason)
    images = tmp_path / "fit_images.parquet"
    write_table(fits, images, make_provenance([], {}))
    paths = run(products._replace(images=images), tmp_path, "svg")
    assert reason in paths["picture"].read_text()
    assert pd.read_parquet(paths["images"])["reason"].tolist() == [reason]


def test_limits_are_checked_first(products: Products, tmp_path: Path) -> None:
    limits = SETTINGS["limits"] | {"max_fwhm_px": [5.0, 4.0]}
    with pytest.raises(InputError, match=r"limits\.max_fwhm_px"):
        run(products, tmp_path, limits=limits)
    assert not list(tmp_path.iterdir())
