"""Fits of an image: statistics of the errors, robustness, independence of the start."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from galsim_stars import draw
from problems import make_problem, make_stamps, make_truth, true_profile
from ztfpsf.errors import InputError
from ztfpsf.psf.inputs.padding import padded_size
from ztfpsf.psf.inputs.settings import Batch, Clipping, FitSettings
from ztfpsf.psf.models import get_model
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.psf.profile.field import choose_degree, field_basis
from ztfpsf.psf.solution.fit import fit_image
from ztfpsf.psf.solution.judgement import EDM_TOLERANCE, judge
from ztfpsf.psf.solution.per_star import fit_field
from ztfpsf.psf.solution.result import sum_histories
from ztfpsf.psf.weights import rounds
from ztfpsf.psf.weights.rejection import find_bad_stars

MOFFAT, GAUSSIAN = get_model("moffat"), get_model("gaussian")
SOLVER = get_optimiser("gauss_newton").make_solver()
CONSTANT = FitSettings(degree=0)


def fit(stamps, settings=CONSTANT, model=MOFFAT):
    return fit_image(model, SOLVER, stamps, settings)


def test_pulls_of_all_parameters() -> None:
    """2000 realisations of 10 stars: errors are those of the scatter, no bias beyond noise."""
    truth = make_truth("moffat", 10, 15, seed=11)
    problem = make_problem(truth, 2000, seed=12)
    solution = SOLVER(problem)
    judgement = judge(problem, solution)
    error = np.sqrt(np.diagonal(judgement.covariance.coefficients, axis1=1, axis2=2))
    profile_pull = (np.asarray(solution.parameters.profile)[:, :, 0] - truth.params) / error
    error = np.sqrt(np.diagonal(judgement.covariance.stars, axis1=2, axis2=3))
    star_pull = (np.asarray(solution.parameters.stars) - truth.stars) / error
    # The width of 2000 pulls is known to 1 / sqrt(4000) = 0.016, their mean to 0.022.
    np.testing.assert_allclose(profile_pull.std(axis=0), 1.0, atol=0.05)
    np.testing.assert_allclose(star_pull.std(axis=(0, 1)), 1.0, atol=0.05)
    np.testing.assert_allclose(profile_pull.mean(axis=0), 0.0, atol=0.1)
    np.testing.assert_allclose(star_pull.mean(axis=(0, 1)), 0.0, atol=0.05)


def test_pulls_through_the_whole_fit() -> None:
    """Weights from the model, clipping and held-back stars leave the pulls at 1."""
    truth = make_truth("moffat", 40, 17, seed=21)
    pulls, profiles = [], []
    for seed in range(30):
        result = fit(make_stamps(truth, seed, n_reserved=8))
        error = np.sqrt(np.diagonal(result.stars.covariance, axis1=1, axis2=2))
        pulls.append((result.stars.parameters[:, 2:] - truth.stars[:, 2:]) / error[:, 2:])
        variance = np.diag(result.psf.covariance)
        profiles.append((result.psf.coefficients[:, 0] - truth.params) / np.sqrt(variance))
    pulls, profiles = np.array(pulls), np.array(profiles)
    # Flux and background of 30 x 32 fitted and 30 x 8 reserved stars.
    np.testing.assert_allclose(pulls[:, 8:].std(axis=(0, 1)), 1.0, atol=0.07)
    np.testing.assert_allclose(pulls[:, :8].std(axis=(0, 1)), 1.0, atol=0.14)
    assert profiles.std() == pytest.approx(1.0, abs=0.2)


@pytest.fixture(scope="module")
def stamps():
    return make_stamps(make_truth("moffat", 60, 17, seed=31), seed=32, n_reserved=12)


def test_start_does_not_decide(stamps, monkeypatch) -> None:
    reference = fit(stamps)
    error = np.sqrt(np.diag(reference.psf.covariance))
    for fwhm_px in (0.9, 3.5):
        monkeypatch.setattr(rounds, "start_fwhm", lambda *_, value=fwhm_px: [value])
        other = fit(stamps)
        assert np.abs(other.psf.coefficients[:, 0] - reference.psf.coefficients[:, 0]).max() < (
            0.02 * error.max()
        )
        assert other.course.edm < EDM_TOLERANCE


def test_reserved_stars_do_not_enter(stamps) -> None:
    spoilt = stamps.data.copy()
    spoilt[:12] *= 1.5
    reference, other = fit(stamps), fit(stamps._replace(data=spoilt))
    np.testing.assert_array_equal(reference.psf.coefficients, other.psf.coefficients)
    assert not reference.is_fitted[:12].any()


def test_cosmic_ray_and_neighbour_are_clipped(stamps) -> None:
    dirty = stamps.data.copy()
    dirty[15, 3, 4] += 3000.0
    dirty[16, 2, 13] += 3000.0
    reference, other = fit(stamps), fit(stamps._replace(data=dirty))
    assert not other.good[15, 3, 4]
    assert not other.good[16, 2, 13]
    error = np.sqrt(np.diag(reference.psf.covariance))
    change = other.psf.coefficients[:, 0] - reference.psf.coefficients[:, 0]
    assert np.abs(change / error).max() < 0.3


def test_double_star_is_an_outlier(stamps) -> None:
    profile = true_profile("moffat")
    dirty = stamps.data.copy()
    dirty[20] += 0.6 * (dirty[20].max() - 150.0) / 0.2 * draw(profile, 1.6, -1.2, 17)
    other = fit(stamps._replace(data=dirty))
    assert other.status[20] == "outlier"
    assert not other.is_fitted[20]
    assert (other.status == "ok").sum() >= 57


def test_star_without_pixels_is_flagged(stamps) -> None:
    good = stamps.good.copy()
    good[30] = False
    result = fit(stamps._replace(good=good))
    assert result.status[30] == "too_few_pixels"
    assert result.quality.n_pix[30] == 0
    assert np.isfinite(result.psf.coefficients).all()


@pytest.mark.parametrize("model", [MOFFAT, GAUSSIAN])
def test_profiles_of_single_stars_agree_with_the_field(stamps, model) -> None:
    field = fit(stamps, CONSTANT, model)
    single = fit(stamps, replace(CONSTANT, strategy="per_star"), model)
    assert single.course.n_problems == field.is_fitted.sum()
    assert np.isfinite(single.stars.parameters).all()
    if model is MOFFAT:
        error = np.sqrt(np.diag(single.psf.covariance))
        assert (
            np.abs(single.psf.coefficients[:, 0] - field.psf.coefficients[:, 0]) < 4 * error
        ).all()


def test_field_polynomial_is_recovered() -> None:
    """A width that grows linearly over the image."""
    truth = make_truth("moffat", 60, 15, seed=41)
    stamps = make_stamps(truth, seed=42)
    widths = 1.7 * np.exp(0.1 * (2 * stamps.x_px - (stamps.nx - 1)) / stamps.nx)
    profile = true_profile("moffat")
    expected = np.stack(
        [
            f * draw(profile.expand(w / 1.7).withFlux(1.0), x, y, 15) + b
            for (x, y, f, b), w in zip(truth.stars, widths, strict=True)
        ]
    )
    stamps = make_stamps(truth._replace(expected=expected), seed=42)
    result = fit(stamps, FitSettings(degree=1))
    error = np.sqrt(np.diag(result.psf.covariance)).reshape(4, 3)
    assert result.psf.coefficients[0, 1] == pytest.approx(0.1, abs=4 * error[0, 1])
    assert result.psf.coefficients[0, 2] == pytest.approx(0.0, abs=4 * error[0, 2])


def test_too_few_stars() -> None:
    stamps = make_stamps(make_truth("moffat", 2, 15, seed=51), seed=52)
    with pytest.raises(InputError, match="only 2 stars are left to fit, 3 are needed"):
        fit(stamps)


def test_degree_falls_with_the_number_of_stars() -> None:
    assert [choose_degree(2, n) for n in (3, 9, 17, 18, 500)] == [0, 1, 1, 2, 2]


def test_padding_changes_nothing(stamps) -> None:
    few = jax.tree.map(lambda leaf: leaf[:40] if np.ndim(leaf) else leaf, stamps)
    one = fit(few)
    other = fit(few, replace(CONSTANT, batch=Batch(stars=7, problems=1)))
    np.testing.assert_allclose(one.psf.coefficients, other.psf.coefficients, rtol=1e-9)
    assert padded_size(40) == 64
    assert padded_size(2049) == 2560


def test_bad_stars_stand_out_of_the_trend_with_flux() -> None:
    rng = np.random.default_rng(3)
    flux = 10 ** rng.uniform(3, 5, 400)
    chi2 = (1 + flux / 2e3) * np.exp(0.1 * rng.standard_normal(400))
    faint = int(np.argmin(flux))
    chi2[faint] = 5.0  # less than what is usual for a bright star
    bad = find_bad_stars(chi2, flux, np.ones(400, bool), Clipping())
    assert bad[faint]
    assert bad.sum() <= 3


def test_histories_of_many_problems_add_up() -> None:
    histories = np.array([[4.0, 2.0, 1.0, np.nan], [3.0, 1.0, np.nan, np.nan]])
    np.testing.assert_array_equal(sum_histories(histories), [7.0, 3.0, 2.0])


def test_field_of_single_stars_ignores_outliers() -> None:
    rng = np.random.default_rng(4)
    basis = field_basis(rng.uniform(0, 99, 200), rng.uniform(0, 99, 200), 100, 100, 1)
    truth = np.array([[1.0, 0.3, -0.2]])
    params = basis @ truth.T + 0.05 * rng.standard_normal((200, 1))
    params[:5] += 10.0
    covariance = np.full((200, 1, 1), 0.05**2)
    coefficients, error2 = fit_field(params, covariance, basis)
    pull = (coefficients - truth)[0] / np.sqrt(np.diag(error2))
    assert np.abs(pull).max() < 4


def test_a_misfit_of_all_stars_is_not_clipped() -> None:
    """Moffat wings under a Gaussian: the model is wrong, the pixels are not."""
    stamps = make_stamps(make_truth("moffat", 60, 17, seed=61), seed=62, n_reserved=12)
    dirty = stamps.data.copy()
    dirty[30, 2, 2] += 500.0
    result = fit(stamps._replace(data=dirty), CONSTANT, GAUSSIAN)
    assert result.quality.core_chi2.max() > 10
    assert (~result.good).mean() < 1e-3
    assert not result.good[30, 2, 2]
