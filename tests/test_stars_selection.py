"""Detection, measurement and selection on synthetic images with known answers."""

import numpy as np
import pandas as pd
import pytest
from quadrants import (
    SIGMA_PX,
    SKY_ADU,
    Scene,
    add_noise,
    draw_source,
    load_scene,
    make_criteria,
    make_header,
    make_scene,
    to_flux,
)
from scipy.spatial import cKDTree
from ztfpsf.errors import InputError
from ztfpsf.stars import detection
from ztfpsf.stars.locus import find_size_outliers, fit_locus
from ztfpsf.stars.measurement import find_centroids, find_typical_radius, measure
from ztfpsf.stars.selection import (
    COLUMNS,
    REASONS,
    find_edge,
    is_in_reserve,
    make_empty_table,
    select,
)
from ztfpsf.stars.sky import read_wcs, to_sky
from ztfpsf.stars.sources import find_sources

# Of the sources that draw_special_scene adds; 16 without an entry.
SPECIAL_MAG = {"magnitude": 13.0, "faint": 21.0, "saturated": 13.6, "bright": 14.2}
HALF_LIGHT_PX = 1.1774 * SIGMA_PX  # of a Gaussian, before the pixel widens it


def select_in(scene, tmp_path, **changes):
    quadrant, sky = load_scene(scene, tmp_path)
    criteria = make_criteria(**changes)
    sources = find_sources(quadrant, sky, "detection", "", criteria)
    return select(quadrant, sky, sources, criteria)


def at(stars, x, y):
    """The row of the source nearest to a position."""
    distance, index = cKDTree(stars[["x_px", "y_px"]]).query((x, y))
    assert distance < 2.5
    return stars.iloc[index]


def write_table(scene, path, x=None, y=None, mag=None):
    """A catalogue of the scene's stars."""
    x, y = scene.x if x is None else x, scene.y if y is None else y
    ra, dec = to_sky(read_wcs(scene.header, "scene"), x, y)
    mag = scene.mag if mag is None else mag
    pd.DataFrame({"ra": ra, "dec": dec, "mag": mag}).to_csv(path, index=False)
    return str(path)


# --- detection and measurement ---


def test_detection_finds_positions_and_magnitudes(tmp_path):
    scene = make_scene()
    selection = select_in(scene, tmp_path)
    stars = selection.stars[selection.stars["reason"] == ""]
    distance, index = cKDTree(stars[["x_px", "y_px"]]).query(np.c_[scene.x, scene.y])
    assert (distance < 0.1).mean() > 0.95
    assert selection.kept == len(scene.x)
    error = stars["mag"].to_numpy()[index] - scene.mag
    assert np.median(error) == pytest.approx(0, abs=0.01)
    assert np.abs(error).max() < 0.15
    ra, dec = to_sky(read_wcs(scene.header, "scene"), scene.x, scene.y)
    np.testing.assert_allclose(stars["ra_deg"].to_numpy()[index], ra, atol=0.1 / 3600)
    np.testing.assert_allclose(stars["dec_deg"].to_numpy()[index], dec, atol=0.1 / 3600)


def test_measurement_of_known_stars(tmp_path):
    scene = make_scene(seed=3)
    quadrant, sky = load_scene(scene, tmp_path)
    radius = find_typical_radius(quadrant, sky, scene.x, scene.y)
    assert radius == pytest.approx(np.hypot(HALF_LIGHT_PX, 0.34), rel=0.05)
    measured = measure(quadrant, sky, scene.x, scene.y, radius)
    ratio = measured.flux_adu / to_flux(scene.mag)
    assert np.median(ratio) == pytest.approx(1, abs=0.01)
    pull = (measured.flux_adu - to_flux(scene.mag)) / (measured.flux_adu / measured.snr)
    assert 0.7 < pull.std() < 1.4
    rng = np.random.default_rng(7)
    shift = rng.uniform(-0.5, 0.5, (2, len(scene.x)))
    x, y, converged = find_centroids(quadrant, sky, scene.x + shift[0], scene.y + shift[1], radius)
    assert converged.all()
    assert np.hypot(x - scene.x, y - scene.y).max() < 0.1


def test_centroids_that_run_away_come_back(tmp_path):
    scene = make_scene(seed=3)
    quadrant, sky = load_scene(scene, tmp_path)
    x, _, converged = find_centroids(quadrant, sky, scene.x + 3.5, scene.y, 1.1)
    np.testing.assert_array_equal(x[~converged], scene.x[~converged] + 3.5)
    assert (~converged).mean() > 0.5


def test_no_sources_to_measure(tmp_path):
    quadrant, sky = load_scene(make_scene(), tmp_path)
    none = np.zeros(0)
    assert find_typical_radius(quadrant, sky, none, none) > 0
    assert len(measure(quadrant, sky, none, none, 1.0).flux_adu) == 0
    assert len(find_centroids(quadrant, sky, none, none, 1.0)[0]) == 0


def test_locus_follows_the_field_and_finds_outliers():
    rng = np.random.default_rng(8)
    x, y = rng.uniform(0, 3000, (2, 400))
    snr = rng.uniform(30, 1000, 400)
    truth = 1 + 0.2 * ((x - 1500) / 1500) ** 2 - 0.1 * (y - 1500) / 1500
    size = truth * (1 + 0.02 * rng.normal(size=400) + rng.normal(size=400) / snr)
    size[:60] *= rng.uniform(1.4, 3, 60)  # galaxies
    size[60:70] *= 0.5  # cosmic rays
    np.testing.assert_allclose(fit_locus(x, y, size, snr), truth, rtol=0.02)
    outlier = find_size_outliers(x, y, size, snr)
    assert outlier[:70].all()
    assert outlier[70:].mean() < 0.01


@pytest.mark.parametrize("n", [0, 1, 2, 5, 19])
def test_locus_of_few_stars_is_their_median(n):
    size = np.linspace(1, 1.05, n)
    xy = np.arange(n, dtype=float)
    assert not find_size_outliers(xy, xy, size, np.full(n, 500.0)).any()


def test_unmeasured_size_is_an_outlier():
    size = np.array([1.0, 1, 1, np.nan])
    assert find_size_outliers(size, size, size, np.ones(4)).tolist() == [False] * 3 + [True]


# --- the tests of the selection ---


def test_edges_of_a_frame_that_is_not_square():
    x = np.array([15.0, 14.99, 424.0, 424.01, 100.0, 100.0, 100.0, 100.0])
    y = np.array([100.0, 100.0, 100.0, 100.0, 15.0, 14.99, 344.0, 344.01])
    expected = [False, True, False, True, False, True, False, True]
    assert find_edge(x, y, (360, 440), 15).tolist() == expected


@pytest.mark.parametrize(("size_px", "expected"), [(25, 15), (29, 15), (31, 16), (41, 21)])
def test_margin_is_never_less_than_half_a_stamp(size_px, expected):
    assert make_criteria(size_px=size_px).margin_px == expected


def draw_special_scene():
    """A regular scene, and one source for every reason."""
    scene = make_scene(seed=20, shape=(520, 640), spacing_px=40)
    data = np.full((520, 640), SKY_ADU)
    special = {
        "magnitude": (305.0, 185.3),
        "faint": (385.0, 425.2),
        "bright": (465.3, 185.0),
        "edge": (8.0, 265.0),
        "mask": (305.2, 265.0),
        "saturated": (385.0, 265.3),
        "neighbour": (225.3, 185.1),
        "size": (145.2, 185.0),
        "masked outside of the core": (145.0, 345.4),
    }
    spots = np.array(list(special.values()))
    far = cKDTree(spots).query(np.c_[scene.x, scene.y])[0] > 30
    scene = scene._replace(x=scene.x[far], y=scene.y[far], mag=scene.mag[far])
    for star in zip(scene.x, scene.y, to_flux(scene.mag), strict=True):
        draw_source(data, *star)
    for name, (x, y) in special.items():
        mag = SPECIAL_MAG.get(name, 16.0)
        draw_source(data, x, y, to_flux(mag), SIGMA_PX * (1.6 if name == "size" else 1))
    draw_source(data, 229.3, 185.1, to_flux(16.5))  # 4 px from the neighbour
    mask = np.zeros(data.shape, np.int16)
    mask[267, 306] = 1 << 4
    mask[345, 150] = 1 << 9
    header = make_header(data.shape)
    # Stars of 13.6 mag pass 0.8 of that, those of 14.2 mag half of it, those of 14.5 mag do not.
    header["SATURATE"] = 20_500.0
    scene = Scene(add_noise(data, 21), mask, header, scene.x, scene.y, scene.mag)
    return scene, special


def test_every_reason(tmp_path):
    scene, special = draw_special_scene()
    selection = select_in(scene, tmp_path, magnitude_min_mag=13.5, magnitude_max_mag=None)
    stars = selection.stars
    assert at(stars, *special.pop("masked outside of the core"))["reason"] == ""
    for reason, position in special.items():
        assert at(stars, *position)["reason"] == reason
    assert at(stars, 229.3, 185.1)["reason"] == "neighbour"
    assert {*special, "position", "surplus"} == set(REASONS)  # those have tests of their own
    assert selection.kept == (stars["reason"] == "").sum() > 0.9 * len(scene.x)
    assert selection.rejected == {name: (stars["reason"] == name).sum() for name in REASONS}
    assert list(stars.columns) == list(COLUMNS[1:])
    assert not stars["is_reserved"][stars["reason"] != ""].any()


def test_limit_of_the_neighbours_light(tmp_path):
    """The fainter of the two has the more light of the other in its own."""
    scene, special = draw_special_scene()
    stars = select_in(scene, tmp_path).stars
    star, other = at(stars, *special["neighbour"]), at(stars, 229.3, 185.1)
    ratio = 10 ** (0.8 * (other["mag"] - star["mag"]))
    assert other["neighbour_light"] / star["neighbour_light"] == pytest.approx(ratio, rel=0.02)
    limit = np.sqrt(star["neighbour_light"] * other["neighbour_light"])
    stars = select_in(scene, tmp_path, max_neighbour_light=limit).stars
    assert at(stars, *special["neighbour"])["reason"] != "neighbour"
    assert at(stars, 229.3, 185.1)["reason"] == "neighbour"


def test_of_more_stars_the_least_disturbed_are_kept(tmp_path):
    scene, _ = draw_special_scene()
    everyone = select_in(scene, tmp_path).stars
    limited = select_in(scene, tmp_path, max_stars=40)
    assert limited.kept == 40
    assert limited.rejected["surplus"] == (everyone["reason"] == "").sum() - 40
    light = limited.stars.groupby("reason")["neighbour_light"]
    assert light.max()[""] <= light.min()["surplus"]


def test_no_limit_in_magnitude(tmp_path):
    """Whatever a wrong zero point makes of the magnitudes."""
    scene = make_scene()
    scene.header["MAGZP"] += 9.0
    selection = select_in(scene, tmp_path, magnitude_min_mag=None, magnitude_max_mag=None)
    assert selection.kept == len(scene.x)


def test_few_stars_are_all_fitted(tmp_path):
    scene = make_scene(shape=(130, 140))
    selection = select_in(scene, tmp_path, min_stars=3, reserved_fraction=0.9)
    assert 3 <= selection.kept < 10
    assert selection.reserved == 0


def test_magnitude_limits_are_strict(tmp_path):
    scene = make_scene()
    quadrant, sky = load_scene(scene, tmp_path)
    sources = find_sources(quadrant, sky, "detection", "", make_criteria())
    low, high = np.sort(sources["mag"])[[10, 60]]
    criteria = make_criteria(magnitude_min_mag=low, magnitude_max_mag=high)
    stars = select(quadrant, sky, sources, criteria).stars
    inside = (stars["mag"] > low) & (stars["mag"] < high)
    seen = stars["reason"] != "faint"
    assert seen.sum() > 60
    np.testing.assert_array_equal(stars["reason"][seen] == "magnitude", ~inside[seen])


# --- catalogues ---


def test_catalogue_positions_are_refined(tmp_path):
    scene = make_scene(seed=30)
    rng = np.random.default_rng(31)
    x, y = scene.x + rng.normal(0, 0.3, len(scene.x)), scene.y + rng.normal(0, 0.3, len(scene.y))
    path = write_table(scene, tmp_path / "stars.csv", x, y)
    quadrant, sky = load_scene(scene, tmp_path)
    criteria = make_criteria()
    stars = select(quadrant, sky, find_sources(quadrant, sky, "table", path, criteria), criteria)
    assert stars.kept == len(scene.x)
    assert np.hypot(stars.stars["x_px"] - scene.x, stars.stars["y_px"] - scene.y).max() < 0.1


def test_catalogue_star_that_is_not_there(tmp_path):
    scene = make_scene(seed=30)
    x, y = np.append(scene.x, 45.0), np.append(scene.y, 45.0)
    path = write_table(scene, tmp_path / "stars.csv", x, y, np.append(scene.mag, 16))
    quadrant, sky = load_scene(scene, tmp_path)
    criteria = make_criteria()
    stars = select(quadrant, sky, find_sources(quadrant, sky, "table", path, criteria), criteria)
    assert stars.rejected["faint"] == 1
    assert stars.stars["reason"].iloc[-1] == "faint"


def test_catalogue_star_out_of_place(tmp_path):
    scene = make_scene(seed=30)
    x = scene.x.copy()
    x[0] += 3.5
    path = write_table(scene, tmp_path / "stars.csv", x)
    quadrant, sky = load_scene(scene, tmp_path)
    criteria = make_criteria()
    stars = select(quadrant, sky, find_sources(quadrant, sky, "table", path, criteria), criteria)
    assert stars.stars["reason"].iloc[0] == "position"
    assert stars.rejected["position"] == 1


def test_neighbour_outside_of_the_image_counts(tmp_path):
    """Isolation comes before the field of view: a source 4 px off the image is a neighbour."""
    scene = make_scene(seed=30)
    data = add_noise(np.full(scene.data.shape, SKY_ADU), 32).astype(float)
    x, y, mag = (
        np.append(scene.x, [3.0, -4.0]),
        np.append(scene.y, [200.0] * 2),
        np.append(scene.mag, [16.0, 16.0]),
    )
    for star in zip(x, y, to_flux(mag), strict=True):
        draw_source(data, *star)
    scene = scene._replace(data=data.astype(np.float32))
    path = write_table(scene, tmp_path / "stars.csv", x, y, mag)
    quadrant, sky = load_scene(scene, tmp_path)
    criteria = make_criteria(edge_px=0, size_px=3, max_neighbour_light=5e-4)
    stars = select(quadrant, sky, find_sources(quadrant, sky, "table", path, criteria), criteria)
    assert len(stars.stars) == len(x) - 1
    assert at(stars.stars, 3.0, 200.0)["reason"] == "neighbour"
    assert stars.rejected["neighbour"] == 1


def test_catalogue_of_another_field(tmp_path):
    scene = make_scene(seed=30)
    path = write_table(scene, tmp_path / "stars.csv", scene.x + 9000)
    quadrant, sky = load_scene(scene, tmp_path)
    with pytest.raises(InputError, match="has no star within"):
        find_sources(quadrant, sky, "table", path, make_criteria())


def test_unknown_kind_of_catalogue(tmp_path):
    quadrant, sky = load_scene(make_scene(), tmp_path)
    with pytest.raises(InputError, match=r"kind is 'simbad'; expected one of detection, table"):
        find_sources(quadrant, sky, "simbad", "", make_criteria())


# --- reserve, counts, failures ---


def test_reserve_never_changes():
    names = [f"J0345{i:02d}.12+3531{j:02d}.4" for i in range(60) for j in range(60)]
    chosen = [is_in_reserve(name, 0.2) for name in names]
    assert [i for i, value in enumerate(chosen[:30]) if value] == [0, 2, 9, 10, 13, 27, 29]
    assert np.mean(chosen) == pytest.approx(0.2, abs=0.02)
    # A larger reserve holds the smaller one.
    assert all(is_in_reserve(name, 0.3) for name, value in zip(names, chosen, strict=True) if value)
    assert not any(is_in_reserve(name, 0.0) for name in names)


def test_reserve_follows_the_fraction(tmp_path):
    selection = select_in(make_scene(), tmp_path, reserved_fraction=0.5)
    assert selection.reserved == selection.stars["is_reserved"].sum()
    assert 0.3 < selection.reserved / selection.kept < 0.7


def test_too_few_stars(tmp_path):
    scene = make_scene(shape=(200, 180))
    with pytest.raises(InputError) as info:
        select_in(scene, tmp_path, min_stars=30)
    sentence = str(info.value)
    assert "_sciimg.fits: only 16 stars kept of" in sentence
    assert "needs 30: loosen select_stars" in sentence


def test_no_star_at_all(tmp_path):
    blank = make_scene()._replace(data=add_noise(np.full((360, 440), SKY_ADU), 1))
    with pytest.raises(InputError, match=r"no source above 1.5 times the noise \(5.\d+ ADU\)"):
        select_in(blank, tmp_path)
    with pytest.raises(InputError, match=r"no star kept of \d+ \(faint \d+\); needs 10"):
        select_in(blank, tmp_path, detection_threshold=0.5)


def test_saturated_field(tmp_path):
    scene = make_scene()
    scene.header["SATURATE"] = 330.0
    with pytest.raises(InputError, match=r"no star kept .*saturated \d\d"):
        select_in(scene, tmp_path)


def test_zero_point_is_needed_for_detection_only(tmp_path):
    scene = make_scene()
    path = write_table(scene, tmp_path / "stars.csv")
    del scene.header["MAGZP"]
    with pytest.raises(InputError, match=r"MAGZP is missing.*or give a catalogue"):
        select_in(scene, tmp_path)
    quadrant, sky = load_scene(scene, tmp_path)
    assert len(find_sources(quadrant, sky, "table", path, make_criteria())) == len(scene.x)


@pytest.mark.parametrize(("name", "value"), [("MAX_PIXELS", 50), ("MAX_PARTS", 1)])
def test_limits_of_the_detection(tmp_path, monkeypatch, name, value):
    monkeypatch.setattr(detection, name, value)
    scene = make_scene(spacing_px=10)
    with pytest.raises(InputError, match="too crowded or too disturbed for detection"):
        select_in(scene, tmp_path)


def test_empty_table_has_the_columns_and_types():
    table = make_empty_table()
    assert list(table.columns) == list(COLUMNS)
    assert table["is_reserved"].dtype == bool


def test_mask_that_leaves_only_sources(tmp_path):
    """The radius of the sources would grow with its aperture, up to the whole image."""
    scene = make_scene(seed=8, shape=(300, 300), spacing_px=25)
    # Light of a wide kind between the stars, so that no sky is left under the sources.
    rows, columns = np.mgrid[:300, :300]
    scene.data[:] += 40 * np.sin(rows / 15) ** 2 * np.sin(columns / 15) ** 2
    scene.mask[scene.data < 190] = 1
    image, sky = load_scene(scene, tmp_path)
    with pytest.raises(InputError, match=r"half-light radius of \d+ px or more, a star 16 px"):
        find_sources(image, sky, "detection", "", make_criteria())
