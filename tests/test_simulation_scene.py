"""The simulated science quadrant and its true PSF."""

import galsim
import numpy as np
import pytest
from astropy.wcs import WCS
from pure_moffat import PURE_MOFFAT
from ztfpsf.errors import InputError
from ztfpsf.fits_files import read_image
from ztfpsf.io import make_provenance
from ztfpsf.simulation import drawing
from ztfpsf.simulation.catalogue import isolated_positions, magnitudes
from ztfpsf.simulation.psf import TruePsf, quadrant_field, true_psf
from ztfpsf.simulation.scene import SceneSettings, simulate_quadrant, write_quadrant
from ztfpsf.simulation.seeds import generator
from ztfpsf.simulation.settings import PsfSettings
from ztfpsf.simulation.wcs import quadrant_wcs_header, sky_to_pixel, template_header

NX, NY = 200, 220
SMALL = SceneSettings(nx=NX, ny=NY, n_stars=12, n_faint_stars=20)


@pytest.fixture(scope="module")
def quadrant():
    return simulate_quadrant(SMALL, seed=3)


@pytest.fixture(scope="module")
def psf():
    return TruePsf(PsfSettings(), quadrant_field(NX, NY))


def test_equal_seeds_give_equal_images(quadrant):
    again, other = simulate_quadrant(SMALL, seed=3), simulate_quadrant(SMALL, seed=4)
    np.testing.assert_array_equal(quadrant.image, again.image)
    assert quadrant.stars.equals(again.stars)
    assert not np.array_equal(quadrant.image, other.image)


def test_generators_depend_on_seed_and_key_alone():
    first = generator(1, "a", 2).random(3)
    assert np.array_equal(first, generator(1, "a", 2).random(3))
    assert not np.array_equal(first, generator(1, "a", 3).random(3))
    assert not np.array_equal(first, generator(2, "a", 2).random(3))


def test_noise_is_photon_and_read_noise(quadrant):
    variance = quadrant.noiseless / SMALL.gain + (SMALL.read_noise_electron / SMALL.gain) ** 2
    pull = (quadrant.image - quadrant.noiseless) / np.sqrt(variance)
    n = pull.size
    assert abs(pull.mean()) < 4 / np.sqrt(n)
    assert abs(pull.std() - 1) < 4 / np.sqrt(2 * n)


def test_flux_is_conserved(quadrant):
    star = quadrant.stars.iloc[0]
    settings = SceneSettings(nx=NX, ny=NY, n_stars=1, sky_adu=0.0, edge_px=95.0)
    alone = simulate_quadrant(settings, seed=1)
    # Kolmogorov wings beyond 95 px hold about 1e-3 of the flux.
    assert alone.noiseless.sum() / alone.stars["flux_adu"][0] == pytest.approx(1, abs=2e-3)
    assert star["flux_adu"] == pytest.approx(10 ** (0.4 * (26.2 - star["mag"])))


def test_isolated_stars_keep_their_distance():
    points = isolated_positions(generator(5, "x"), 30, NX, NY, 20.0, 10.0)
    distance = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    assert distance[~np.eye(30, dtype=bool)].min() > 20
    assert points.min() >= 10
    assert (points < [NX - 11, NY - 11]).all()
    with pytest.raises(InputError, match="fewer stars"):
        isolated_positions(generator(5, "x"), 300, NX, NY, 40.0, 10.0)


def test_magnitudes_follow_their_slope():
    mag = magnitudes(generator(5, "x"), 40000, 14.0, 18.0, 0.2)
    counts = np.histogram(mag, [14, 15, 16, 17, 18])[0]
    assert np.log10(counts[3] / counts[1]) == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("settings", [PsfSettings(), PURE_MOFFAT, PsfSettings(fwhm_px=1.2)])
def test_drawn_stars_are_galsim_s(settings):
    psf = TruePsf(settings, quadrant_field(NX, NY))
    x, y = np.array([3.3, 150.49, 99.5]), np.array([210.2, 20.51, 100.0])
    stamps = drawing.draw_stamps(psf, x, y, 25)
    for k in range(3):
        truth = psf.stamp(x[k], y[k], 25)
        assert np.abs(stamps[k] - truth).max() < 3e-4 * truth.max()


@pytest.mark.parametrize("settings", [PsfSettings(), PURE_MOFFAT])
def test_true_psf_has_flux_one_and_its_centroid_at_the_star(settings):
    psf = TruePsf(settings, quadrant_field(NX, NY))
    stamp = psf.stamp(30.3, 180.4, 129)
    assert stamp.sum() == pytest.approx(1, abs=1e-3)
    moments = galsim.hsm.FindAdaptiveMom(galsim.Image(psf.oversampled(30.3, 180.4, 5)))
    centre = (stamp.shape[0] * 5) // 2 + 1
    assert moments.moments_centroid.x == pytest.approx(centre, abs=0.005)
    assert moments.moments_centroid.y == pytest.approx(centre, abs=0.005)


def test_true_moffat_is_the_integral_over_the_pixel():
    settings = PsfSettings(**{**PURE_MOFFAT.__dict__, "g1": (0,) * 4, "g2": (0,) * 4})
    settings = PsfSettings(**{**settings.__dict__, "fwhm_trend": (0,) * 4})
    stamp = true_psf(TruePsf(settings, quadrant_field(NX, NY)), 0, 0, 5, (0.2, 0.1))
    alpha = settings.moffat_alpha
    gamma2 = (settings.fwhm_px / 2) ** 2 / (2 ** (1 / alpha) - 1)
    node, weight = np.polynomial.legendre.leggauss(30)
    x, y = np.meshgrid(1 - 0.2 + node / 2, -1 - 0.1 + node / 2)
    profile = (alpha - 1) / np.pi / gamma2 * (1 + (x**2 + y**2) / gamma2) ** -alpha
    assert stamp[1, 3] == pytest.approx((profile * np.outer(weight, weight)).sum() / 4, rel=1e-5)


def test_psf_varies_over_the_field(psf):
    corner, centre = psf.stamp(0.0, 0.0, 25), psf.stamp(100.0, 110.0, 25)
    assert np.abs(corner - centre).max() > 0.01 * centre.max()


def test_template_gives_the_published_positions():
    # ztf_20190709485764_000600_zg_c04_o_q4, evaluated with wcslib.
    x, y = [0, 1535.5, 3071, 0, 3071, 100.25], [0, 1539.5, 0, 3079, 3079, 2000.75]
    ra = [358.89841168, 358.43704918, 357.95856654, 358.91219148, 357.97859938, 358.87689512]
    dec = [23.24306276, 22.80285218, 23.22720245, 22.37721334, 22.36133551, 22.67993738]
    got_ra, got_dec = WCS(template_header()).all_pix2world(x, y, 0)
    np.testing.assert_allclose(got_ra, ra, rtol=0, atol=6e-9)
    np.testing.assert_allclose(got_dec, dec, rtol=0, atol=6e-9)


@pytest.mark.parametrize(
    ("ccdid", "qid", "pointing", "ra", "dec"),
    [
        (13, 3, (55.0608, 33.35), 57.99769864, 35.74651556),
        (4, 4, (0.961583, 26.15), 358.43704918, 22.80285218),
        (3, 2, (149.057, 33.35), 147.4837391, 30.8647586),
    ],
)
def test_quadrants_lie_where_the_camera_has_them(ccdid, qid, pointing, ra, dec):
    header = quadrant_wcs_header(ccdid, qid, 3072, 3080, *pointing)
    assert (header["CRVAL1"] - ra) * np.cos(np.radians(dec)) == pytest.approx(0, abs=0.06)
    assert header["CRVAL2"] == pytest.approx(dec, abs=0.06)


def test_positions_and_sky_agree(quadrant):
    x, y = sky_to_pixel(
        quadrant.header, quadrant.stars["ra_deg"].to_numpy(), quadrant.stars["dec_deg"].to_numpy()
    )
    np.testing.assert_allclose(x, quadrant.stars["x_px"], atol=1e-6)
    np.testing.assert_allclose(y, quadrant.stars["y_px"], atol=1e-6)


def test_written_files_hold_the_image(quadrant, tmp_path):
    paths = [tmp_path / name for name in ("sci.fits", "msk.fits", "stars.parquet")]
    write_quadrant(quadrant, *paths, make_provenance([], {"seed": 3}))
    image, header = read_image(paths[0])
    np.testing.assert_array_equal(image, quadrant.image)
    assert header["GAIN"] == SMALL.gain
    assert header["CTYPE1"] == "RA---TPV"


@pytest.mark.parametrize(
    "wrong",
    [{"nx": 4}, {"faintest_mag": 12.0}, {"neighbour_fraction": 2.0}],
)
def test_wrong_settings_are_told(wrong):
    with pytest.raises(InputError):
        SceneSettings(**wrong)


def test_unknown_profile_is_told():
    with pytest.raises(InputError, match="gauss"):
        PsfSettings(profile="gauss")
