"""Light curves of scenes whose light is known."""

from collections.abc import Iterator

import numpy as np
import pytest
import threadpoolctl
from light_curve_scenes import CONSTANT_ADU2, Truth, add_noise, make_blob, make_truth
from ztfpsf.errors import InputError
from ztfpsf.lightcurve.fit import fit_scenes
from ztfpsf.lightcurve.scene import LightCurve, Scene, SceneSettings
from ztfpsf.pocket.flat import NO_FLAT
from ztfpsf.pocket.law import N_DROPS, Pocket, deferred

TARGET = SceneSettings(host_radius_px=5.0, pixel_radius_px=5.0)
STAR = SceneSettings(host_radius_px=0.0, pixel_radius_px=5.0)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Of BLAS, as in the jobs: its threads and those of XLA take each other's cores."""
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


def fit(scene: Scene, settings: SceneSettings = TARGET) -> LightCurve:
    (found,) = fit_scenes([scene], settings)
    return found


@pytest.fixture(scope="module")
def truth() -> Truth:
    return make_truth(
        1, n=24, size_px=11, flux_adu=1000.0, host=make_blob(4, 200.0), shift_arcsec=(0.05, -0.1)
    )


@pytest.fixture(scope="module")
def noisy(truth: Truth) -> Scene:
    return add_noise(truth, 5)


def pulls(found: LightCurve, truth: Truth) -> np.ndarray:
    """Of the exposures with flux."""
    on = ~truth.scene.in_baseline
    return (found.flux_adu - truth.flux_adu)[on] / found.flux_error_adu[on]


def test_light_without_noise_is_recovered(truth: Truth) -> None:
    """With little noise assumed, the host's prior is nothing beside the data."""
    n = len(truth.flux_adu)
    quiet = truth.scene._replace(gain=np.full(n, 1e4), constant_adu2=np.full((n, 1, 1), 0.01))
    settings = SceneSettings(
        host_radius_px=5.0, fine_radius_px=0.0, pixel_radius_px=5.0, n_rounds=6
    )
    found = fit(quiet, settings)
    np.testing.assert_allclose(found.flux_adu, truth.flux_adu, rtol=3e-4, atol=0.05)
    np.testing.assert_allclose(found.shift_arcsec, truth.shift_arcsec, atol=1e-5)
    assert found.host is not None
    assert found.host.flux_adu[5 - 1, 5 + 2] == pytest.approx(1000.0, rel=0.01)


def test_bright_stars_by_the_same_estimator() -> None:
    truth = make_truth(2, n=8, size_px=11, flux_adu=1e5, shift_arcsec=(0.01, 0.02), baseline=0.0)
    found = fit(truth.scene, STAR)
    assert found.host is None
    np.testing.assert_allclose(found.flux_adu, truth.flux_adu, rtol=2e-5, atol=0.5)


def test_errors_hold_in_many_realisations(truth: Truth) -> None:
    """Fluxes one by one, their mean with all covariances, exposures without flux, chi2, place."""
    rows, means, probes, chi2, place = [], [], [], [], []
    on = ~truth.scene.in_baseline
    scenes = [add_noise(truth, seed) for seed in range(60)]
    for found in fit_scenes(scenes, TARGET):
        rows.append(pulls(found, truth))
        weight = np.linalg.solve(found.covariance_adu2[np.ix_(on, on)], np.ones(on.sum()))
        means.append(weight @ (found.flux_adu - truth.flux_adu)[on] / np.sqrt(weight.sum()))
        probes.append((found.probe_flux_adu / found.probe_error_adu)[~on])
        chi2.append(found.chi2.sum() / found.dof.sum())
        shift = found.shift_arcsec - truth.shift_arcsec
        place.append(shift / np.sqrt(np.diagonal(found.shift_covariance)))
    assert np.std(rows) == pytest.approx(1.0, abs=0.05)
    assert np.std(probes) == pytest.approx(1.0, abs=0.05)
    assert np.mean(rows) == pytest.approx(0.0, abs=0.1)
    assert np.std(means) == pytest.approx(1.0, abs=0.2)
    assert np.mean(chi2) == pytest.approx(1.0, abs=0.01)
    assert np.std(place) == pytest.approx(1.0, abs=0.2)


def test_without_a_baseline_the_errors_are_in_common(truth: Truth) -> None:
    """The host under the target is then known from its surroundings alone, and it is said."""
    n = len(truth.flux_adu)
    found = fit(add_noise(truth, 1)._replace(in_baseline=np.zeros(n, bool)))
    assert not found.has_baseline
    shared = found.covariance_adu2 - np.outer(found.common_mode_adu, found.common_mode_adu)
    mean = np.ones(n) / n
    assert mean @ shared @ mean < 0.2 * mean @ found.covariance_adu2 @ mean
    # Too large by what the host under it seems too faint, within the error of that.
    assert abs(np.mean(found.flux_adu - truth.flux_adu)) < 3 * np.mean(found.common_mode_adu)


def test_ratio_errors_act_on_object_and_host(noisy: Scene) -> None:
    n = len(noisy.data)
    exact = fit(noisy)
    found = fit(noisy._replace(ratio_error=np.full(n, 0.01)))
    on = ~noisy.in_baseline
    added = found.flux_error_adu**2 - exact.flux_error_adu**2
    light = exact.flux_adu + exact.host_adu
    np.testing.assert_allclose(added[on], (0.01 * light[on]) ** 2, rtol=1e-6)
    assert not added[~on].any()


def test_flux_lost_by_errors_of_the_place_is_made_good() -> None:
    """The mean over places that scatter; each alone may lose or not."""
    n, error_px = 120, 0.1
    truth = make_truth(3, n=n, size_px=11, flux_adu=1e5, baseline=0.0)
    random, scene = np.random.default_rng(1), truth.scene
    moved = scene.position_px + random.normal(0.0, error_px, (n, 2))
    held = SceneSettings(host_radius_px=0.0, pixel_radius_px=5.0, position_error_arcsec=0.0)
    bright = truth.flux_adu > 1e4

    def find_ratio(error_px: float) -> tuple[float, float]:
        errors = np.full(n, error_px)
        found = fit(scene._replace(position_px=moved, position_error_px=errors), held)
        ratio = found.flux_adu[bright] / truth.flux_adu[bright]
        return ratio.mean(), ratio.std() / np.sqrt(bright.sum())

    plain, error = find_ratio(0.0)
    assert plain < 1.0 - 3 * error
    corrected, error = find_ratio(error_px)
    assert abs(corrected - 1.0) < 3 * error


def test_masked_pixels_and_cosmic_rays_do_not_matter(truth: Truth, noisy: Scene) -> None:
    data, mask = noisy.data.copy(), noisy.is_masked.copy()
    mask[:, :, 7] = True
    data[:, :, 7] = 1e5
    data[3, 2, 3] = np.nan
    data[20, 4, 3] += 4000.0  # not masked: more than 5 sigma
    found = fit(noisy._replace(data=data, is_masked=mask))
    assert np.abs(pulls(found, truth)).max() < 4.0
    assert found.chi2.sum() / found.dof.sum() == pytest.approx(1.0, abs=0.08)
    assert found.n_masked[3] == found.n_masked[2] + 1


def test_exposures_that_cannot_be_fitted_have_a_sentence(truth: Truth, noisy: Scene) -> None:
    """The others stay as they are, and a second copy of one is one more exposure."""
    ratio, position = noisy.ratio.copy(), noisy.position_px.copy()
    mask, psfs, status = noisy.is_masked.copy(), list(noisy.psfs), list(noisy.status)
    ratio[1] = np.nan
    position[2] = np.nan
    psfs[3] = None
    mask[4, 2:9, 2:9] = True
    position[5] += 40.0
    status[6] = "the PSF is bad: 3 stars."
    ratio[7] = -1.0
    bad = noisy._replace(
        ratio=ratio, position_px=position, is_masked=mask, psfs=psfs, status=status
    )
    found = fit(bad)
    assert found.status[1:8] == [
        "its photometric ratio is not a number.",
        "its place is not a number.",
        "has no PSF.",
        "0 of the 29 pixels around its place can be used.",
        "its place is 40 px from the middle of its stamp.",
        "the PSF is bad: 3 stars.",
        "its photometric ratio or gain is not positive.",
    ]
    kept = np.array(found.status) == "ok"
    assert kept.sum() == 17
    assert np.isfinite(found.flux_adu[kept]).all()
    assert np.isnan(found.flux_adu[~kept]).all()
    assert np.isnan(found.residuals[~kept]).all()
    rows = np.flatnonzero(kept)
    alone = fit(take(bad, rows))
    np.testing.assert_allclose(found.flux_adu[kept], alone.flux_adu, atol=1e-3)
    twice = fit(take(bad, np.append(rows, rows[-1])))
    assert twice.flux_adu[-1] == pytest.approx(twice.flux_adu[-2], abs=1e-3)


def take(scene: Scene, rows: np.ndarray) -> Scene:
    return Scene(
        scene.name,
        *(
            [field[row] for row in rows] if isinstance(field, list) else field[rows]
            for field in scene[1:]
        ),
    )


def test_nothing_to_fit_is_a_light_curve_of_sentences(noisy: Scene) -> None:
    found = fit(noisy._replace(is_masked=np.ones(noisy.data.shape, bool)))
    assert np.isnan(found.flux_adu).all()
    assert all("can be used" in status for status in found.status)


def test_psfs_of_different_models_are_refused(noisy: Scene) -> None:
    other = noisy.psfs[0]._replace(model=noisy.psfs[0].model.__class__(**{
        **vars(noisy.psfs[0].model), "constant": ("e1",)}))  # fmt: skip
    with pytest.raises(InputError, match="different models"):
        fit(noisy._replace(psfs=[other, *noisy.psfs[1:]]))
    with pytest.raises(InputError, match="none of the exposures"):
        fit(noisy._replace(psfs=[None] * len(noisy.psfs)))


def test_charge_that_the_pocket_defers_comes_back(truth: Truth) -> None:
    """Of a target and its host, in quadrants that are read from the left and from the right."""
    pockets = [Pocket(np.full(N_DROPS, 0.02), NO_FLAT, np.array(side)) for side in (1.0, -1.0)] * 12
    light = truth.scene.data
    local = [pocket.at(0.5, 0.5, 1, 1) for pocket in pockets]
    pixels = [row + np.asarray(deferred(p, row)) for p, row in zip(local, light, strict=True)]
    psfs = [
        psf._replace(pocket=pocket)
        for psf, pocket in zip(truth.scene.psfs, pockets, strict=True)
        if psf is not None
    ]
    scene = truth.scene._replace(data=np.stack(pixels))
    plain, freed = fit(scene), fit(scene._replace(psfs=psfs))
    best = fit(truth.scene)
    on = ~scene.in_baseline
    error = np.abs(freed.flux_adu - best.flux_adu)[on]
    assert np.abs(plain.flux_adu - best.flux_adu)[on].max() > 20.0
    assert error.max() < 3.0


def test_proper_motion_is_found() -> None:
    truth = make_truth(4, n=20, size_px=11, flux_adu=5e4, baseline=0.0)
    scene = truth.scene
    motion = np.array([0.03, -0.02])  # arcsec/yr
    back = scene.time_yr[:, None] * (scene.jacobian[0] @ motion)
    settings = SceneSettings(
        host_radius_px=0.0, pixel_radius_px=5.0, motion_error_arcsec_yr=0.1, n_rounds=4
    )
    found = fit(scene._replace(position_px=scene.position_px - back), settings)
    np.testing.assert_allclose(found.motion_arcsec_yr, motion, atol=2e-3)
    np.testing.assert_allclose(found.position_px, scene.position_px, atol=2e-3)


def test_constant_variance_is_a_plane_or_a_number(noisy: Scene) -> None:
    plane = np.full(noisy.data.shape, CONSTANT_ADU2)
    same = fit(noisy._replace(constant_adu2=plane))
    np.testing.assert_array_equal(same.flux_adu, fit(noisy).flux_adu)
