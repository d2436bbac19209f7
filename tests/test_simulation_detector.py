"""The simulated detector: noise, flats, linearity, full wells, cosmic rays, overscan."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from ztfpsf.errors import InputError
from ztfpsf.simulation import cosmics
from ztfpsf.simulation.detector import led_response, make_amplifier
from ztfpsf.simulation.linearity import measured_adu, read_coefficients, table_name
from ztfpsf.simulation.night import simulate_amplifier
from ztfpsf.simulation.plan import plan_night
from ztfpsf.simulation.raw import amplifier_name
from ztfpsf.simulation.readout import collect, read_out
from ztfpsf.simulation.saturation import bleed
from ztfpsf.simulation.seeds import generator
from ztfpsf.simulation.settings import DetectorSettings, NightSettings, SkySettings
from ztfpsf.simulation.wcs import quadrant_wcs_header

NX, NY = 120, 100
# Nothing but light, gain and level.
QUIET = DetectorSettings(
    nx=NX,
    ny=NY,
    gain_spread=0.0,
    read_noise_electron=1e-6,
    bias_structure_adu=0.0,
    overscan_tilt_adu=0.0,
    pixel_response=0.0,
    vignetting=0.0,
    hot_fraction=0.0,
    dead_fraction=0.0,
    dead_columns=0,
)
SETTINGS = NightSettings(detector=replace(QUIET, pixel_response=0.008))


def test_amplifier_names_of_rotated_ccds():
    assert [amplifier_name(ccdid, 0) for ccdid in (1, 3, 6, 8)] == ["H", "F", "H", "F"]


@pytest.mark.parametrize("qid", [1, 2, 3, 4])
def test_last_pixels_of_a_row_trail_into_the_first_overscan_column(qid):
    settings = replace(QUIET, deferred_charge=0.1, overscan_tilt_adu=10.0)
    amplifier = make_amplifier(settings, 1, 13, qid)
    # Stored columns of the last pixel and of the first overscan column read.
    last, first = {1: (-1, 0), 4: (-1, 0), 2: (0, -1), 3: (0, -1)}[qid]
    electrons = np.zeros((NY, NX), dtype=np.float32)
    electrons[:, last] = 6200.0
    raw = read_out(electrons, amplifier, settings, generator(1, "x"))
    level = raw.overscan[:, 20 if first == 0 else -21]
    np.testing.assert_allclose(raw.overscan[:, first] - level, 100, atol=0.2)
    # Rows of q3 and q4 are read from the last stored one.
    slope = np.polyfit(np.arange(NY), level, 1)[0]
    assert np.sign(slope) == np.sign(amplifier.tilt_adu) * (1 if qid in (1, 2) else -1)
    np.testing.assert_allclose(raw.image[:, NX // 2], level, atol=0.02)


@pytest.mark.parametrize("kind", ["b", "f", "o"])
def test_noise_is_that_of_photons_and_amplifier(kind):
    sky = SkySettings(stars_per_quadrant=0, cosmic_rays_per_mpx_s=0.0)
    quiet = replace(QUIET, read_noise_electron=9.5)
    settings = replace(SETTINGS, detector=quiet, sky=sky)
    frame = next(frame for frame in plan_night(settings) if frame.kind == kind)
    amplifier = make_amplifier(quiet, 1, 13, 2)
    raw = simulate_amplifier(settings, frame, amplifier).raw
    signal = raw.image - np.median(raw.overscan[:, :20])
    read_noise = amplifier.read_noise_electron / amplifier.gain
    variance = max(np.median(signal), 0) / amplifier.gain + read_noise**2
    # Flats have a slope of their LED.
    flattened = signal - signal.mean(axis=0)
    flattened = flattened - flattened.mean(axis=1)[:, None]
    assert flattened.std() ** 2 == pytest.approx(variance, rel=5 / np.sqrt(signal.size))
    assert raw.overscan[:, :20].std() == pytest.approx(read_noise, rel=0.06)
    if kind == "o":
        assert np.median(signal) == pytest.approx(150, rel=0.01)


def test_few_and_many_electrons_have_poisson_s_moments():
    levels = (0.0, 50.0, 250.0, 1e5)
    expected = np.repeat(levels, 100)[:, None] * np.ones(1200)
    electrons = collect(expected.astype(np.float32), generator(1, "x")).astype(float)
    assert (electrons[:100] == 0).all()
    for k, level in enumerate(levels[1:], start=1):
        mine = electrons[100 * k : 100 * (k + 1)]
        error = 1 / np.sqrt(mine.size)
        assert mine.mean() == pytest.approx(level, abs=4 * np.sqrt(level) * error)
        assert mine.var() == pytest.approx(level, rel=4 * np.sqrt(2) * error)
        skewness = np.mean((mine - level) ** 3) / level**1.5
        assert skewness == pytest.approx(level**-0.5, abs=4 * np.sqrt(6) * error)


def test_flats_of_a_filter_average_to_the_response():
    settings = DetectorSettings(nx=NX, ny=NY)
    leds = (7, 8, 9, 10)
    amplifiers = [make_amplifier(settings, 1, 13, qid) for qid in (1, 2, 3, 4)]
    responses = np.stack([amplifier.response for amplifier in amplifiers])
    assert np.median(responses) == pytest.approx(1, abs=1e-3)
    patterns = [led_response(settings, amplifiers[0], led, leds) for led in leds]
    assert np.abs(patterns[0] - 1).max() > 1e-3
    np.testing.assert_allclose(np.mean(patterns, axis=0), 1, atol=1e-6)


@pytest.mark.parametrize(("a", "b"), [(-5.14e-12, 1.01e-7), (-1.34e-11, 7.6e-7), (0.0, 0.0)])
def test_linearity_is_undone_by_its_correction(a, b):
    true = np.array([-5.0, 0.0, 150.0, 1e3, 1e4, 4e4, 6e4])
    x = measured_adu(true, a, b)
    np.testing.assert_allclose(x / (a * x**2 + b * x + 1), true, rtol=1e-12, atol=1e-12)
    single = measured_adu(true.astype(np.float32), a, b)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, x, rtol=3e-7)


def test_linearity_tables_by_night(tmp_path):
    assert table_name("20191022").endswith("201803.txt")
    assert table_name("20191023").endswith("201910.txt")
    assert table_name("20200427").endswith("201910.txt")
    assert table_name("20200428").endswith("202004.txt")
    table = tmp_path / "table.txt"
    table.write_text("# CCDID, AMP_NAME, AMP_ID, A, B\n13\th  0\t-5.1E-12\t1.0E-07\n#\n")
    assert read_coefficients(table, 13, 0) == (-5.1e-12, 1e-7)
    with pytest.raises(InputError, match="CCD 13, amplifier 1"):
        read_coefficients(table, 13, 1)
    with pytest.raises(InputError, match="no such"):
        read_coefficients(tmp_path / "none", 13, 1)


def test_full_wells_bleed_along_the_column_and_keep_the_charge():
    electrons = np.full((50, 5), 10.0)
    electrons[20, 2], electrons[22, 2] = 850.0, 250.0
    before = electrons.sum(axis=0)
    full = bleed(electrons, 100.0)
    np.testing.assert_allclose(electrons.sum(axis=0), before)
    assert electrons.max() <= 100
    rows = np.flatnonzero(full[:, 2])
    assert rows.size == rows[-1] - rows[0] + 1
    assert rows[0] < 20 < rows[-1]
    assert not full[:, [0, 1, 3, 4]].any()


def test_charge_at_the_edge_is_lost():
    electrons = np.zeros((4, 1))
    electrons[0] = 1000.0
    assert bleed(electrons, 100.0).all()
    assert electrons.sum() == pytest.approx(400)


def test_cosmic_rays_leave_their_charge():
    tracks = cosmics.make_tracks(generator(1, "x"), 20, 400, 300)
    electrons = np.zeros((300, 400))
    touched = cosmics.add_tracks(electrons, tracks)
    assert (electrons > 0).sum() == touched.sum()
    inside = tracks[tracks["x_px"].between(100, 300) & tracks["y_px"].between(100, 200)]
    deposited = (inside["length_px"] * inside["electrons_per_px"]).sum()
    assert 0.5 * deposited < electrons.sum()


def test_given_stars_are_drawn(tmp_path):
    sky = SkySettings(catalogue=str(tmp_path / "none.parquet"))
    settings = replace(SETTINGS, sky=sky)
    amplifier = make_amplifier(settings.detector, 1, 13, 1)
    frame = plan_night(settings)[-1]
    with pytest.raises(InputError, match="catalogue"):
        simulate_amplifier(settings, frame, amplifier)
    header = quadrant_wcs_header(13, 1, NX, NY, settings.ra_deg, settings.dec_deg)
    centre = header["CRVAL1"], header["CRVAL2"]
    table = pd.DataFrame({"ra": [centre[0]], "dec": [centre[1]], "mag": [15.0]})
    table.to_parquet(tmp_path / "stars.parquet")
    settings = replace(SETTINGS, sky=replace(sky, catalogue=str(tmp_path / "stars.parquet")))
    scene = simulate_amplifier(settings, frame, amplifier).scene
    assert len(scene.stars) == 1
    assert scene.noiseless.max() > 1000


def test_brighter_stars_are_wider_with_the_silicon_sensor(tmp_path):
    header = quadrant_wcs_header(13, 1, NX, NY, SETTINGS.ra_deg, SETTINGS.dec_deg)
    centre = header["CRVAL1"], header["CRVAL2"]
    table = pd.DataFrame({"ra": [centre[0]], "dec": [centre[1]], "mag": [14.5]})
    table.to_parquet(tmp_path / "stars.parquet")
    quiet = replace(QUIET, full_well_adu=1e6)
    sky = SkySettings(
        catalogue=str(tmp_path / "stars.parquet"), brighter_fatter=5.0, cosmic_rays_per_mpx_s=0.0
    )
    settings = replace(SETTINGS, sky=sky, detector=quiet)
    amplifier = make_amplifier(quiet, 1, 13, 1)
    simulated = simulate_amplifier(settings, plan_night(settings)[-1], amplifier)
    star = simulated.raw.image - np.median(simulated.raw.overscan) - 150
    truth = simulated.scene.noiseless - 150
    assert star.sum() == pytest.approx(truth.sum(), rel=0.02)
    assert star.max() < 0.98 * truth.max()
