"""The residual grid: its algebra, and what it makes of stars that are no Moffat (GalSim)."""

from dataclasses import replace

import galsim
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from galsim_stars import ACCURATE, draw
from problems import GAIN, READ_NOISE_ELECTRON, SKY_ADU
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.psf.inputs.settings import FitSettings, GridSettings
from ztfpsf.psf.models import get_model
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.psf.profile import grid_modes, residual_grid, widths
from ztfpsf.psf.profile.residual_grid import ResidualGrid
from ztfpsf.psf.profile.star import FLUX, star_psf
from ztfpsf.psf.solution.fit import fit_image
from ztfpsf.psf.solution.result import ImageFit

SMALL = ResidualGrid(spacing_px=0.75, radius_px=3.0, n_modes=10)
SIZE_PX = 25
N_STARS = 70
SETTINGS = FitSettings(
    degree=0, grid=GridSettings(ResidualGrid(n_modes=60), 0, ("deferred_charge",))
)
MODEL = SETTINGS.set_grid(get_model("moffat_grid"))
SOLVER = get_optimiser("gauss_newton").make_solver()
KOLMOGOROV = galsim.Kolmogorov(fwhm=1.9, gsparams=ACCURATE).shear(g1=0.03)


def make_stars(seed: int, growth: float = 0.0) -> tuple[ImageStamps, np.ndarray]:
    """Stars of 2e3 to 1e5 ADU without noise, which grow by that part at 1e5 ADU; their fluxes."""
    rng = np.random.default_rng(seed)
    offset = rng.uniform(-0.5, 0.5, (N_STARS, 2))
    flux = 10 ** rng.uniform(3.3, 5.0, N_STARS)
    clean = np.stack(
        [
            f * draw(KOLMOGOROV.dilate(1.0 + growth * f / 1e5), *o, SIZE_PX)
            for f, o in zip(flux, offset, strict=True)
        ]
    )
    corner = rng.integers(0, 170, (N_STARS, 2))
    stamps = ImageStamps(
        image="simulated",
        data=clean + SKY_ADU,
        variance=(clean + SKY_ADU) / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2,
        good=np.ones(clean.shape, bool),
        sky_adu=np.full(N_STARS, SKY_ADU),
        x_px=corner[:, 0] + SIZE_PX // 2 + offset[:, 0],
        y_px=corner[:, 1] + SIZE_PX // 2 + offset[:, 1],
        x0_px=corner[:, 0],
        y0_px=corner[:, 1],
        is_reserved=np.arange(N_STARS) % 5 == 0,
        gain=GAIN,
        read_noise_electron=READ_NOISE_ELECTRON,
        nx=200,
        ny=200,
    )
    return stamps, flux


def add_noise(stamps: ImageStamps, seed: int) -> ImageStamps:
    rng = np.random.default_rng(seed)
    read = rng.normal(0, READ_NOISE_ELECTRON, stamps.data.shape)
    return stamps._replace(data=(rng.poisson(stamps.data * GAIN) + read) / GAIN)


def fit(stamps: ImageStamps) -> ImageFit:
    return fit_image(MODEL, SOLVER, stamps, SETTINGS)


def centred_psf(result: ImageFit) -> np.ndarray:
    params = np.concatenate([result.psf.coefficients[:, 0], result.psf.grid.nodes[:, 0]])
    return np.asarray(star_psf(MODEL, np.array([0.2, -0.3]), params, SIZE_PX))


@pytest.fixture(scope="module")
def isolated() -> tuple[ImageStamps, np.ndarray, ImageFit]:
    stamps, flux = make_stars(1)
    stamps = add_noise(stamps, 2)
    return stamps, flux, fit(stamps)


def test_respond_is_the_transpose_of_add_residual() -> None:
    rng = np.random.default_rng(5)
    nodes = rng.normal(size=SMALL.width**2)
    image = rng.normal(size=(1, 15, 15))
    drawn = residual_grid.add_residual(SMALL, jnp.zeros((15, 15)), 0.3, -0.2, nodes)
    response = residual_grid.respond(SMALL, image, 0.3, -0.2)[0]
    assert float(response @ nodes) == pytest.approx(float(np.sum(drawn * image[0])))


def test_band_is_the_normal_matrix_of_the_nodes() -> None:
    weight = np.random.default_rng(6).uniform(0.5, 2.0, (15, 15))
    one = jax.jacfwd(lambda g: residual_grid.add_residual(SMALL, jnp.zeros((15, 15)), 0.4, 0.1, g))
    columns = np.asarray(one(np.zeros(SMALL.width**2))).reshape(225, -1)
    expected = columns.T @ (weight.ravel()[:, None] * columns)
    band = residual_grid.band(SMALL, weight, 0.4, 0.1)
    every = np.eye(SMALL.width**2)
    found = residual_grid.project_band(SMALL, band, every)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_modes_have_no_flux_no_centroid_and_those_of_the_grid_no_size_and_no_ellipticity() -> None:
    x, y = (axis.ravel() for axis in np.meshgrid(SMALL.nodes_px, SMALL.nodes_px))
    # A profile that, integrated over the pixel, is a Gaussian of sigma 1 px.
    fwhm_px = np.sqrt(widths.FWHM_PER_SIGMA**2 - widths.PIXEL_FWHM_PX**2)
    model = replace(get_model("gaussian_grid"), grid=SMALL)
    modes = grid_modes.make_modes(model, np.array([np.log(fwhm_px), 0.0, 0.0]))
    light = np.exp(-0.5 * (x**2 + y**2))
    weight = np.maximum(light, grid_modes.FAINTEST) ** -0.5
    size = weight * light * (x**2 + y**2 - 2.0)
    held = (size, weight * light * (x**2 - y**2), weight * light * x * y)
    n = grid_modes.count_shapes(model)
    assert n == len(held)
    for one in (np.ones(x.size), light * x, light * y):
        np.testing.assert_allclose(one @ modes, 0.0, atol=1e-10)
    for one in held:
        np.testing.assert_allclose(one @ modes[:, n:], 0.0, atol=1e-10)
        assert np.linalg.norm(one @ modes[:, :n]) > 1e-3
    assert np.linalg.norm((x**4 * light) @ modes[:, n:]) > 1e-3


def test_modes_have_no_flux_wherever_in_the_pixel_the_star_is_and_fade_out() -> None:
    grid = ResidualGrid(0.5, 4.0, 40)
    model = replace(get_model("moffat_grid"), grid=grid)
    modes = grid_modes.make_modes(model, np.array(model.start(1.2)))
    size = np.abs(modes).sum()
    for offset_px in ((0.0, 0.0), (0.3, -0.4), (-0.11, 0.26)):
        stamps = [
            residual_grid.add_residual(grid, jnp.zeros((15, 15)), *offset_px, mode)
            for mode in modes.T[:5]
        ]
        sums = np.array([float(np.sum(stamp)) for stamp in stamps])
        np.testing.assert_allclose(sums / size, 0.0, atol=1e-9)
    x, y = (axis.ravel() for axis in np.meshgrid(grid.nodes_px, grid.nodes_px))
    radius = np.hypot(x, y)
    assert not modes[radius >= grid.radius_px].any()
    near_edge = np.abs(modes[(radius > 0.9 * grid.radius_px)]).max()
    assert near_edge < 0.1 * np.abs(modes[radius < 0.7 * grid.radius_px]).max()


def test_kolmogorov_is_learnt_from_the_stars(isolated) -> None:
    stamps, flux, result = isolated
    true = draw(KOLMOGOROV, 0.2, -0.3, SIZE_PX)
    found = centred_psf(result)
    assert np.linalg.norm(found - true) < 0.006 * np.linalg.norm(true)
    moffat = fit_image(get_model("moffat"), SOLVER, stamps, SETTINGS)
    of_moffat = np.asarray(
        star_psf(get_model("moffat"), np.array([0.2, -0.3]), moffat.stars.params[0], 25)
    )
    assert np.linalg.norm(found - true) < 0.3 * np.linalg.norm(of_moffat - true)
    # The wings decide the flux.
    bright = flux > 2e4
    assert abs(np.median(result.stars.parameters[bright, FLUX] / flux[bright] - 1.0)) < 0.005
    assert result.course.n_not_converged == 0


def test_errors_include_the_grid(isolated) -> None:
    _, flux, result = isolated
    error = np.sqrt(result.stars.covariance[:, FLUX, FLUX])
    pull = (result.stars.parameters[:, FLUX] - flux) / error
    assert 0.7 < pull.std() < 1.3


def test_start_of_the_precision_decides_nothing(isolated, monkeypatch) -> None:
    stamps, _, result = isolated
    monkeypatch.setattr("ztfpsf.psf.weights.grid.START_PRECISION", 3e3)
    other = fit(stamps)
    np.testing.assert_allclose(centred_psf(other), centred_psf(result), atol=1e-4)


def test_neighbours_do_not_move_the_psf(isolated) -> None:
    """30 % of the stars have a neighbour 3 mag fainter within 5 px."""
    _, _, clean_fit = isolated
    plain, flux = make_stars(1)
    rng = np.random.default_rng(8)
    for star in rng.choice(N_STARS, 3 * N_STARS // 10, replace=False):
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 5.0)
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        plain.data[star] += 10**-1.2 * flux[star] * draw(KOLMOGOROV, x, y, SIZE_PX)
    result = fit(add_noise(plain, 2))
    moved = result.psf.coefficients[0, 0] - clean_fit.psf.coefficients[0, 0]
    true = draw(KOLMOGOROV, 0.0, 0.0, SIZE_PX)
    # Beside faint stars they are in the noise, and part of what is the PSF of a faint star.
    for flux_adu, largest in ((1e5, 0.006), (None, 0.02)):
        found = result.psf.stamp(100.0, 100.0, SIZE_PX, flux_adu=flux_adu)
        assert np.linalg.norm(found - true) < largest * np.linalg.norm(true)
    assert abs(moved) < 0.02
    assert (~result.good).sum() > (~clean_fit.good).sum()


def test_charge_left_behind_is_found_and_only_where_it_is(isolated) -> None:
    _, _, without = isolated
    stamps, _ = make_stars(1)
    centre = SIZE_PX // 2
    stamps.data[:, centre - 1 : centre + 2, centre + 1] -= 15.0
    stamps.data[:, centre - 1 : centre + 2, centre - 1] += 15.0
    result = fit(add_noise(stamps, 2))
    assert without.n_effective[1] < 6.0 < result.n_effective[1]
    faint = stamps.is_reserved & (result.status == "ok") & (result.stars.parameters[:, FLUX] < 1e4)
    assert np.median(result.quality.core_chi2[faint]) < 1.4


def test_stars_that_grow_with_flux_are_drawn_so() -> None:
    """Size as a function of flux is the grid's, not the profile's."""
    growth = 0.02
    stamps, _ = make_stars(1, growth)
    settings = replace(SETTINGS, grid=replace(SETTINGS.grid, flux_terms=("brighter_fatter",)))
    found = fit_image(MODEL, SOLVER, add_noise(stamps, 2), settings).psf
    bright, faint = (found.stamp(100.0, 100.0, SIZE_PX, flux_adu) for flux_adu in (1e5, 3e3))
    size = (1.0 + growth, 1.0 + 0.03 * growth)
    expected = np.subtract(*(draw(KOLMOGOROV.dilate(one), 0.0, 0.0, SIZE_PX) for one in size))
    assert np.linalg.norm(bright - faint - expected) < 0.25 * np.linalg.norm(expected)
