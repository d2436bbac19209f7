"""The origin of a PSF is its centroid of adaptive moments; against GalSim's HSM."""

from dataclasses import replace

import galsim
import numpy as np
import pytest
from galsim_stars import draw
from ztfpsf.noise import Noise
from ztfpsf.psf.models import get_model
from ztfpsf.psf.product.psf import Psf, PsfGrid
from ztfpsf.psf.product.sampling import draw_oversampled
from ztfpsf.psf.profile.flux import FluxRange
from ztfpsf.psf.profile.residual_grid import ResidualGrid
from ztfpsf.psf.solution.centroid import measure_centroids, recentre

NX, NY = 300, 200
GRID = ResidualGrid(0.5, 5.0, 20)


def test_centroids_are_those_of_hsm() -> None:
    coma = galsim.Convolve(
        galsim.OpticalPSF(lam_over_diam=0.3, coma1=0.15, coma2=-0.1, defocus=0.2),
        galsim.Kolmogorov(fwhm=1.5),
    ).shear(g1=0.05, g2=-0.03)
    image = draw(coma.expand(4.0), 0.4, -1.0, 81)
    hsm = galsim.hsm.FindAdaptiveMom(galsim.Image(image)).moments_centroid
    (found,) = measure_centroids(image[None], np.arange(-40, 41) / 4.0)
    np.testing.assert_allclose(found, [(hsm.x - 41) / 4, (hsm.y - 41) / 4], atol=2e-4)
    assert np.hypot(*found) > 0.05


@pytest.fixture
def lopsided() -> Psf:
    """A lump beside the core that grows along x."""
    model = replace(get_model("moffat_grid"), grid=GRID)
    x, y = (axis.ravel() for axis in np.meshgrid(GRID.nodes_px, GRID.nodes_px))
    lump = 0.003 * np.exp(-0.5 * ((x - 1.0) ** 2 + (y + 0.5) ** 2))
    coefficients = np.zeros((model.n_params, 3))
    coefficients[:, 0] = model.start(1.8)
    grid = PsfGrid(
        np.stack([lump, 0.5 * lump, 0.0 * lump], axis=1),
        np.zeros((GRID.width**2, 3)),
        1,
        (),
        FluxRange(1e3, 1e4, 1e5),
    )
    covariance = np.eye(coefficients.size)
    noise = Noise(6.2, 2.6)
    return Psf("image", model, coefficients, covariance, 1, NX, NY, noise, 0.0, grid)


def test_recentred_psf_has_its_centroid_at_its_origin_and_stars_move_with_it(lopsided) -> None:
    moved, shift_px = recentre(lopsided)
    x_px, y_px = np.array([20.0, 150.0, 280.0]), np.array([30.0, 100.0, 170.0])
    axis = np.arange(-28, 29) / 4.0
    before, after = (
        measure_centroids(draw_oversampled(psf, x_px, y_px, 4, 7), axis)
        for psf in (lopsided, moved)
    )
    assert np.hypot(*before.T).min() > 0.003
    np.testing.assert_allclose(after, 0.0, atol=3e-4)
    u = (2.0 * x_px - (NX - 1)) / NX
    v = (2.0 * y_px - (NY - 1)) / NY
    np.testing.assert_allclose(np.stack([u**0, u, v], axis=1) @ shift_px, before, atol=3e-4)


def test_symmetric_psf_stays(lopsided) -> None:
    psf = lopsided._replace(model=get_model("moffat"), grid=None)
    moved, shift_px = recentre(psf)
    assert moved is psf
    assert not shift_px.any()
