"""PSFs of many exposures, and the light of the points of a host."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from light_curve_scenes import draw, make_psf, make_truth
from scipy.stats import multivariate_normal
from ztfpsf.lightcurve.geometry import Geometry
from ztfpsf.lightcurve.host import find_precision, solve_shared
from ztfpsf.lightcurve.model import draw_light
from ztfpsf.lightcurve.preparation import make_geometry, prepare
from ztfpsf.lightcurve.psfs import stack_psfs
from ztfpsf.lightcurve.scene import SceneSettings
from ztfpsf.psf import Psf
from ztfpsf.psf.models import get_model
from ztfpsf.psf.product.psf import PsfGrid
from ztfpsf.psf.profile.field import count_terms
from ztfpsf.psf.profile.flux import FluxRange
from ztfpsf.psf.profile.residual_grid import ResidualGrid

MODEL = replace(get_model("moffat_grid"), grid=ResidualGrid(0.5, 2.0))


def make_grid_psf(degree: int, grid_degree: int, flux_terms: tuple[str, ...], seed: int) -> Psf:
    random = np.random.default_rng(seed)
    assert MODEL.grid is not None
    n_nodes = MODEL.grid.width**2
    coefficients = random.normal(size=(MODEL.n_params, count_terms(degree)))
    nodes = random.normal(size=(n_nodes, count_terms(grid_degree) + len(flux_terms)))
    grid = PsfGrid(nodes, nodes, grid_degree, flux_terms, FluxRange(1e3, 5e3, 4e4 + seed))
    covariance = np.eye(coefficients.size)
    noise = make_psf(2.0).noise
    return Psf(f"{seed}", MODEL, coefficients, covariance, degree, 400, 300, noise, 0.0, grid)


def test_stacked_psfs_are_those_of_their_images() -> None:
    """Of any degree, with and without terms of flux, and finite without light."""
    psfs = [
        make_grid_psf(1, 1, ("brighter_fatter",), 1),
        make_grid_psf(2, 0, (), 2),
        make_grid_psf(2, 2, ("deferred_charge", "brighter_fatter"), 3),
    ]
    position = np.array([[10.0, 20.0], [300.0, 40.0], [222.0, 111.0]])
    light = np.array([0.0, 2e3, -50.0])
    found = stack_psfs([*psfs[:2], None, psfs[2]]).take(np.array([0, 1, 3]))
    got = found.local_params(position, light)
    expected = [
        psf.local_params(at[:1], at[1:], adu)[0]
        for psf, at, adu in zip(psfs, position, light[:, None], strict=True)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("turn", [0.0, 0.03, 2.0])
def test_points_shine_where_they_are(turn: float) -> None:
    """Each point is drawn by the product's own PSF, in an exposure whose axes are turned."""
    scene = make_truth(1, n=3, size_px=11).scene
    cosine, sine = np.cos(turn), np.sin(turn)
    turned = np.array(scene.jacobian)
    turned[2] = np.array([[cosine, -sine], [sine, cosine]]) @ turned[2]
    scene = scene._replace(jacobian=turned)
    geometry = make_geometry(scene, SceneSettings(4.0, 2.0, 5.0))
    assert geometry.is_turned == (turn > 0)
    prepared = prepare(scene, geometry, stack_psfs(scene.psfs))
    stack = stack_psfs(scene.psfs)
    params = stack.local_params(prepared.position_px, np.zeros(3))
    exposures = jax.tree.map(jnp.asarray, prepared.exposures._replace(params=params))
    light = draw_light(geometry, stack.model, exposures, jnp.zeros(4))
    psf = scene.psfs[2]
    assert psf is not None
    for k in (0, 20, len(geometry.points_px) - 1):
        at = scene.position_px[2] + (np.eye(2) + prepared.exposures.skew[2]) @ geometry.points_px[k]
        stamp = scene.ratio[2] * draw(psf, at, scene.corner_px[2], 11)
        got = np.asarray(light.host)[2, :, k]
        expected = stamp.ravel()[geometry.pixel_index]
        np.testing.assert_allclose(got, expected, atol=2e-3 if turn else 2e-5)
    # Half a pixel apart near the middle, and all light in the picture of the host.
    assert len(geometry.points_px) == 49 + 49 - 13
    np.testing.assert_allclose(geometry.sharing.sum(axis=0), 1.0)


def test_precision_of_the_host_is_the_one_of_largest_evidence() -> None:
    """Of points with half of their variance in common, measured with known errors."""
    random = np.random.default_rng(2)
    k, width, everywhere = 300, 3.0, np.ones((300, 300))
    shape = (np.eye(k) + everywhere) / 2
    points, errors = width * np.linalg.cholesky(shape) @ random.normal(size=k), np.full(k, 2.0)
    measured = points + errors * random.normal(size=k)
    normal = np.diag(np.append(errors**-2, np.ones(4)))
    gradient = np.append(measured / errors**2, np.zeros(4))
    precision = find_precision(normal, gradient, np.zeros(4), everywhere)
    found = np.trace(precision @ shape) / k
    np.testing.assert_allclose(precision @ shape, found * np.eye(k), atol=1e-9 * found * k)
    assert found**-0.5 == pytest.approx(width, rel=0.1)
    evidence = [
        multivariate_normal(np.zeros(k), np.diag(errors**2) + shape / trial).logpdf(measured)
        for trial in np.array([0.9, 1.0, 1.1]) * found
    ]
    assert np.argmax(evidence) == 1


def test_prior_of_the_host_gives_room_where_there_is_light() -> None:
    """Points near a nucleus are held less, and what is found is nearer to the truth."""
    random = np.random.default_rng(3)
    geometry = Geometry(21, 10.0, 10.0, 0.0)
    distance = np.hypot(*geometry.points_px.T)
    k, true, error = len(distance), 100.0 * np.exp(-distance / 1.5), 5.0
    normal = np.diag(np.append(np.full(k, error**-2), np.ones(4)))
    gradient = np.append((true + error * random.normal(size=k)) / error**2, np.zeros(4))
    held = np.full(4, np.inf)
    off = []
    for nearness in (np.ones((k, k)), geometry.nearness):
        precision = find_precision(normal, gradient, held, nearness)
        solution = solve_shared(normal, gradient, np.zeros(k), np.zeros(4), held, precision)
        off.append(np.std(solution.step[:k] - true))
    width = np.diagonal(precision) ** -0.5
    assert width[distance < 1].min() > 4 * width[distance > 9].max()
    assert off[1] < 0.7 * off[0]
