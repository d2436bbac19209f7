"""Validation of a PSF: what is measured on stars whose PSF is known."""

from pathlib import Path

import galsim
import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.io import fits
from fit_products import ALPHA, FWHM_PX
from galsim_stars import draw, gaussian, moffat
from ztfpsf.errors import InputError
from ztfpsf.psf.product.drawn import Drawn
from ztfpsf.quality import Bin
from ztfpsf.stamps import APCOR_COLUMNS
from ztfpsf.stars.cutting import read_apcor
from ztfpsf.validation.apertures import measure_apertures
from ztfpsf.validation.header import describe_header
from ztfpsf.validation.image import ValidationSettings, summarise
from ztfpsf.validation.moments import measure_moments
from ztfpsf.validation.rho import find_rho
from ztfpsf.validation.stars import measure_stars
from ztfpsf.validation.trends import FluxTerm, find_trends
from ztfpsf.validation.verdict import CRITERIA, check_limits, judge

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["validate_psf"]
LIMITS = CONFIG["limits"]
SETTINGS = ValidationSettings(
    CONFIG["min_snr"],
    CONFIG["min_stars_rho"],
    CONFIG["aperture_diameters_px"],
    FluxTerm(**CONFIG["flux_term"]),
)
SIZE, SKY_ADU, GAIN, READ_NOISE, NX, NY = 25, 150.0, 6.0, 9.0, 900, 700
FIT = {"status": "ok", "n_stars": 100, "n_rejected": 0, "clipped_fraction": 0.0}
HEADER = {"exptime_s": 30.0, "magzp_mag": 26.2, "infobits": 0.0, "ipac_status": 1.0}
CAMERA = {"sky_adu": SKY_ADU, "limited_fraction": 0.0, **HEADER} | dict.fromkeys(
    APCOR_COLUMNS, np.nan
)
SIGMA_PX, N_PHASES = 1.0, 16


def sigma_to_fwhm(sigma_px: float) -> float:
    return 2.0 * np.sqrt(2.0 * np.log(2.0)) * sigma_px


def make_drawn(star, model, n=120, seed=1, noise=1.0, sky_adu=SKY_ADU) -> Drawn:
    """Stars of 14 to 18 mag: `star` in the data, `model` fitted, profiles or functions of flux.

    Position, flux and background are those of the truth; a third of the stars is reserved.
    """
    rng = np.random.default_rng(seed)
    mag = np.linspace(14.05, 17.95, n)
    flux = 10 ** (-0.4 * (mag - 26.2))
    # As many sub-pixel positions as are quickly drawn.
    dx, dy = rng.uniform(-0.5, 0.5, (2, N_PHASES))[:, np.arange(n) % N_PHASES]
    own = draw_all(star, flux, dx, dy)
    expected = own if model is star else draw_all(model, flux, dx, dy)
    variance = (own + sky_adu) / GAIN + (READ_NOISE / GAIN) ** 2
    data = own + sky_adu + noise * rng.standard_normal(own.shape) * np.sqrt(variance)
    x0, y0 = rng.integers(0, NX - SIZE, n), rng.integers(0, NY - SIZE, n)
    weight = 1.0 / variance
    chi2 = ((data - expected - sky_adu) ** 2 * weight).sum(axis=(1, 2))
    stars = pd.DataFrame(
        {
            "image": "a",
            "star_id": [f"J{k}" for k in range(n)],
            "mag": mag,
            "x_px": x0 + SIZE // 2 + dx,
            "y_px": y0 + SIZE // 2 + dy,
            "flux_adu": flux,
            "flux_error_adu": (((own / flux[:, None, None]) ** 2 * weight).sum(axis=(1, 2)))
            ** -0.5,
            "background_adu": sky_adu,
            "background_error_adu": 0.0,
            "is_reserved": np.arange(n) % 3 == 0,
            "is_fitted": np.arange(n) % 3 > 0,
            "core_chi2": chi2 / SIZE**2,
            "chi2": chi2,
            "dof": SIZE**2 - 4,
        }
    )
    return Drawn(stars, data, expected + sky_adu, variance, x0, y0, np.zeros_like(data))


def draw_all(profile, flux, dx, dy) -> np.ndarray:
    """Stamps (n, SIZE, SIZE) ADU; a GalSim object is drawn at the first N_PHASES positions only."""
    if callable(profile):
        stamps = [draw(profile(f), x, y, SIZE) for f, x, y in zip(flux, dx, dy, strict=True)]
    else:
        stamps = [draw(profile, x, y, SIZE) for x, y in zip(dx[:N_PHASES], dy, strict=False)]
    repeats = -(-len(flux) // len(stamps))
    return flux[:, None, None] * np.stack((stamps * repeats)[: len(flux)])


def measure(star, model, **kwargs) -> pd.DataFrame:
    return measure_stars(make_drawn(star, model, **kwargs), SETTINGS.aperture_diameters_px)


def summarise_stars(stars: pd.DataFrame, **camera) -> dict:
    return summarise(stars, FIT, CAMERA | camera, [Bin(low) for low in range(14, 18)], SETTINGS)


def gauss(sigma_px: float = SIGMA_PX, shear: float = 0.0) -> galsim.GSObject:
    return gaussian(sigma_to_fwhm(sigma_px)).shear(g1=shear)


# --- moments ---


@pytest.mark.parametrize("sigma_px", [0.6, 1.0, 2.0])
def test_moments_of_gaussians_are_known(sigma_px: float) -> None:
    """ZTF's sharpest images are nearly as sharp as the first."""
    offsets = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 2))
    stamps = np.stack([draw(gauss(sigma_px, 0.05), *offset, SIZE) for offset in offsets])
    x, y = (offsets + SIZE // 2).T
    moments = measure_moments(stamps, x, y)
    # The axes of a sheared Gaussian scale by (1 +- g) / sqrt(1 - g^2); a pixel has 1/12 px^2.
    stretch = (1 + 0.05) / (1 - 0.05)
    xx, yy = sigma_px**2 * stretch + 1 / 12, sigma_px**2 / stretch + 1 / 12
    tolerance = 0.03 if sigma_px < 1 else 0.004
    np.testing.assert_allclose(np.mean(moments.xx_px2), xx, rtol=tolerance)
    np.testing.assert_allclose(np.mean(moments.yy_px2), yy, rtol=tolerance)
    np.testing.assert_allclose(moments.x_px, x, atol=0.02)
    np.testing.assert_allclose(moments.y_px, y, atol=0.02)
    np.testing.assert_allclose(np.mean(moments.fourth), 2.0, atol=0.03)
    ratio = np.sqrt(yy / xx)
    np.testing.assert_allclose(np.mean(moments.g1), (1 - ratio) / (1 + ratio), rtol=2 * tolerance)
    np.testing.assert_allclose(np.mean(moments.g2), 0.0, atol=1e-3)


@pytest.mark.parametrize(
    "stamp",
    [np.zeros((SIZE, SIZE)), -np.ones((SIZE, SIZE)), np.full((SIZE, SIZE), np.nan)],
    ids=["empty", "negative", "nan"],
)
def test_failed_moments_are_nan(stamp: np.ndarray) -> None:
    moments = measure_moments(stamp[None], np.array([12.0]), np.array([12.0]))
    assert np.isnan(moments).all()


def test_star_elsewhere_is_not_measured() -> None:
    stamp = draw(gauss(), 4.0, 0.0, SIZE)
    moments = measure_moments(stamp[None], np.array([12.0]), np.array([12.0]))
    assert np.isnan(moments.size_px2).all()


def test_exact_psf_leaves_no_residuals_but_noise() -> None:
    """Residuals in units of their errors are standard normal, at high and at low flux."""
    psf = moffat(1.2, 2.9)
    stars = measure(psf, psf, n=500)
    assert (stars["moments"] == "ok").all()
    pulls = {
        "size": stars["size_residual"] / stars["size_residual_error"],
        "g1": (stars["g1"] - stars["g1_model"]) / stars["g1_error"],
        "g2": (stars["g2"] - stars["g2_model"]) / stars["g2_error"],
    }
    for name, pull in pulls.items():
        assert pull.std() == pytest.approx(1.0, abs=0.1), name
        assert abs(pull.mean()) < 4 / np.sqrt(len(pull)), name
    row = summarise_stars(stars)
    assert abs(row["size_residual"]) < 3 * row["size_residual_error"]
    assert row["size_residual_error"] < 0.003
    assert row["misfit"] < 0.003
    assert judge(row, LIMITS).verdict == "good", judge(row, LIMITS).reason


@pytest.mark.parametrize("change", [0.01, -0.01])
def test_size_error_of_a_per_cent(change: float) -> None:
    stars = measure(gauss(SIGMA_PX * (1 + change)), gauss())
    t, t_model = (2 * s**2 + 1 / 6 for s in (SIGMA_PX * (1 + change), SIGMA_PX))
    row = summarise_stars(stars)
    assert row["size_residual"] == pytest.approx(t / t_model - 1, abs=0.0015)
    assert row["size_residual"] / row["size_residual_error"] * np.sign(change) > 5


def test_masked_pixels_do_not_bias() -> None:
    """Masks lie outside the core: what selection leaves."""
    drawn = make_drawn(gauss(SIGMA_PX * 1.02), gauss(), n=60, noise=0.0)
    whole = measure_stars(drawn, SETTINGS.aperture_diameters_px)
    half = SIZE // 2
    dy, dx = np.mgrid[-half : half + 1, -half : half + 1]
    far = dx**2 + dy**2 > 9
    random = np.random.default_rng(3).random(drawn.data.shape)
    masked = np.where(far & (random < 0.2), np.nan, drawn.data)
    stars = measure_stars(drawn._replace(data=masked), SETTINGS.aperture_diameters_px)
    np.testing.assert_allclose(
        stars["size_residual"].mean(), whole["size_residual"].mean(), rtol=0.05
    )
    np.testing.assert_allclose(stars["g1"], whole["g1"], atol=1e-3)


def test_stars_masked_after_the_fit_are_not_measured() -> None:
    """Filled with the model they would look perfect."""
    drawn = make_drawn(gauss(SIGMA_PX * 1.3), gauss(), n=6)
    half = SIZE // 2
    data = drawn.data.copy()
    data[0] = np.nan
    data[1, half - 3 : half + 4, half - 3 : half + 4] = np.nan
    data[2, : half + 4] = np.nan
    data[3, half, half + 1] = np.nan
    stars = measure_stars(drawn._replace(data=data), SETTINGS.aperture_diameters_px)
    assert (stars["moments"] == "failed").tolist() == [True] * 3 + [False] * 3
    assert stars["misfit2"].isna().tolist() == [True] * 3 + [False] * 3
    everything = np.full_like(data, np.nan)
    masked = measure_stars(drawn._replace(data=everything), SETTINGS.aperture_diameters_px)
    assert judge(summarise_stars(masked), LIMITS).verdict == "bad"


# --- trends ---


def make_table(size, g1=0.0, n=400, seed=2) -> pd.DataFrame:
    """Measured stars with residuals that are functions of the flux."""
    rng = np.random.default_rng(seed)
    mag = rng.uniform(14, 18, n)
    flux = 10 ** (-0.4 * (mag - 26.2))
    error = 20.0 / flux
    noise = rng.standard_normal((3, n)) * error
    return pd.DataFrame(
        {
            "mag": mag,
            "flux_adu": flux,
            "size_residual": size(flux) + noise[0],
            "g1": g1 + noise[1],
            "g2": noise[2],
            "g1_model": 0.0,
            "g2_model": 0.0,
            **{f"{name}_error": error for name in ("size_residual", "g1", "g2")},
        }
    )


def test_flux_slope_is_found() -> None:
    row = find_trends(make_table(lambda flux: 0.01 + 0.03 * flux / 1e5), SETTINGS.flux_term)
    assert row["size_per_1e5adu"] == pytest.approx(0.03, abs=4 * row["size_per_1e5adu_error"])
    assert row["size_per_1e5adu_sigma"] > 5
    assert row["needs_flux_term"]
    assert row["size_per_mag"] < 0
    assert row["size_range"] < 0


def test_deferred_charge_is_no_flux_term() -> None:
    row = find_trends(make_table(lambda flux: 100.0 / flux), SETTINGS.flux_term)
    assert row["size_charge_adu"] == pytest.approx(100.0, abs=4 * row["size_charge_adu_error"])
    assert row["size_charge_adu_sigma"] > 5
    assert not row["needs_flux_term"]


def test_no_trend() -> None:
    row = find_trends(make_table(lambda flux: 0.02 + 0 * flux, g1=-0.01), SETTINGS.flux_term)
    for name in ("size_per_mag", "size_per_1e5adu", "size_charge_adu", "g1_charge_adu"):
        assert abs(row[f"{name}_sigma"]) < 4, name
    assert not row["needs_flux_term"]
    few = find_trends(make_table(lambda flux: flux, n=2), SETTINGS.flux_term)
    assert np.isnan(few["size_range"])
    assert not few["needs_flux_term"]


def test_brighter_fatter_stars() -> None:
    """Stars that grow by 2 % in sigma up to 75,000 ADU."""
    stars = measure(lambda flux: gauss(SIGMA_PX * (1 + 0.02 * flux / 75e3)), gauss())
    row = summarise_stars(stars)
    slope = 2 * 0.02 / 0.75 * 2 * SIGMA_PX**2 / (2 * SIGMA_PX**2 + 1 / 6)
    assert row["size_per_1e5adu"] == pytest.approx(slope, rel=0.1)
    assert row["needs_flux_term"]


# --- apertures ---


def test_light_in_apertures_of_a_gaussian() -> None:
    stars = measure(gauss(3.0), gauss(3.0), n=4, noise=0.0)
    # Pixels count twice: the light is integrated over them, and taken as constant in them.
    total = np.hypot(3.0, 6**-0.5)
    for diameter in (6, 10, 14):
        inside = 1 - np.exp(-0.5 * (diameter / 2 / total) ** 2)
        for part in ("", "model_"):
            np.testing.assert_allclose(
                stars[f"psf_minus_ap_{part}{diameter}px_mag"], 2.5 * np.log10(inside), atol=2e-3
            )


def test_psf_flux_too_large_by_a_per_cent_and_apcor() -> None:
    psf = moffat(FWHM_PX, ALPHA)
    drawn = make_drawn(psf, psf, n=90)
    stars = drawn.stars.assign(flux_adu=1.01 * drawn.stars["flux_adu"])
    model = SKY_ADU + 1.01 * (drawn.model - SKY_ADU)
    table = measure_stars(drawn._replace(stars=stars, model=model), SETTINGS.aperture_diameters_px)
    header = fits.Header()
    header["FIXAPERS"] = "2,3,4,6,10,14"
    for n, diameter in enumerate((2, 3, 4, 6, 10, 14), start=1):
        header[f"APCOR{n}"] = table[f"psf_minus_ap_model_{diameter}px_mag"].mean() + 0.02
    row = summarise_stars(table, **read_apcor(header))
    for diameter in (4, 6, 10, 14):
        error = row[f"corrected_error_{diameter}px_mmag"]
        assert error < 1.5
        expected = -2500 * np.log10(1.01)
        assert row[f"corrected_{diameter}px_mmag"] == pytest.approx(expected, abs=4 * error)
        assert row[f"minus_apcor_{diameter}px_mmag"] == pytest.approx(0.0, abs=2.0)
    assert row["apcor_offset_mmag"] == pytest.approx(-20 - 2500 * np.log10(1.01), abs=2.0)
    assert judge(row, LIMITS).reason.startswith("PSF minus aperture magnitude -1")


def test_aperture_outside_of_the_stamp() -> None:
    ones = np.ones((1, 9, 9))
    centre = np.array([4.3]), np.array([4.0])
    apertures = measure_apertures(
        ones, ones, ones, np.array([81.0]), np.zeros(1), *centre, [8.0, 9.0]
    )
    assert np.isfinite(apertures.data[0, 0])
    assert np.isnan(apertures.data[0, 1])


def test_header_without_aperture_corrections() -> None:
    assert np.isnan(list(read_apcor(fits.Header()).values())).all()
    broken = fits.Header([("FIXAPERS", "2 3"), ("APCOR1", -0.1)])
    assert np.isnan(list(read_apcor(broken).values())).all()


# --- rho statistics ---


def test_rho_of_constant_residuals() -> None:
    rng = np.random.default_rng(4)
    n = 120
    stars = pd.DataFrame(
        {
            "x_px": rng.uniform(0, 3000, n),
            "y_px": rng.uniform(0, 3000, n),
            "g1": 0.05,
            "g2": -0.02,
            "g1_model": 0.04,
            "g2_model": -0.02,
            "t_px2": 2.0,
            "t_model_px2": 1.9,
        }
    )
    rho = find_rho(stars)
    e, de, edt = 0.05 - 0.02j, 0.01 + 0j, (0.05 - 0.02j) * 0.05
    products = (de, de), (e, de), (edt, edt), (de, edt), (e, edt)
    for number, (a, b) in enumerate(products, start=1):
        np.testing.assert_allclose(rho[f"rho{number}"], (np.conj(a) * b).real, rtol=1e-4)
    assert rho["n_pairs"].sum() <= n * (n - 1) / 2
    assert rho["n_pairs"].sum() > 0.9 * n * (n - 1) / 2
    assert rho["separation_px"].is_monotonic_increasing


# --- verdict ---


def test_every_criterion_has_its_limits() -> None:
    assert {criterion.key for criterion in CRITERIA} == set(LIMITS)
    schema = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text())
    block = schema["properties"]["validate_psf"]["properties"]["limits"]["properties"]
    assert set(block) == set(LIMITS)
    check_limits(LIMITS)


def make_row(**changes) -> dict:
    """Numbers in the middle of what is good."""
    row = {criterion.error: 0.0 for criterion in CRITERIA if criterion.error}
    for criterion in CRITERIA:
        good = LIMITS[criterion.key][0]
        row[criterion.column] = good * (1.5 if criterion.is_minimum else 0.5)
    row |= {"fwhm_px": 2.0, "fit_status": "ok"}
    return row | changes


@pytest.mark.parametrize(
    ("fit", "camera", "verdict", "reason"),
    [
        ({}, {}, "good", "all numbers"),
        ({"noise_ratio": 1.27}, {}, "good", "all numbers"),
        ({"noise_ratio": 2.4}, {}, "bad", "noise of the sky is not that of GAIN"),
        ({"noise_ratio": 0.6}, {}, "usable", "noise of the sky is not that of GAIN"),
        ({}, {"exptime_s": 10.0, "magzp_mag": 27.85}, "bad", "MAGZP is not that of its exposure"),
        ({}, {"magzp_mag": -999.0}, "bad", "MAGZP is not that of its exposure"),
        ({}, {"magzp_mag": np.nan, "exptime_s": 0.0}, "good", "all numbers"),
        ({}, {"infobits": 2048.0}, "usable", "IPAC's quality control says INFOBITS 2048"),
        ({}, {"infobits": 33554488.0}, "bad", "IPAC's quality control says INFOBITS 33554488"),
        ({}, {"ipac_status": 0.0}, "bad", "IPAC's processing failed, STATUS 0"),
    ],
)
def test_headers_that_lie(fit: dict, camera: dict, verdict: str, reason: str) -> None:
    found = judge(make_row(**describe_header(FIT | fit, CAMERA | camera)), LIMITS)
    assert found.verdict == verdict, found
    assert found.reason.startswith(reason)


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: criterion.key)
def test_each_criterion_decides(criterion) -> None:
    assert judge(make_row(), LIMITS).verdict == "good"
    good, usable = LIMITS[criterion.key]
    step = -1e-3 if criterion.is_minimum else 1e-3
    for limit, verdict in ((good, "usable"), (usable, "bad")):
        beyond = make_row(**{criterion.column: limit + step})
        found = judge(beyond, LIMITS)
        assert found.verdict == verdict, found
        assert f"{limit:.12g}" in found.reason
        assert ";" not in found.reason
        if criterion.error:
            unsure = beyond | {criterion.error: 2 * abs(limit)}
            assert judge(unsure, LIMITS).verdict == "good"
        unknown = make_row(**{criterion.column: np.nan})
        assert judge(unknown, LIMITS).verdict == "good"


def test_worst_reason_comes_first() -> None:
    row = make_row(ellipticity=0.25, fwhm_px=20.0, n_measured=5, fit_status="not converged")
    verdict, reason = judge(row, LIMITS)
    assert verdict == "bad"
    heads = ["FWHM 20.00 px, above 5", "stars elongated", "reserved stars", "the fit has not"]
    assert [
        text[: len(head)] for text, head in zip(reason.split("; "), heads, strict=True)
    ] == heads


def test_fit_that_failed_or_has_not_converged() -> None:
    assert judge(make_row(fit_status="a.fits: no star."), LIMITS) == ("bad", "a.fits: no star.")
    assert judge(make_row(fit_status="not converged"), LIMITS).verdict == "usable"


def test_limits_in_the_wrong_order() -> None:
    for key, values in (("max_fwhm_px", [5.0, 4.0]), ("min_reserved_stars", [3, 10])):
        with pytest.raises(InputError, match=f"validate_psf.limits.{key}"):
            check_limits(LIMITS | {key: values})


def donut(radius_px: float) -> galsim.GSObject:
    """Out of focus: an annulus in good seeing."""
    outer, inner = galsim.TopHat(radius_px, flux=1.2), galsim.TopHat(radius_px * 0.4, flux=-0.2)
    return galsim.Convolve(outer + inner, gaussian(1.5))


def trail(length_px: float) -> galsim.GSObject:
    """The telescope moved along x."""
    return galsim.Convolve(moffat(2.0, 2.9), galsim.Box(length_px, 1e-3))


@pytest.mark.parametrize(
    ("psf", "verdict", "reason"),
    [
        (moffat(1.0, 2.5), "good", ""),
        (moffat(3.0, 4.0), "good", ""),
        (moffat(2.0, 2.9).shear(g1=0.3), "bad", "stars elongated"),
        (moffat(2.0, 2.9).shear(g2=-0.3), "bad", "stars elongated"),
        (trail(6.0), "bad", "stars elongated"),
        (donut(5.0), "bad", "stars flat or hollow"),
        (moffat(6.0, 3.5), "bad", "FWHM"),
    ],
    ids=["sharp", "seeing", "sheared", "diagonal", "trailed", "defocused", "broad"],
)
def test_bad_images_are_bad_even_with_the_perfect_model(psf, verdict, reason) -> None:
    row = summarise_stars(measure(psf, psf, n=45))
    found = judge(row, LIMITS)
    assert found.verdict == verdict, found
    assert reason in found.reason


def test_wrong_model_is_found() -> None:
    row = summarise_stars(measure(moffat(2.0, 2.5), gaussian(2.1)))
    found = judge(row, LIMITS)
    assert found.verdict == "bad"
    assert "misfit of the bright cores" in found.reason
    assert row["misfit"] == pytest.approx(true_misfit(moffat(2.0, 2.5), gaussian(2.1)), rel=0.05)


def true_misfit(star: galsim.GSObject, model: galsim.GSObject) -> float:
    """Relative rms difference within 4 px of centred images."""
    dy, dx = np.mgrid[-12:13, -12:13]
    core = dx**2 + dy**2 <= 16
    a, b = (draw(profile, 0.0, 0.0, SIZE)[core] for profile in (star, model))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_twilight_is_bad() -> None:
    psf = moffat(2.0, 2.9)
    stars = measure(psf, psf, sky_adu=10 * SKY_ADU)
    found = judge(summarise_stars(stars, sky_adu=10 * SKY_ADU), LIMITS)
    assert found.verdict == "bad"
    assert found.reason.startswith("bright sky, 18.2")


def test_image_without_a_star() -> None:
    psf = gauss()
    drawn = make_drawn(psf, psf, n=3)
    none = drawn._replace(
        stars=drawn.stars.iloc[:0][["image", "star_id", "mag", "is_reserved", "is_fitted"]],
        **{
            name: getattr(drawn, name)[:0]
            for name in ("data", "model", "variance", "x0_px", "y0_px")
        },
    )
    stars = measure_stars(none, SETTINGS.aperture_diameters_px)
    row = summarise(stars, {"status": "ok"}, CAMERA | {"sky_adu": np.nan}, [], SETTINGS)
    found = judge(row, LIMITS)
    assert found.verdict == "bad"
    assert "reserved stars to judge by: 0" in found.reason
