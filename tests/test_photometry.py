"""Photometry of simulated stars: errors that are what they say, and what becomes of bad pixels."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from fit_products import (
    FWHM_PX,
    GAIN,
    NOISE,
    NX,
    NY,
    READ_NOISE,
    SKY_ADU,
    make_psf,
    moffat_stamp,
)
from photometry_scenes import (
    PSF,
    SATURATION_ADU,
    SETTINGS,
    has,
    make_catalogue,
    make_image,
    make_quadrant,
    measure,
    spread,
)
from ztfpsf.errors import InputError
from ztfpsf.noise import model_variance
from ztfpsf.photometry.equations import Evaluation, StarNormal, cut_pixels, evaluate
from ztfpsf.photometry.fit import PhotometrySettings
from ztfpsf.photometry.groups import MAX_GROUP, Overlaps, find_overlaps, find_reach
from ztfpsf.photometry.image import measure_image
from ztfpsf.photometry.light import Light, draw_light, redraw
from ztfpsf.photometry.planes import make_planes
from ztfpsf.photometry.scene import Scene
from ztfpsf.photometry.solution import hold, invert, solve_crowd
from ztfpsf.photometry.tables import Flag
from ztfpsf.pocket.law import Pocket, fill, forward, keep
from ztfpsf.stars.images import measure_sky

N_REALISATIONS = 14
# The law of a quadrant of ZTF, see ztfpsf.pocket.law.
DROPS = np.array([0.02, 0.11, 0.19, 0.2, 0.19, 0.09, 0.09, 0.05, 0.02, 0.01, 0.005])
SHIFT_PX = (0.3, -0.2)


def pulls(table: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "flux": (table["flux_adu"] - truth["flux"]) / table["flux_error_adu"],
            "x": (table["x_px"] - truth["x"]) / table["x_error_px"],
            "y": (table["y_px"] - truth["y"]) / table["y_error_px"],
            "kind": truth["kind"],
            "is_free": ~has(table, Flag.POSITION_HELD),
            "shift": np.hypot(table["x_px"] - truth["x"], table["y_px"] - truth["y"]),
            "snr": table["flux_adu"] / table["flux_error_adu"],
        }
    )


def make_blends() -> pd.DataFrame:
    """Isolated stars of four fluxes, and pairs 1.5 FWHM apart, 1:1 to 10:1."""
    x, y = spread(140, 25, seed=1)
    rng = np.random.default_rng(2)
    flux = np.array([75.0, 300.0, 3000.0, 60000.0])[np.arange(140) % 4]
    paired = np.arange(140) >= 60
    ratio = np.array([1.0, 3.0, 10.0])[np.arange(140) // 4 % 3]
    angle = rng.uniform(0, 2 * np.pi, 140)
    stars = pd.DataFrame({"x": x, "y": y, "flux": flux, "kind": np.where(paired, "first", "alone")})
    stars.loc[~paired & (flux == 75.0), "kind"] = "faint"
    second = pd.DataFrame(
        {
            "x": np.round(x + 1.5 * FWHM_PX * np.cos(angle), 1),
            "y": np.round(y + 1.5 * FWHM_PX * np.sin(angle), 1),
            "flux": flux / ratio,
            "kind": "second",
        }
    )
    return pd.concat([stars, second[paired]], ignore_index=True)


@pytest.fixture(scope="module")
def measured_pulls() -> pd.DataFrame:
    truth = make_blends()
    image = make_image(truth["x"], truth["y"], truth["flux"])
    rng = np.random.default_rng(3)
    parts = []
    for seed in range(N_REALISATIONS):
        quadrant = make_quadrant(image, seed)
        x, y = truth["x"].to_numpy(), truth["y"].to_numpy()
        stars = make_catalogue(x, y, quadrant.header, SHIFT_PX)
        # Centroids are worse than the catalogue; the catalogue is 0.36 px beside the image.
        stars[["x_px", "y_px"]] += rng.normal(0, 0.05, (len(x), 2))
        parts.append(pulls(measure(quadrant, stars), truth))
    return pd.concat(parts)


@pytest.mark.parametrize("kind", ["alone", "first", "second", "faint"])
def test_flux_errors_are_right(measured_pulls: pd.DataFrame, kind: str) -> None:
    pull = measured_pulls.loc[measured_pulls["kind"] == kind, "flux"]
    error = 1 / np.sqrt(len(pull))
    assert abs(pull.mean()) < 0.1 + 2 * error
    assert pull.std() == pytest.approx(1.0, abs=0.1)


def test_faint_stars_are_without_bias(measured_pulls: pd.DataFrame) -> None:
    faint = measured_pulls[measured_pulls["kind"] == "faint"]
    assert faint["snr"].median() == pytest.approx(3, abs=0.5)
    assert not faint["is_free"].any()
    assert abs(faint["flux"].mean()) < 0.15


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("kinds", [("alone",), ("first", "second")])
def test_position_errors_are_right(measured_pulls: pd.DataFrame, axis: str, kinds: tuple) -> None:
    rows = measured_pulls[measured_pulls["kind"].isin(kinds) & measured_pulls["is_free"]]
    assert len(rows) > 400
    assert abs(rows[axis].mean()) < 0.1
    assert rows[axis].std() == pytest.approx(1.0, abs=0.1)


def test_held_stars_follow_the_others(measured_pulls: pd.DataFrame) -> None:
    """The catalogue is 0.36 px off; the median shift of the free stars makes up for it."""
    held = measured_pulls[~measured_pulls["is_free"]]
    assert held["shift"].max() < 0.03


def test_free_positions_make_faint_stars_brighter() -> None:
    """Why positions of faint stars are held: on the same pixels, free ones find more flux."""
    x, y = spread(140, 25, seed=4)
    quadrant = make_quadrant(make_image(x, y, np.full(140, 90.0)), 5)
    stars = make_catalogue(x, y, quadrant.header)
    held, free = (measure(quadrant, stars, PhotometrySettings(15, snr)) for snr in (20.0, 2.0))
    is_freed = ~has(free, Flag.POSITION_HELD) & ~has(free, Flag.NOT_CONVERGED)
    assert is_freed.sum() > 60
    gain = (free["flux_adu"] - held["flux_adu"]) / held["flux_error_adu"]
    assert gain[is_freed].mean() > 0.15


@pytest.fixture(scope="module")
def field() -> pd.DataFrame:
    x, y = spread(60, 40, seed=5)
    return pd.DataFrame({"x": x, "y": y, "flux": 10 ** np.linspace(2.8, 4.5, 60)})


@pytest.fixture(scope="module")
def clean(field: pd.DataFrame):
    """The quadrant, its catalogue, its photometry."""
    quadrant = make_quadrant(make_image(field["x"], field["y"], field["flux"]), 6)
    stars = make_catalogue(field["x"].to_numpy(), field["y"].to_numpy(), quadrant.header)
    return quadrant, stars, measure(quadrant, stars)


def test_the_pocket_is_part_of_the_scene(field: pd.DataFrame) -> None:
    """Rows that are read through a law, the last column first."""
    light = make_image(field["x"], field["y"], field["flux"])
    pocket = Pocket(DROPS, np.array([1.0, 0.1, -0.05, 0.0, 0.0, 0.0]), np.array(-1.0))
    y_px, x_px = np.indices(light.shape)
    flat = pocket.at(x_px, y_px, NX, NY).flat
    charge = (flat * light)[:, ::-1]
    held = keep(DROPS, fill(DROPS, charge[:, 0]))
    observed = forward(DROPS, charge, held)[:, ::-1] / flat
    quadrant = make_quadrant(light, 6)
    quadrant = quadrant._replace(data=quadrant.data + (observed - light).astype(np.float32))
    stars = make_catalogue(field["x"].to_numpy(), field["y"].to_numpy(), quadrant.header)
    known = measure(quadrant, stars, psf=PSF._replace(pocket=pocket))
    check_fluxes(known, field["flux"])
    unknown = measure(quadrant, stars)
    faint = field["flux"] < 1500
    lost = (known["flux_adu"] - unknown["flux_adu"])[faint] / field["flux"][faint]
    assert lost.median() > 0.01
    assert (known["x_px"] - unknown["x_px"])[faint].median() > 0.03


def check_fluxes(table: pd.DataFrame, flux: np.ndarray) -> None:
    pull = (table["flux_adu"] - flux) / table["flux_error_adu"]
    assert np.abs(pull).max() < 4.5
    assert np.abs(table["chi2"] / table["dof"] - 1).max() < 0.5


def test_clean_stars_have_no_flags(clean, field) -> None:
    quadrant, _, table = clean
    assert (table["flags"] == 0).all()
    check_fluxes(table, field["flux"])
    assert (table["n_pix"] == 225).all()
    assert (table["dof"] == 221).all()
    assert (table["n_neighbours"] == 0).all()
    np.testing.assert_allclose(table["background_adu"], SKY_ADU, atol=4)
    np.testing.assert_allclose(
        table["mag_psf"], quadrant.header["MAGZP"] - 2.5 * np.log10(table["flux_adu"])
    )
    np.testing.assert_allclose(
        table["mag_psf_error"], 1.0857 * table["flux_error_adu"] / table["flux_adu"], rtol=1e-4
    )


def test_errors_of_the_psf(clean) -> None:
    """What all stars share has a column; what errs from star to star is in their own."""
    quadrant, stars, table = clean
    psf = PSF._replace(flux_error=1e-3, noise=NOISE._replace(model_error=0.05))
    found = measure(quadrant, stars, psf=psf)
    own, common = (found[f"flux_error_{part}_adu"] for part in ("own", "common"))
    np.testing.assert_allclose(common, 1e-3 * found["flux_adu"], rtol=1e-6)
    np.testing.assert_allclose(found["flux_error_adu"], np.hypot(own, common))
    ratio = found["mag_psf_error_own"] / found["mag_psf_error"]
    np.testing.assert_allclose(ratio, own / found["flux_error_adu"])
    np.testing.assert_array_equal(table["flux_error_own_adu"], table["flux_error_adu"])
    added = np.sqrt(own**2 - table["flux_error_own_adu"] ** 2) / table["flux_adu"]
    bright = table["flux_adu"] > table["flux_adu"].quantile(0.8)
    pixels, flux = moffat_stamp(0.0, 0.0, 15), table["flux_adu"][bright].median()
    weight = 1.0 / model_variance(SKY_ADU + flux * pixels, np.array(0.0), *NOISE[:2])
    spread_of_flux = np.sqrt(((weight * pixels**2) ** 2).sum()) / (weight * pixels**2).sum()
    assert added[bright].median() == pytest.approx(0.05 * spread_of_flux, rel=0.1)


def test_order_of_stars_does_not_matter(clean) -> None:
    quadrant, stars, table = clean
    shuffled = stars.sample(frac=1, random_state=1)
    other = measure(quadrant, shuffled.reset_index(drop=True)).set_index("star_id")
    table = table.set_index("star_id").loc[other.index]
    difference = (other["flux_adu"] - table["flux_adu"]) / table["flux_error_adu"]
    assert np.abs(difference).max() < 1e-3
    np.testing.assert_array_equal(other["flags"], table["flags"])


def test_number_of_threads_does_not_matter(clean) -> None:
    quadrant, stars, table = clean
    sky = measure_sky(quadrant)
    alone = measure_image(PSF, quadrant, sky, None, stars, SETTINGS, threads=1).stars
    pd.testing.assert_frame_equal(alone, table)


def test_masked_column_beside_a_star(clean, field) -> None:
    quadrant, stars, table = clean
    bad = quadrant.bad.copy()
    column = int(np.floor(field["x"][40] + 0.5)) + 1
    bad[:, column] = True
    data = np.where(bad, np.float32(1e6), quadrant.data)
    masked = measure(quadrant._replace(bad=bad, data=data), stars)
    assert masked["n_pix"][40] == 210
    assert masked["flags"][40] == Flag.MASKED | Flag.CENTRE
    check_fluxes(masked, field["flux"])
    assert masked["flux_error_adu"][40] > 1.05 * table["flux_error_adu"][40]


def test_stars_at_the_edge() -> None:
    x = np.array([-0.4, 1.3, NX - 0.6, 200.2, NX - 3.0, *np.linspace(50, 350, 12)])
    y = np.array([100.2, 50.0, 200.0, -0.45, NY - 2.2, *np.full(12, 150.3)])
    flux = np.full(17, 8000.0)
    quadrant = make_quadrant(make_image(x, y, flux), 7)
    table = measure(quadrant, make_catalogue(x, y, quadrant.header))
    assert has(table, Flag.EDGE).tolist() == [True] * 5 + [False] * 12
    assert not has(table, Flag.MASKED).any()
    assert table["n_pix"][:2].tolist() == [8 * 15, 9 * 15]
    check_fluxes(table, flux)


def test_saturated_star_is_flagged_and_its_neighbour_right() -> None:
    x, y = spread(40, 40, seed=8)
    flux = np.full(40, 5000.0)
    flux[10] = 3e6
    x[11], y[11] = x[10] + 9.0, y[10] + 3.0
    quadrant = make_quadrant(make_image(x, y, flux), 8)
    assert (quadrant.data[quadrant.saturated] > SATURATION_ADU).any()
    table = measure(quadrant, make_catalogue(x, y, quadrant.header))
    assert table["flags"][10] == Flag.SATURATED | Flag.CENTRE
    assert table["flags"][11] == Flag.SATURATED
    assert (table["flags"].drop([10, 11]) == 0).all()
    check_fluxes(table, flux)


def test_region_without_values(clean, field) -> None:
    quadrant, stars, _ = clean
    x, y = (int(field[axis][20]) for axis in ("x", "y"))
    bad = quadrant.bad.copy()
    bad[y - 12 : y + 13, x - 12 : x + 13] = True
    data = np.where(bad, np.float32(np.nan), quadrant.data)
    holed = measure(quadrant._replace(bad=bad, data=data), stars)
    lost = holed.loc[20]
    assert int(lost["flags"]) & (Flag.NOT_MEASURED | Flag.POSITION_HELD)
    assert np.isnan(lost[["flux_adu", "flux_error_adu", "mag_psf", "chi2"]].astype(float)).all()
    assert lost["n_pix"] == 0
    check_fluxes(holed.drop(20), field["flux"].drop(20))


def test_star_that_is_not_there_is_put_back(clean) -> None:
    quadrant, stars, table = clean
    moved = stars.copy()
    moved.loc[50, "x_px"] += 1.7
    found = measure(quadrant, moved)
    assert has(found, Flag.POSITION_LIMIT)[50]
    # Held where the sky position is, which is right.
    assert found["x_px"][50] == pytest.approx(table["x_px"][50], abs=0.05)
    assert np.isnan(found["x_error_px"][50])


def test_two_entries_of_one_star(clean, field) -> None:
    quadrant, stars, table = clean
    doubled = pd.concat([stars, stars.iloc[[30]]], ignore_index=True)
    found = measure(quadrant, doubled)
    total = found["flux_adu"][30] + found["flux_adu"].iloc[-1]
    assert total == pytest.approx(table["flux_adu"][30], abs=0.5 * table["flux_error_adu"][30])
    assert has(found, Flag.BLENDED)[[30, 60]].all()
    assert found["flux_error_adu"][30] > 10 * table["flux_error_adu"][30]
    assert np.isfinite(found["flux_adu"]).all()


@pytest.mark.parametrize("n", [950, 2500])
def test_crowded_field(n: int) -> None:
    """A star in 126 or in 48 px^2 at a FWHM of 2.4 px: most or all stars hang together."""
    rng = np.random.default_rng(9)
    x, y = (np.round(rng.uniform(-0.4, length - 0.6, n), 1) for length in (NX, NY))
    flux = 10 ** rng.uniform(2.3, 4.5, n)
    quadrant = make_quadrant(make_image(x, y, flux), 10)
    table = measure(quadrant, make_catalogue(x, y, quadrant.header))
    assert (table["n_neighbours"] > 0).mean() > 0.5
    assert not has(table, Flag.NOT_MEASURED).any()
    assert has(table, Flag.NOT_CONVERGED).mean() < 0.02
    pull = (table["flux_adu"] - flux) / table["flux_error_adu"]
    resolved = ~has(table, Flag.BLENDED | Flag.NOT_CONVERGED)
    assert resolved.mean() > 0.7
    assert pull[resolved].std() == pytest.approx(1.0, abs=0.1)
    assert abs(pull[resolved].mean()) < 0.1
    # The unknowns of the neighbours in the stamp are not counted in dof.
    assert (table["chi2"] / table["dof"]).median() == pytest.approx(1.0, abs=0.08)


def test_variance_plane_of_the_calibration(clean) -> None:
    """Ten times the read noise squared: the errors of faint stars follow it."""
    quadrant, stars, table = clean
    read_noise2 = (READ_NOISE / GAIN) ** 2
    plane = np.maximum(quadrant.data, 0) / GAIN + 10 * read_noise2
    found = measure(quadrant, stars, variance=plane)
    expected = np.sqrt((SKY_ADU / GAIN + 10 * read_noise2) / (SKY_ADU / GAIN + read_noise2))
    assert found["flux_error_adu"][0] / table["flux_error_adu"][0] == pytest.approx(
        expected, rel=0.05
    )


def test_variance_plane_with_values_that_are_none(clean) -> None:
    """Zero, negative and NaN count as read noise; a noise beyond saturation takes the pixel out."""
    quadrant, stars, table = clean
    read_noise2 = (READ_NOISE / GAIN) ** 2
    plane = np.maximum(quadrant.data, 0) / GAIN + read_noise2
    plane[::7], plane[1::7], plane[2::7] = 0.0, -1.0, np.nan
    found = measure(quadrant, stars, variance=plane)
    np.testing.assert_allclose(found["flux_adu"], table["flux_adu"], rtol=1e-4)
    np.testing.assert_allclose(found["flux_error_adu"], table["flux_error_adu"], rtol=1e-4)
    x, y = (int(np.floor(stars.loc[20, f"{axis}_px"] + 0.5)) for axis in "xy")
    plane[y, x] = 1e30
    lost = measure(quadrant, stars, variance=plane)
    assert lost["n_pix"][20] == 224
    assert lost["flags"][20] == Flag.MASKED | Flag.CENTRE
    everywhere = measure(quadrant, stars, variance=np.full_like(plane, 1e30))
    assert has(everywhere, Flag.NOT_MEASURED).all()


def test_image_without_zero_point(clean) -> None:
    quadrant, stars, _ = clean
    header = quadrant.header.copy()
    del header["MAGZP"]
    table = measure(quadrant._replace(header=header), stars)
    assert table[["mag_psf", "mag_psf_error"]].isna().all(axis=None)
    assert table["flux_adu"].notna().all()


def test_more_stars_than_the_image_can_tell_apart(clean) -> None:
    quadrant, stars, _ = clean
    many = stars.loc[np.zeros(NX * NY // 4 + 1, int)]
    with pytest.raises(InputError, match=r"x\.fits: \d+ catalogue stars .* brighter ones\."):
        measure(quadrant, many)


def test_one_star() -> None:
    x, y = np.array([100.2]), np.array([80.7])
    quadrant = make_quadrant(make_image(x, y, np.array([9000.0])), 11)
    table = measure(quadrant, make_catalogue(x, y, quadrant.header))
    assert table["flux_adu"][0] == pytest.approx(9000, abs=5 * table["flux_error_adu"][0])
    assert table["x_px"][0] == pytest.approx(100.2, abs=0.05)


def test_flags_are_bits() -> None:
    assert [flag.value for flag in Flag] == [1 << i for i in range(len(Flag))]


def make_chain() -> np.ndarray:
    """60 stars in a row 4 px apart, and two pairs far from them, (64, 2)."""
    x = np.concatenate([20 + 4.0 * np.arange(60), [50, 53, 90, 90.3]])
    y = np.concatenate([np.full(60, 30.0), [200, 200, 200, 200]])
    return np.stack([x, y], axis=1)


def test_groups_are_complete_and_limited() -> None:
    overlaps = find_overlaps(make_chain(), 5.0)
    assert np.bincount(overlaps.group).max() <= MAX_GROUP
    assert overlaps.is_crowded.sum() == 60
    assert overlaps.n_neighbours[[0, 30, 60, 62]].tolist() == [1, 2, 1, 1]
    sizes = np.bincount(overlaps.group)
    assert len(overlaps.pairs) == (sizes * (sizes - 1) // 2).sum()
    assert (overlaps.group[60:62] == overlaps.group[60]).all()
    assert overlaps.group[60] != overlaps.group[62]


def test_many_entries_at_one_position() -> None:
    overlaps = find_overlaps(np.full((2 * MAX_GROUP, 2), 7.0), 5.0)
    assert np.bincount(overlaps.group).max() == 1
    assert len(overlaps.pairs) == 0


def test_reach_of_a_psf() -> None:
    """Of a Gaussian, whose autocorrelation is a Gaussian wider by sqrt 2."""
    step = np.arange(25) - 12
    stamp = np.exp(-(step**2 + step[:, None] ** 2) / (2 * 1.5**2))
    assert find_reach(stamp) == pytest.approx(2 * 1.5 * np.sqrt(np.log(100)), abs=1.5)
    assert find_reach(np.ones((5, 5))) == 4.0


def make_equations(position: np.ndarray) -> tuple[Evaluation, Overlaps, Light]:
    """Of stars of equal flux that are not in the data: all fluxes too large."""
    quadrant = make_quadrant(np.full((NY, NX), SKY_ADU), 12)
    planes = make_planes(quadrant, measure_sky(quadrant), None, make_psf("x"), 15)
    overlaps = find_overlaps(position, 5.0)
    flux = np.full(len(position), 5000.0)
    with ThreadPoolExecutor(2) as pool:
        light = draw_light(make_psf("x"), planes, position, 15, pool)
        redraw(light, make_psf("x"), position, flux, np.ones(len(position), bool), pool)
        pixels = cut_pixels(planes, light.pixel)
        model = Scene(planes).draw(light, flux)
        return evaluate(planes, pixels, overlaps, light, flux, model, pool), overlaps, light


def to_matrix(normal: StarNormal) -> np.ndarray:
    n, k = normal.gradient.shape
    matrix = np.zeros((n, k, n, k))
    matrix[np.arange(n), :, np.arange(n), :] = normal.own
    for (first, second), block in zip(normal.pairs, normal.coupling, strict=True):
        matrix[first, :, second, :] = block
        matrix[second, :, first, :] = block.T
    return matrix.reshape(n * k, n * k)


def test_inverse_of_groups_is_that_of_the_matrix() -> None:
    evaluation, overlaps, _ = make_equations(make_chain()[58:63])
    inverse = invert(evaluation.normal, overlaps.group)
    expected = np.linalg.inv(to_matrix(evaluation.normal))
    step = expected @ evaluation.normal.gradient.ravel()
    np.testing.assert_allclose(inverse.apply(evaluation.normal.gradient).ravel(), step, rtol=1e-3)
    blocks = expected.reshape(5, 3, 5, 3)[np.arange(5), :, np.arange(5), :]
    np.testing.assert_allclose(inverse.covariances(), blocks, rtol=1e-3, atol=1e-6)


def test_held_positions_have_no_step_and_no_error() -> None:
    evaluation, overlaps, _ = make_equations(make_chain()[58:63])
    is_free = np.array([True, False, True, True, True])
    normal = hold(evaluation.normal, is_free)
    assert not invert(normal, overlaps.group).apply(normal.gradient)[1, 1:].any()
    keep = np.ones(15, bool)
    keep[4:6] = False
    expected = np.linalg.inv(to_matrix(evaluation.normal)[np.ix_(keep, keep)])
    covariance = invert(normal, overlaps.group).covariances()
    np.testing.assert_allclose(covariance[1, 0, 0], expected[3, 3], rtol=1e-3)


def test_one_step_in_a_crowd_takes_all_light_away() -> None:
    """The fluxes of a chain are solved together although it is cut into groups."""
    position = make_chain()[:60]
    evaluation, overlaps, light = make_equations(position)
    nobody = np.zeros(60, bool)
    inverse = invert(hold(evaluation.normal, nobody), overlaps.group)
    step = solve_crowd(np.arange(60), light, evaluation, inverse, nobody)
    assert np.abs(step[:, 0] + 5000).max() < 400
    assert not step[:, 1:].any()
