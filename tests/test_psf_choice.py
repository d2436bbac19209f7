"""Choice among settings, image by image; stars drawn by GalSim."""

from dataclasses import replace

import galsim
import numpy as np
import pytest
from galsim_stars import draw
from problems import GAIN, READ_NOISE_ELECTRON, SKY_ADU
from units import make_unit
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance
from ztfpsf.noise import Noise
from ztfpsf.psf import Psf, load_psf
from ztfpsf.psf.inputs.image import ImageStamps
from ztfpsf.psf.inputs.settings import FitSettings, make_candidates
from ztfpsf.psf.models import get_model
from ztfpsf.psf.optimisers import get_optimiser
from ztfpsf.psf.product.file import write_psfs
from ztfpsf.psf.product.psf import PsfGrid
from ztfpsf.psf.profile.flux import FluxRange
from ztfpsf.psf.profile.residual_grid import ResidualGrid
from ztfpsf.psf.running import runs
from ztfpsf.psf.running.request import Products, Request
from ztfpsf.psf.solution.choice import Chosen, compare, fit_best
from ztfpsf.stamps import open_stamps

N_STARS, SIZE_PX, SIDE_PX = 60, 15, 1000
DEGREES = [FitSettings(degree=degree) for degree in (1, 0, 2)]


def make_stars(trend: float, seed: int = 1) -> ImageStamps:
    """Gaussians whose FWHM changes by a fraction from the centre to the edge along x."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(20, SIDE_PX - 20, (2, N_STARS))
    corner = np.floor(np.stack([x, y]) + 0.5).astype(int) - SIZE_PX // 2
    flux = 10 ** rng.uniform(4.0, 5.0, N_STARS)
    fwhm = 2.2 * (1.0 + trend * (2.0 * x / SIDE_PX - 1.0))
    light = np.stack(
        [
            f
            * draw(galsim.Gaussian(fwhm=w), px - cx - SIZE_PX // 2, py - cy - SIZE_PX // 2, SIZE_PX)
            for f, w, px, py, cx, cy in zip(flux, fwhm, x, y, *corner, strict=True)
        ]
    )
    read = rng.normal(0, READ_NOISE_ELECTRON, light.shape)
    return ImageStamps(
        image="simulated",
        data=(rng.poisson((light + SKY_ADU) * GAIN) + read) / GAIN,
        variance=(light + SKY_ADU) / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2,
        good=np.ones(light.shape, bool),
        sky_adu=np.full(N_STARS, SKY_ADU),
        x_px=x,
        y_px=y,
        x0_px=corner[0],
        y0_px=corner[1],
        is_reserved=np.arange(N_STARS) % 5 == 0,
        gain=GAIN,
        read_noise_electron=READ_NOISE_ELECTRON,
        nx=SIDE_PX,
        ny=SIDE_PX,
    )


def choose(*stamps: ImageStamps) -> list[Chosen]:
    solver = get_optimiser("gauss_newton").make_solver()
    return fit_best(get_model("gaussian"), solver, stamps, DEGREES, len(stamps))


def test_each_image_has_its_own_degree() -> None:
    varying, constant = choose(make_stars(0.1), make_stars(0.0))
    assert varying.fit.psf.degree == 1
    assert constant.fit.psf.degree == 0
    for chosen, i in ((varying, 0), (constant, 1)):
        above = np.array(chosen.bic_above_best)
        assert above[i] == 0.0
        # Three terms more for three parameters: at least a few times the ln of the pixels.
        assert above[2] > 10.0
    # A trend of 10 % of the width in stars of 1e4 ADU and more is far beyond noise.
    assert varying.bic_above_best[1] > 1000.0


def test_reserved_stars_have_no_part_in_the_choice() -> None:
    stamps = make_stars(0.0)
    spoilt = stamps.data.copy()
    spoilt[stamps.is_reserved] *= 1.3
    (one,), (other,) = choose(stamps), choose(stamps._replace(data=spoilt))
    np.testing.assert_allclose(one.bic_above_best, other.bic_above_best, rtol=1e-6, atol=1e-6)


def test_a_clipped_pixel_is_no_gain() -> None:
    stamps = make_stars(0.0)
    (chosen,) = choose(stamps)
    fit = chosen.fit
    # One pixel less, of which the model was 3 sigma off.
    n_pix, chi2 = fit.quality.n_pix.copy(), fit.quality.chi2.copy()
    star = np.flatnonzero(fit.is_fitted)[0]
    n_pix[star], chi2[star] = n_pix[star] - 1, chi2[star] - 9.0
    clipped = fit._replace(quality=fit.quality._replace(n_pix=n_pix, chi2=chi2))
    kept, less = compare(stamps, [fit, clipped], 5.0)
    assert less > kept


def test_an_image_without_fit_has_no_choice() -> None:
    stamps = make_stars(0.0)
    few = stamps._replace(is_reserved=np.ones(N_STARS, bool))
    (chosen,) = choose(few)
    assert isinstance(chosen.fit, InputError)
    assert np.isnan(chosen.bic_above_best).all()


def test_the_images_table_tells_what_was_compared(tmp_path) -> None:
    make_unit(tmp_path / "stamps.fits", "gaussian")
    request = Request(
        str(tmp_path / "stamps.fits"), "gaussian", "gauss_newton", {}, tuple(DEGREES[:2]), "cpu"
    )
    outcomes = runs.fit_all(request, open_stamps(request.path_to_stamps), None, 1)
    rows = [o.image for o in outcomes.values() if isinstance(o, Products)]
    assert len(rows) == 2
    for row in rows:
        # The simulated PSF is the same everywhere.
        assert row["degree"] == 0
        assert row["bic_above_best"][1] == 0.0 < row["bic_above_best"][0]


def test_candidates_are_the_settings_and_their_changes() -> None:
    section = {
        "degree": 2,
        "strategy": "field",
        "noise": "measured",
        "clipping": {},
        "grid": {"spacing_px": 0.5, "radius_px": 6.0, "n_modes": 9, "degree": 1, "flux_terms": []},
        "choose_among": [{"degree": 3}, {"grid": {"spacing_px": 0.75}}],
    }
    configured, degree, spacing = make_candidates(section)
    assert (configured.degree, configured.grid.geometry.spacing_px) == (2, 0.5)
    assert degree == replace(configured, degree=3)
    geometry = replace(configured.grid.geometry, spacing_px=0.75)
    assert spacing == replace(configured, grid=replace(configured.grid, geometry=geometry))


def make_psf(image: str, geometry: ResidualGrid) -> Psf:
    model = replace(get_model("gaussian_grid"), grid=geometry)
    nodes = np.random.default_rng(3).normal(0, 1e-3, (geometry.width**2, 1))
    grid = PsfGrid(nodes, 0.1 * np.abs(nodes), 0, (), FluxRange(1e3, 1e4, 1e5))
    coefficients = np.array([[0.8], [0.01], [0.0]])
    noise = Noise(6.2, 3.0, 0.01)
    return Psf(image, model, coefficients, np.eye(3), 0, 300, 200, noise, 1e-3, grid)


def test_psfs_of_a_file_have_their_own_grids(tmp_path) -> None:
    psfs = [make_psf("a", ResidualGrid(0.5, 4.0)), make_psf("b", ResidualGrid(0.75, 6.0))]
    write_psfs(psfs, "gaussian_grid", tmp_path / "psf.fits", make_provenance([], {}))
    for psf in psfs:
        loaded = load_psf(tmp_path / "psf.fits", psf.image)
        assert (loaded.noise, loaded.flux_error) == (psf.noise, psf.flux_error)
        assert loaded.model.grid.nodes_px == pytest.approx(psf.model.grid.nodes_px)
        np.testing.assert_allclose(
            loaded.stamp(100.2, 50.4), psf.stamp(100.2, 50.4), rtol=0, atol=1e-14
        )
