"""Degrees of grid and profile that the stars decide."""

from dataclasses import replace

import numpy as np
import pytest
from problems import GAIN, READ_NOISE_ELECTRON, SKY_ADU
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.psf.inputs.settings import FitSettings, GridSettings
from ztfpsf.psf.models import get_model
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.psf.profile.field import field_basis
from ztfpsf.psf.profile.flux import FLUX_TERMS, FluxRange, grid_basis
from ztfpsf.psf.profile.residual_grid import ResidualGrid, add_residual
from ztfpsf.psf.profile.star import star_psf
from ztfpsf.psf.solution.fit import fit_image
from ztfpsf.psf.solution.result import ImageFit

NX, NY, SIZE_PX, N_STARS = 1000, 900, 17, 110
GRID = ResidualGrid(0.75, 4.0, 20)
SETTINGS = FitSettings(degree=3, grid=GridSettings(GRID, 3, ()))


def make_stars(curvature: float) -> ImageStamps:
    """Moffats with a ring around the core that grows with the square of the position."""
    rng = np.random.default_rng(21)
    x_px, y_px = rng.uniform(20, NX - 20, N_STARS), rng.uniform(20, NY - 20, N_STARS)
    flux = 10 ** rng.uniform(4.3, 5.0, N_STARS)
    corner = np.stack([np.floor(x_px + 0.5), np.floor(y_px + 0.5)], axis=1).astype(int)
    corner -= SIZE_PX // 2
    offset = np.stack([x_px, y_px], axis=1) - corner - SIZE_PX // 2
    model = replace(get_model("moffat_grid"), grid=None)
    grid = GRID.nodes_px
    radius = np.hypot(grid, grid[:, None])
    ring = np.exp(-0.5 * ((radius - 1.8) / 0.5) ** 2) - 1.55 * np.exp(-0.5 * (radius / 0.9) ** 2)
    ring = (ring - ring.mean()).ravel()
    squares = field_basis(x_px, y_px, NX, NY, 2)[:, 3]
    params = np.array(model.start(1.9), float)
    stamps = np.stack(
        [
            f * add_residual(GRID, star_psf(model, o, params, SIZE_PX), *o, curvature * s * ring)
            for f, o, s in zip(flux, offset, squares, strict=True)
        ]
    )
    data = stamps + SKY_ADU
    variance = np.maximum(data, SKY_ADU) / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2
    return ImageStamps(
        "simulated",
        rng.normal(data, np.sqrt(variance)),
        variance,
        np.ones(data.shape, bool),
        np.full(N_STARS, SKY_ADU),
        x_px,
        y_px,
        *corner.T,
        np.arange(N_STARS) % 10 == 0,
        GAIN,
        READ_NOISE_ELECTRON,
        NX,
        NY,
    )


def fit(stamps: ImageStamps) -> ImageFit:
    model = SETTINGS.set_grid(get_model("moffat_grid"))
    return fit_image(model, get_optimiser("gauss_newton").make_solver(), stamps, SETTINGS)


@pytest.fixture(scope="module")
def plain() -> ImageFit:
    return fit(make_stars(0.0))


def test_what_the_stars_do_not_show_is_not_there(plain) -> None:
    assert plain.psf.grid.degree <= 1
    assert plain.n_effective.sum() < 3.0


def test_profile_that_does_not_change_has_next_to_no_slope(plain) -> None:
    """Without a prior, 27 coefficients of size and ellipticity would follow the noise."""
    varying = plain.psf.coefficients[[0, 2, 3], 1:]
    error = np.sqrt(np.diag(plain.psf.covariance)).reshape(plain.psf.coefficients.shape)
    assert np.abs(varying).max() < 1e-3
    assert error[0, 1:].max() < 1e-3


def test_change_with_the_square_of_the_position_is_found() -> None:
    found = fit(make_stars(0.004))
    assert found.psf.grid.degree == 2
    assert found.n_effective[2] > 1.0


@pytest.mark.parametrize("name", FLUX_TERMS)
def test_flux_terms_are_finite_for_the_faintest_and_go_on_beyond_the_fitted_stars(name) -> None:
    scale = FluxRange(1e3, 1e4, 1e5)
    flux = np.array([-50.0, 0.0, 1.0, 10.0, 1e2, 1e3, 1e5, 1e6])
    (column,) = grid_basis(np.ones((8, 1)), flux, scale, 0, [name]).T[1:]
    assert np.isfinite(column).all()
    assert column[0] == column[1]
    assert (np.diff(column[1:]) != 0.0).all()
