"""Stamps: cutting them out, and their file."""

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from quadrants import (
    GAIN,
    IMAGE,
    READ_NOISE_ELECTRON,
    SIGMA_PX,
    SKY_ADU,
    draw_source,
    load_scene,
    make_criteria,
    make_scene,
    to_flux,
)
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, read_provenance
from ztfpsf.stamps import (
    IMAGE_COLUMNS,
    STAR_COLUMNS,
    Stamps,
    concatenate,
    describe_failure,
    open_stamps,
    read_stamps,
    write_stamps,
)
from ztfpsf.stars.cutting import cut_image
from ztfpsf.stars.selection import select
from ztfpsf.stars.sources import find_sources


def select_in(quadrant, sky, **changes):
    criteria = make_criteria(**changes)
    sources = find_sources(quadrant, sky, "detection", "", criteria)
    return select(quadrant, sky, sources, criteria).stars


def make_sources(x, y, mag, reason=""):
    """A table of select_stars of given positions."""
    n = len(x)
    return pd.DataFrame(
        {
            "star_id": [f"star {i}" for i in range(n)],
            "ra_deg": 58.0,
            "dec_deg": 35.7,
            "mag": np.asarray(mag, dtype=float),
            "x_px": np.asarray(x, dtype=float),
            "y_px": np.asarray(y, dtype=float),
            "half_light_radius_px": 1.1774 * SIGMA_PX,
            "reason": reason,
            "is_reserved": False,
        }
    )


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    scene = make_scene(seed=40)
    quadrant, sky = load_scene(scene, tmp_path_factory.mktemp("scene"))
    stars = select_in(quadrant, sky)
    return quadrant, stars, cut_image(IMAGE, quadrant, sky, stars, 25)


def test_stamps_are_slices_of_the_image(cut):
    quadrant, stars, stamps = cut
    kept = stars[stars["reason"] == ""]
    assert list(stamps.stars["star_id"]) == list(kept["star_id"])
    assert stamps.data.shape == stamps.variance.shape == stamps.mask.shape == (len(kept), 25, 25)
    assert (stamps.data.dtype, stamps.variance.dtype, stamps.mask.dtype) == ("f4", "f4", "u1")
    for star, data in zip(stamps.stars.itertuples(), stamps.data, strict=True):
        expected = quadrant.data[star.y0_px : star.y0_px + 25, star.x0_px : star.x0_px + 25]
        np.testing.assert_array_equal(data, expected)
        assert abs(star.x0_px + 12 - star.x_px) <= 0.5
        assert abs(star.y0_px + 12 - star.y_px) <= 0.5


@pytest.mark.parametrize(
    ("x", "expected"), [(50.0, 38), (50.49, 38), (50.5, 39), (49.5, 38), (49.49, 37)]
)
def test_centre_is_the_nearest_pixel(cut, x, expected):
    quadrant, _, _ = cut
    stamps = cut_image(IMAGE, quadrant, make_flat_sky(quadrant), make_sources([x], [60], [16]), 25)
    assert stamps.stars["x0_px"].tolist() == [expected]
    assert stamps.stars["y0_px"].tolist() == [48]


def make_flat_sky(quadrant):
    from ztfpsf.stars.images import Sky

    return Sky(SKY_ADU, 5.33, quadrant.data - np.float32(SKY_ADU))


def test_local_sky_and_its_noise(cut):
    _, _, stamps = cut
    assert np.median(stamps.stars["sky_adu"]) == pytest.approx(SKY_ADU, abs=0.3)
    assert np.abs(stamps.stars["sky_adu"] - SKY_ADU).max() < 1.5
    assert np.median(stamps.stars["sky_rms_adu"]) == pytest.approx(5.33, rel=0.05)


def test_local_sky_follows_a_gradient(tmp_path):
    scene = make_scene(seed=41)
    slope = np.linspace(0, 100, scene.data.shape[1], dtype=np.float32)
    quadrant, sky = load_scene(scene._replace(data=scene.data + slope), tmp_path)
    stamps = cut_image(IMAGE, quadrant, sky, select_in(quadrant, sky), 25)
    expected = SKY_ADU + np.interp(stamps.stars["x_px"], np.arange(len(slope)), slope)
    difference = np.abs(stamps.stars["sky_adu"] - expected)
    is_whole = np.isfinite(stamps.stars["sky_error_adu"])
    assert difference[is_whole].max() < 2
    assert difference.max() < 5
    assert 0 < is_whole.sum() < len(is_whole)


def test_variance_is_that_of_the_noise_drawn(cut):
    """Sky, photon and read noise; in the core the smoothing takes its share."""
    _, _, stamps = cut
    sky_variance = SKY_ADU / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2
    corner = stamps.variance[:, :4, :4]
    assert np.median(corner) == pytest.approx(sky_variance, rel=0.02)
    # The median over stars says nothing about a neighbour.
    peak = stamps.data[:, 12, 12] / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2
    ratio = stamps.variance[:, 12, 12] / peak
    assert 0.4 < np.median(ratio) < 1.0
    total = (stamps.variance - sky_variance).sum(axis=(1, 2))
    photons = (stamps.data - SKY_ADU).sum(axis=(1, 2)) / GAIN
    bright = stamps.stars["mag"].to_numpy() < 15.5
    np.testing.assert_allclose(total[bright], photons[bright], rtol=0.05)


def test_bad_saturated_and_nan_pixels_are_masked(tmp_path):
    scene = make_scene(seed=42)
    scene.data[60, 70] = np.nan
    scene.data[61, 71] = 50_000
    scene.mask[62, 72] = 1 << 2
    scene.mask[63, 73] = (1 << 1) | (1 << 11)
    quadrant, _ = load_scene(scene, tmp_path)
    sources = make_sources([65], [58], [16])
    stamps = cut_image(IMAGE, quadrant, make_flat_sky(quadrant), sources, 25)
    x0, y0 = stamps.stars.loc[0, ["x0_px", "y0_px"]]
    masked = {(int(x) + x0, int(y) + y0) for y, x in zip(*np.nonzero(stamps.mask[0]), strict=True)}
    assert masked == {(70, 60), (71, 61), (72, 62)}
    assert np.isfinite(stamps.data).all()
    assert stamps.data[0, 60 - y0, 70 - x0] == np.float32(stamps.stars.loc[0, "sky_adu"])
    assert (stamps.variance > 0).all()
    # The saturated pixel does not leak into the variance of those around it.
    assert stamps.variance[0, 61 - y0, 70 - x0] < 2 * (SKY_ADU / GAIN + 2.25)


def test_neighbours_are_masked_and_the_star_is_not(tmp_path):
    scene = make_scene(seed=43)
    data = scene.data.astype(float)
    x, y = scene.x[30], scene.y[30]
    draw_source(data, x + 8, y, to_flux(17.0))
    quadrant, _ = load_scene(scene._replace(data=data.astype(np.float32)), tmp_path)
    sources = make_sources([x, x + 8, x + 4, x - 200], [y, y, y + 9, y], [15, 17, 27, 12])
    sources.loc[1:, "reason"] = "neighbour"
    stamps = cut_image(IMAGE, quadrant, make_flat_sky(quadrant), sources, 25)
    mask = stamps.mask[0]
    assert len(stamps.stars) == 1
    column, row = round(x + 8) - stamps.stars.loc[0, ["x0_px"]].item(), 12
    assert mask[row, column] == 1
    # Half-way to the neighbour begins its realm; the source of 27 mag is never seen.
    assert not mask[:, :16].any()
    assert 5 < mask.sum() < 80


def test_stamp_over_the_edge_is_one_sentence(cut):
    quadrant, _, _ = cut
    sky = make_flat_sky(quadrant)
    with pytest.raises(InputError, match="a stamp of 25 px reaches over the edge"):
        cut_image(IMAGE, quadrant, sky, make_sources([11.4], [60], [16]), 25)
    cut_image(IMAGE, quadrant, sky, make_sources([11.5], [60], [16]), 25)
    with pytest.raises(InputError, match="a stamp of 25 px reaches over the edge"):
        cut_image(IMAGE, quadrant, sky, make_sources([60], [347.5], [16]), 25)
    cut_image(IMAGE, quadrant, sky, make_sources([60], [347.4], [16]), 25)


@pytest.mark.parametrize("size_px", [1, 24])
def test_even_or_tiny_stamps_are_refused(cut, size_px):
    quadrant, _, _ = cut
    with pytest.raises(InputError, match="must be odd"):
        cut_image(IMAGE, quadrant, make_flat_sky(quadrant), make_sources([60], [60], [16]), size_px)


def test_a_star_whose_surroundings_are_bad_has_the_sky_of_the_image(cut):
    quadrant, _, _ = cut
    bad = np.ones_like(quadrant.bad)
    bad[54:67, 54:67] = False
    alone = quadrant._replace(bad=bad)
    stamps = cut_image(IMAGE, alone, make_flat_sky(alone), make_sources([60], [60], [16]), 21)
    assert stamps.stars.loc[0, ["sky_adu", "sky_rms_adu"]].tolist() == [
        np.float32(SKY_ADU),
        np.float32(5.33),
    ]


# --- the file ---


def test_file_and_back(cut, tmp_path):
    _, _, stamps = cut
    path = tmp_path / "stamps.fits"
    both = concatenate([stamps.images, describe_failure("other", "bad: seeing")], [stamps], 25)
    write_stamps(both, path, make_provenance(["a.fits"], {"size_px": 25}))
    back = read_stamps(path)
    for one, two in zip(both[2:], back[2:], strict=True):
        np.testing.assert_array_equal(one, two)
        assert two.dtype == one.dtype
        assert two.dtype.isnative
    pd.testing.assert_frame_equal(back.stars, both.stars, check_dtype=False)
    pd.testing.assert_frame_equal(back.images, both.images, check_dtype=False)
    assert back.images["status"].tolist() == ["ok", "bad: seeing"]
    assert read_provenance(path)["settings"] == {"size_px": 25}


def test_file_is_plain_fits(cut, tmp_path):
    _, _, stamps = cut
    write_stamps(stamps, tmp_path / "stamps.fits", make_provenance([], {}))
    with fits.open(tmp_path / "stamps.fits", checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == [
            "PRIMARY", "IMAGES", "STARS", "DATA", "VARIANCE", "MASK"
        ]  # fmt: skip
        assert hdus["IMAGES"].columns.names == list(IMAGE_COLUMNS)
        assert hdus["STARS"].columns.names == list(STAR_COLUMNS)
        assert hdus["IMAGES"].data["gain"][0] == GAIN
        assert hdus["STARS"].data["x0_px"][0] == stamps.stars["x0_px"][0]


def test_file_without_a_star(tmp_path):
    empty = concatenate([describe_failure("a", "no star")], [], 25)
    write_stamps(empty, tmp_path / "stamps.fits", make_provenance([], {}))
    back = read_stamps(tmp_path / "stamps.fits")
    assert back.data.shape == back.mask.shape == (0, 25, 25)
    assert len(back.stars) == 0
    assert list(back.stars.columns) == list(STAR_COLUMNS)


def test_sentences_that_are_not_ascii_can_be_stored(tmp_path):
    empty = concatenate([describe_failure("a", "Café: broken")], [], 5)
    write_stamps(empty, tmp_path / "stamps.fits", make_provenance([], {}))
    assert read_stamps(tmp_path / "stamps.fits").images["status"][0] == "Caf?: broken"


def test_bad_files(cut, tmp_path):
    _, _, stamps = cut
    path = tmp_path / "stamps.fits"
    with pytest.raises(InputError, match="no such file; make it with the rule cut_stamps"):
        read_stamps(path)
    write_stamps(stamps, path, make_provenance([], {}))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    again = "; delete it and make it again with the rule cut_stamps"
    with pytest.raises(InputError, match=rf"not a complete FITS file \(.* are there\){again}"):
        read_stamps(path)
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(path, overwrite=True)
    with pytest.raises(InputError, match=f"another version or program wrote it{again}"):
        read_stamps(path)


def test_images_of_a_unit_are_joined_in_order(cut):
    _, _, stamps = cut
    other = Stamps(stamps.images.assign(image="b"), stamps.stars.assign(image="b"), *stamps[2:])
    both = concatenate([stamps.images, other.images], [stamps, other], 25)
    assert both.images["image"].tolist() == [IMAGE, "b"]
    assert both.stars["image"].tolist() == [IMAGE] * len(stamps.stars) + ["b"] * len(stamps.stars)
    assert len(both.data) == 2 * len(stamps.data)
    assert both.stars.index.tolist() == list(range(len(both.data)))


def test_some_rows_of_a_file(cut, tmp_path):
    _, _, stamps = cut
    path = tmp_path / "stamps.fits"
    write_stamps(stamps, path, make_provenance([], {}))
    file = open_stamps(path)
    for rows in (np.array([7, 2, 3]), np.zeros(0, int)):
        some = file.take(rows)
        assert list(some.stars["star_id"]) == list(stamps.stars["star_id"].iloc[rows])
        for name in ("data", "variance", "mask"):
            np.testing.assert_array_equal(getattr(some, name), getattr(stamps, name)[rows])
            assert getattr(some, name).dtype == getattr(stamps, name).dtype
