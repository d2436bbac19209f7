"""Single steps of the calibration against printed reference values and hand-made arrays."""

import numpy as np
import pytest
from ztfpsf.calibration import linearity, pocket
from ztfpsf.calibration.combine import Noise, clipped_mean, median
from ztfpsf.calibration.cosmics import Cosmics, find_cosmics
from ztfpsf.calibration.mask import BITS, DEFAULT_BAD, bad_pixels, grow, local_medians, mask_flat
from ztfpsf.calibration.orientation import (
    mosaic,
    overscan_columns,
    read_to_stored,
    stored_to_read,
    stored_to_sky,
)
from ztfpsf.calibration.overscan import Overscan, overscan_model, smooth_levels
from ztfpsf.errors import InputError
from ztfpsf.focal_plane import quadrant_offset_px
from ztfpsf.names import parse_raw
from ztfpsf.nights import nearest_night
from ztfpsf.simulation.linearity import measured_adu

# --- names ---


@pytest.mark.parametrize(
    "path",
    [
        "raw/2019/0321/080278/ztf_20190321080278_000000_bi_c01_b.fits.fz",
        "raw/2019/0314/080532/ztf_20190314080532_000000_zg_c04_f.fits.fz",
        "raw/2020/0401/152477/ztf_20200401152477_000517_zg_c06_o.fits.fz",
    ],
)
def test_raw_names_round_trip(path):
    assert parse_raw(path.rsplit("/", 1)[1]).path() == path


@pytest.mark.parametrize(
    "name",
    [
        "ztf_20191321080278_000000_bi_c01_b.fits.fz",
        "ztf_20190321080278_000000_bi_c17_b.fits.fz",
        "ztf_20190321080278_000000_bi_c01_b",
        "ztf_20190709485764_000600_zg_c04_o_q4_sciimg.fits",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="is not the name of a raw ZTF file"):
        parse_raw(name)


# --- orientation ---


def test_orientation_of_the_quadrants():
    stored = np.arange(6).reshape(2, 3)
    first_read = {1: 0, 2: 2, 3: 5, 4: 3}
    for qid, value in first_read.items():
        assert stored_to_read(stored, qid)[0, 0] == value
        np.testing.assert_array_equal(read_to_stored(stored_to_read(stored, qid), qid), stored)
    assert stored_to_sky(stored)[0, 0] == 5
    assert overscan_columns(1, 30, 25, 30) == slice(25, 30)
    assert overscan_columns(2, 30, 25, 30) == slice(0, 5)


def test_mosaic_is_q2_q1_over_q3_q4():
    ccd = mosaic({qid: np.full((2, 3), qid) for qid in (1, 2, 3, 4)})
    assert ccd.shape == (4, 6)
    # Row 0 is the south, column 0 the west.
    assert (ccd[3, 0], ccd[3, 5], ccd[0, 0], ccd[0, 5]) == (2, 1, 3, 4)


def test_focal_plane_layout():
    # CRVAL and pointing of ztf_20190606224213_000667_zr_c03_q2 (real header).
    east, north = quadrant_offset_px(3, 2)
    assert east * 1.0126 / 3600 == pytest.approx(
        (147.483739 - 149.057) * np.cos(np.radians(32.1)), abs=0.05
    )
    assert north * 1.0126 / 3600 == pytest.approx(30.864759 - 33.35, abs=0.05)


# --- overscan ---


def test_overscan_reference_values():
    row = np.arange(3080)
    levels = 125 + 0.8 * (row / 3079) + 0.3 * np.sin(0.7 * row)
    model = smooth_levels(levels, Overscan())
    np.testing.assert_allclose(model[[0, 1540, 3079]], [125.00083, 125.40011, 125.79929], atol=6e-6)


@pytest.mark.parametrize("qid", [1, 2, 3, 4])
def test_overscan_follows_the_stored_rows_and_late_columns(qid):
    ny = 300
    tilt = 100 + 5 * np.linspace(0, 1, ny) * (-1) ** qid
    strip = np.repeat(tilt[:, None], 30, axis=1)
    deferred = 125 * np.exp(-np.arange(30) / 4.0)
    strip = strip + (deferred[::-1] if qid in (2, 3) else deferred)
    strip[7] = 60000  # bleeding into the overscan
    model = overscan_model(strip.astype(np.float32), qid, Overscan())
    slope = np.polyfit(np.linspace(0, 1, ny), model - tilt, 1)[0]
    assert abs(slope) < 0.01
    assert np.abs(model - tilt).max() < 0.3


def test_overscan_with_missing_rows():
    levels = np.full(100, 50.0)
    levels[::3] = np.nan
    np.testing.assert_allclose(smooth_levels(levels, Overscan()), 50)
    with pytest.raises(InputError, match="0 of 100 overscan rows"):
        smooth_levels(np.full(100, np.nan), Overscan())


@pytest.mark.parametrize("settings", [{"statistic": "mode"}, {"first_column": 30}, {"order": -1}])
def test_overscan_settings(settings):
    with pytest.raises(InputError, match="overscan"):
        Overscan(**settings)


# --- linearity ---

NIGHTS = [
    ("20191022", 0, (999.347, 9944.806, 39638.497, 59964.022)),
    ("20191023", 0, (999.254, 9937.789, 39644.783, 60158.819)),
    ("20200427", 0, (999.254, 9937.789, 39644.783, 60158.819)),
    ("20200428", 0, (999.904, 9995.042, 40168.063, 60756.048)),
    ("20200428", 8, (999.937, 9999.350, 40292.686, 61125.940)),
    ("20200428", 15, (999.943, 10000.130, 40314.615, 61190.648)),
    ("20200428", 63, (999.755, 9983.428, 40157.417, 61002.887)),
]


@pytest.mark.parametrize(("night", "rcid", "expected"), NIGHTS)
def test_linearity_reference_values(night, rcid, expected):
    a, b = linearity.coefficients(night, rcid // 4 + 1, rcid % 4)
    x = np.array([1e3, 1e4, 4e4, 6e4])
    y = linearity.correct_linearity(x, a, b)
    np.testing.assert_allclose(y, expected, atol=6e-4)
    np.testing.assert_allclose(measured_adu(y, a, b), x, rtol=1e-12)
    single = linearity.correct_linearity(x.astype(np.float32), a, b)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, y, rtol=3e-7)


def test_linearity_keys_disagree_on_rotated_ccds_only():
    # AMP_NAME of AMP_ID 0 is H on CCD 1 and F on CCD 3.
    by_id = {ccd: linearity.coefficients("20180101", ccd, 0) for ccd in (1, 3)}
    assert by_id[1] == linearity.coefficients("20180101", 1, "H")
    assert by_id[3] != linearity.coefficients("20180101", 3, "F")
    with pytest.raises(InputError, match="no amplifier 'Z'"):
        linearity.coefficients("20180101", 1, "Z")


# --- pocket effect ---

POCKET = pocket.Pocket(alpha=1.42532, cmax=415.294, beta=0.463982, nmax=117404.155)


@pytest.mark.parametrize(
    ("signal", "first", "trail"),
    [
        (
            200.0,
            (178.435004, 186.142182, 193.441687, 197.313218, 198.967254),
            (18.220199, 8.935634, 5.178100, 3.304752),
        ),
        (
            2000.0,
            (1937.232933, 1978.406220, 1997.415822),
            (44.866239, 16.006457, 8.126522, 4.796888),
        ),
    ],
)
def test_pocket_reference_values(signal, first, trail):
    row = np.concatenate([np.full(3072, signal), np.zeros(30)])[None]
    observed = pocket.forward(row, POCKET)[0]
    # The parameters are printed with six digits, which leaves 1e-4 ADU.
    np.testing.assert_allclose(observed[: len(first)], first, atol=1e-4)
    np.testing.assert_allclose(observed[3072 : 3072 + len(trail)], trail, atol=1e-4)


@pytest.mark.parametrize("qid", [1, 2, 3, 4])
def test_pocket_is_inverted(qid):
    rng = np.random.default_rng(2)
    stored = rng.normal(800, 12, (20, 300))
    stored[5, 100] = 20000
    observed = read_to_stored(pocket.forward(stored_to_read(stored, qid), POCKET), qid)
    assert np.abs(observed - stored).max() > 10
    corrected = pocket.correct_pocket(observed, qid, POCKET)
    assert np.abs(corrected - stored).max() < 0.02


def test_pocket_parameters(tmp_path):
    path = tmp_path / "pocket.yaml"
    path.write_text(
        "data:\n- {ccdid: 1, qid: 1, pars: {alpha: 1.4, cmax: 415, beta: 0.46, nmax: 117404}}\n"
    )
    assert pocket.read_pockets(path) == {(1, 1): pocket.Pocket(1.4, 415, 0.46, 117404)}
    path.write_text("data: [{ccdid: 1}]")
    with pytest.raises(InputError, match="not a table of pocket parameters"):
        pocket.read_pockets(path)


@pytest.mark.parametrize("cmax", ["-415", "0", ".nan", ".inf"])
def test_pocket_parameters_that_describe_no_trap(tmp_path, cmax):
    path = tmp_path / "pocket.yaml"
    path.write_text(
        f"data:\n- {{ccdid: 1, qid: 2, pars: {{alpha: 1, cmax: {cmax}, beta: 1, nmax: 1}}}}\n"
    )
    with pytest.raises(InputError, match=r"CCD 1 quadrant 2 describes no trap"):
        pocket.read_pockets(path)


# --- combination ---


@pytest.mark.parametrize("n", range(1, 22))
def test_median_of_any_number(n):
    values = np.random.default_rng(n).normal(size=(n, 300)).astype(np.float32)
    np.testing.assert_allclose(median(values), np.median(values, axis=0), rtol=1e-6)
    values[:, ::7] = np.nan
    values[0, ::5] = np.nan
    with np.errstate(all="ignore"):
        expected = [
            np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else np.nan for c in values.T
        ]
    np.testing.assert_allclose(median(values), expected, rtol=1e-6)


def test_one_outlier_of_five_is_found():
    rng = np.random.default_rng(0)
    stack = rng.normal(100, 2, (5, 40, 50)).astype(np.float32)
    stack[3, 10, 20] += 30
    stack[:, 1, 1] = np.nan
    combined = clipped_mean(stack, Noise(2.0), 4.0)
    assert combined.n_frames[10, 20] == 4
    assert abs(combined.mean[10, 20] - 100) < 4
    assert combined.n_frames[1, 1] == 0
    assert np.isnan(combined.mean[1, 1])
    assert np.nanstd(combined.mean) == pytest.approx(2 / np.sqrt(5), rel=0.05)


def test_noise_grows_with_light():
    np.testing.assert_allclose(Noise(2.0, 4.0).variance(np.array([-5.0, 100.0])), [4, 29])


# --- masks ---


def test_mask_values():
    assert DEFAULT_BAD == 6141
    assert BITS["brightstarhalo"] == 4096
    mask = np.array([0, 2, 2048, 2050, 1, 4096], np.int16)
    np.testing.assert_array_equal(bad_pixels(mask), [False, False, False, False, True, True])


def test_flat_mask_and_local_medians():
    flat = np.linspace(0.8, 1.2, 100)[None] * np.ones((70, 1))
    flat = flat.astype(np.float32)
    flat[3, 4], flat[5, 6], flat[7, 8], flat[9, 10] = 0.05, 0.5, 2.0, np.nan
    mask = mask_flat(flat, low=0.8, high=1.2, dead=0.1)
    assert mask[3, 4] == BITS["dead"] | BITS["lowresponsivity"]
    assert mask[5, 6] == BITS["lowresponsivity"]
    assert mask[7, 8] == BITS["highresponsivity"]
    assert mask[9, 10] & BITS["nan"]
    assert (mask != 0).sum() == 4
    medians = {rows.start: typical for rows, typical in local_medians(flat)}
    assert sorted(medians) == [0, 32, 64]
    for first, typical in medians.items():
        expected = np.nanmedian(flat[first : first + 32, 32:64])
        assert typical[40] == pytest.approx(expected, abs=0.01)
        assert len(typical) == 100


def test_grow_stays_inside():
    where = np.zeros((5, 6), bool)
    where[0, 0] = where[4, 5] = True
    assert grow(where, 1).sum() == 8


@pytest.mark.parametrize("fwhm_px", [1.0, 1.6, 2.5])
def test_cosmic_rays_but_no_stars(fwhm_px):
    import galsim

    rng = np.random.default_rng(3)
    scene = np.full((400, 380), 300.0)
    moffat = galsim.Moffat(beta=2.9, fwhm=fwhm_px)
    for y in range(20, 380, 30):
        for x in range(20, 360, 30):
            star = moffat.shift(*rng.uniform(-0.5, 0.5, 2)).withFlux(10 ** rng.uniform(2.5, 5.5))
            scene[y - 10 : y + 11, x - 10 : x + 11] += star.drawImage(nx=21, ny=21, scale=1).array
    hits = np.zeros(scene.shape, bool)
    hits[5 + np.arange(0, 370, 30), 5 + np.arange(0, 370, 30)] = True
    hits[35, 100:105] = True  # a track
    image = rng.poisson(scene * 6.2) / 6.2 + rng.normal(0, 1.6, scene.shape) + 400 * hits
    image, variance = image.astype(np.float32), (scene / 6.2 + 2.6).astype(np.float32)
    found = find_cosmics(image, variance, np.zeros(scene.shape, bool), Cosmics())
    assert found[hits].mean() > 0.9
    assert not (found & ~grow(hits, 1)).any()


# --- nights ---


@pytest.mark.parametrize(
    ("night", "nights", "expected"),
    [
        ("20200101", ["20191231", "20200103"], "20191231"),
        ("20191231", ["20200101"], "20200101"),
        ("20200310", ["20200309", "20200311"], "20200309"),
        ("20200310", ["20200310", "20200311"], "20200310"),
    ],
)
def test_nearest_night(night, nights, expected):
    assert nearest_night(night, nights, 7, "bias") == expected


def test_no_night_is_near_enough():
    with pytest.raises(InputError, match=r"no bias of CCD 3 within 7 days of 20200401 .*20200101"):
        nearest_night("20200401", ["20200101"], 7, "bias of CCD 3")
    with pytest.raises(InputError, match="is not a night"):
        nearest_night("20201301", [], 7, "bias")
