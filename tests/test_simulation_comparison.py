"""Products against truth: what the comparison must find."""

import json
from functools import partial

import compare_truth
import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from pure_moffat import PURE_MOFFAT
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, write_fits, write_table
from ztfpsf.simulation.comparison import compare_pixels, compare_psf, compare_stars, match_stars
from ztfpsf.simulation.psf import TruePsf, quadrant_field, true_psf
from ztfpsf.simulation.scene import SceneSettings, simulate_quadrant, write_quadrant
from ztfpsf.simulation.truth import write_true_psf

NY, NX = 128, 160


def noisy(variance_factor=1.0, offset=0.0):
    random = np.random.default_rng(1)
    noiseless = np.full((NY, NX), 100.0)
    variance = np.full((NY, NX), 25.0)
    noise = random.normal(0, 5 * np.sqrt(variance_factor), (NY, NX))
    return noiseless + noise + offset, variance, noiseless


def test_true_variance_and_offset_are_found():
    image, variance, noiseless = noisy(variance_factor=1.21, offset=1.0)
    zero = np.zeros((NY, NX), dtype=int)
    found = compare_pixels(image, variance, zero, noiseless, zero)
    assert found.n_pixels == NX * NY
    assert found.offset_sigma == pytest.approx(0.2, abs=0.04)
    # The offset adds 0.04 to the mean squared pull.
    assert found.variance_ratio == pytest.approx(1.25, abs=0.05)


def test_masked_and_affected_pixels_do_not_count():
    image, variance, noiseless = noisy()
    mask, affected = np.zeros((2, NY, NX), dtype=int)
    image[5, 5], mask[5, 5], affected[5, 5] = 1e5, 1, 1
    image[7, 7], affected[7, 7] = 1e5, 1
    image[9, 9], mask[9, 9] = np.nan, 1
    found = compare_pixels(image, variance, mask, noiseless, affected)
    assert found.n_pixels == NX * NY - 3
    assert found.variance_ratio == pytest.approx(1.0, abs=0.05)
    assert found.missed_fraction == 0.5


def test_other_shapes_are_told():
    image, variance, noiseless = noisy()
    with pytest.raises(InputError, match="shape"):
        compare_pixels(image, variance, image[:5], noiseless, image)


def test_star_biases_and_pulls():
    random, n = np.random.default_rng(2), 2000
    truth = pd.DataFrame(
        {"x_px": random.uniform(0, 3000, n), "y_px": random.uniform(0, 3000, n)}
    ).assign(mag=random.uniform(14, 18, n))
    truth["flux_adu"] = 10 ** (0.4 * (26.2 - truth["mag"]))
    fitted = pd.DataFrame(
        {
            "x_px": truth["x_px"] + 0.01 + random.normal(0, 0.02, n),
            "x_error_px": 0.02,
            "y_px": truth["y_px"] + random.normal(0, 0.02, n),
            "y_error_px": 0.01,
            "flux_adu": truth["flux_adu"] * 1.005 * (1 + random.normal(0, 0.001, n)),
            "flux_error_adu": truth["flux_adu"] * 0.001,
            "status": "ok",
        }
    )
    fitted.loc[0, "status"] = "rejected_chi2"
    found = compare_stars(match_stars(fitted, truth)).set_index("mag")
    every = found.loc["all"]
    assert every["n"] == n - 1
    assert found["n"].iloc[1:].sum() == n - 1
    assert every["flux_bias_mmag"] == pytest.approx(-5.4, abs=0.2)
    assert every["x_bias_mpx"] == pytest.approx(10, abs=2)
    assert every["x_pull_width"] == pytest.approx(1, abs=0.1)
    assert every["y_pull_width"] == pytest.approx(2, abs=0.2)


def test_psf_against_itself_and_a_shifted_wider_one():
    psf = TruePsf(PURE_MOFFAT, quadrant_field(NX, NY))
    wider = PURE_MOFFAT.__class__(**{**PURE_MOFFAT.__dict__, "fwhm_px": 2.02})
    other = TruePsf(wider, psf.field)
    positions = np.array([[20.2, 30.7], [100.3, 90.1]])
    true = partial(true_psf, psf)
    same = compare_psf(psf.stamp, true, positions, 25)
    assert same.l2_median < 1e-6
    assert same.size_rms < 1e-6

    def shifted(x_px, y_px, size_px):
        offset = (x_px - np.round(x_px) + 0.05, y_px - np.round(y_px))
        return true_psf(other, x_px, y_px, size_px, offset)

    found = compare_psf(shifted, true, positions, 25)
    assert found.shift_rms_px == pytest.approx(0.05, abs=0.003)
    assert 0.005 < found.l2_median < 0.03
    # The pixel does not grow with the profile.
    assert 0.01 < found.size_bias < 0.02


def test_adapter_reports_a_perfect_product(tmp_path, monkeypatch):
    settings = SceneSettings(nx=NX, ny=NY, n_stars=4, separation_px=20.0, psf=PURE_MOFFAT)
    quadrant = simulate_quadrant(settings, seed=1)
    image = str(quadrant.name)
    paths = {
        key: str(tmp_path / f"{key}.fits") for key in ("sciimg", "mskimg", "varimg", "image", "psf")
    }
    stars = {key: str(tmp_path / f"{key}.parquet") for key in ("true", "fitted")}
    provenance = make_provenance([], {})
    write_quadrant(quadrant, paths["sciimg"], paths["mskimg"], stars["true"], provenance)
    variance = quadrant.noiseless / settings.gain + (10 / settings.gain) ** 2
    fits.PrimaryHDU(variance).writeto(paths["varimg"])
    planes = {"NOISELESS": quadrant.noiseless, "AFFECTED": quadrant.mask}
    hdus = [fits.ImageHDU(data, name=name) for name, data in planes.items()]
    write_fits(fits.HDUList([fits.PrimaryHDU(), *hdus]), paths["image"], provenance)
    write_true_psf(quadrant.psf, NX, NY, paths["psf"], provenance)
    errors = {"x_error_px": 0.01, "y_error_px": 0.01, "flux_error_adu": 10.0}
    fitted = quadrant.stars.assign(image=image, status="ok", **errors)
    write_table(fitted, stars["fitted"], provenance)
    monkeypatch.setattr(compare_truth, "load_psf", lambda path, image: quadrant.psf)
    compare_truth.compare_truth(
        unit=image,
        images=[image],
        paths_to_sciimg=[paths["sciimg"]],
        paths_to_varimg=[paths["varimg"]],
        paths_to_mskimg=[paths["mskimg"]],
        path_to_stars=stars["fitted"],
        path_to_psf=paths["psf"],
        paths_to_true_image=[paths["image"]],
        paths_to_true_stars=[stars["true"]],
        paths_to_true_psf=[paths["psf"]],
        path_to_record=str(tmp_path / "record.json"),
        path_to_report=str(tmp_path / "report.md"),
        size_px=25,
    )
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["pixels"][image]["variance_ratio"] == pytest.approx(1, abs=0.1)
    assert record["psf"][image]["l2_median"] < 3e-4
    assert record["stars"][0]["n"] == 4
    assert record["stars"][0]["flux_bias_mmag"] == 0
    assert image in (tmp_path / "report.md").read_text()
