"""The law from stars and first columns that a simulated pocket of electrons has changed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from pocket_stars import GAIN, SHARPNESS, PocketStars, make_pocket_stars
from ztfpsf.errors import InputError
from ztfpsf.io import make_provenance, write_table
from ztfpsf.names import parse_quadrant
from ztfpsf.pocket import estimate
from ztfpsf.pocket.edge import Edge, measure_edge, predict_edge
from ztfpsf.pocket.estimate import LawFit, LawImage, measure_law
from ztfpsf.pocket.flat import NO_FLAT, draw_flat, measure_flat
from ztfpsf.pocket.law import NO_POCKET, Pocket, forward, keep
from ztfpsf.pocket.table import (
    GIVEN,
    MEASURED,
    NONE,
    Law,
    describe_fit,
    find_law,
    make_row,
    no_law,
    read_laws,
    read_misfits,
    read_pockets,
)
from ztfpsf.pocket.unit import MEASURE, PocketSettings, Readable, find_laws, undo_flat
from ztfpsf.psf.profile.star import FLUX
from ztfpsf.simulation.pocket import make_catch
from ztfpsf.stars.images import ScienceImage

SKY_ADU, CAPACITY_ADU = 158.0, 285.0
NAME = parse_quadrant("ztf_20200924431759_000655_zr_c13_o_q1")
LATER = parse_quadrant("ztf_20210924431759_000655_zr_c13_o_q1")
SLOPE = np.array([1.0, 0.1, 0.0, 0.0, 0.0, 0.0])
SETTINGS = PocketSettings(MEASURE, max_images=2, max_days=100.0)


def simulate(capacity_adu: float) -> PocketStars:
    mag = np.random.default_rng(1).uniform(14.5, 18.5, 220)
    nobody = np.zeros(len(mag), bool)
    return make_pocket_stars(
        mag, nobody, sky_adu=SKY_ADU, host_adu=0.0, capacity_adu=capacity_adu, seed=2
    )


@pytest.fixture(scope="module")
def stars() -> PocketStars:
    return simulate(CAPACITY_ADU)


@pytest.fixture(scope="module")
def fit(stars: PocketStars) -> LawFit:
    return measure_law([LawImage(stars.stamps, stars.edge)], 1)


def true_law(charge_adu: np.ndarray) -> np.ndarray:
    catch = make_catch(round(CAPACITY_ADU * GAIN), SHARPNESS).mean / GAIN
    return np.interp(charge_adu * GAIN, np.arange(len(catch)), catch)


def test_law_is_that_of_the_electrons(fit: LawFit) -> None:
    # In reach of the sky and its first columns, and where stars tell.
    charge = np.array([158.0, 280.0, 350.0, 390.0, 600.0, 1200.0])
    pull = (keep(fit.drops, charge) - true_law(charge)) / np.hypot(fit.error_adu(charge), 0.5)
    assert np.abs(pull).max() < 3.5
    assert fit.is_found
    # What the pocket keeps from one pixel for the next smooths their noise.
    assert 0.6 < fit.chi2_per_pixel < 1.05
    assert (fit.drops >= 0).all()
    assert fit.drops.sum() < 1


def test_the_brightest_stars_lead_to_the_same_law(
    stars: PocketStars, fit: LawFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = LawImage(stars.stamps, stars.edge)
    state = estimate._begin(image, 1)
    assert state.n_stars > estimate.STARS_AT_ONCE
    assert (np.diff(np.asarray(state.stars.stars)[: state.n_stars, FLUX]) <= 0).all()
    monkeypatch.setattr(estimate, "LEADERS", estimate.STARS_AT_ONCE)
    charge = np.array([158.0, 280.0, 350.0, 390.0, 600.0, 1200.0])
    change = keep(measure_law([image], 1).drops, charge) - keep(fit.drops, charge)
    assert 0 < np.abs(change / fit.error_adu(charge)).max() < 0.3


def test_first_columns_are_predicted(stars: PocketStars, fit: LawFit) -> None:
    predicted, slopes = predict_edge(fit.drops, stars.edge.sky_adu)
    assert np.abs(predicted - stars.edge.observed_adu).max() < 1.0
    step = 1e-4 * np.arange(1, len(fit.drops) + 1)
    other, _ = predict_edge(fit.drops + step, stars.edge.sky_adu)
    np.testing.assert_allclose(other - predicted, slopes @ step, rtol=1e-2)


def test_the_other_direction_is_worse(stars: PocketStars, fit: LawFit) -> None:
    reversed_fit = measure_law([LawImage(stars.stamps, stars.edge)], -1)
    assert reversed_fit.chi2_per_pixel > fit.chi2_per_pixel + 0.01


def test_without_a_pocket_none_is_found() -> None:
    stars = simulate(0.0)
    fit = measure_law([LawImage(stars.stamps, stars.edge)], 1)
    assert not fit.is_found
    found = find_laws({NAME: readable(stars)}, None, SETTINGS)[NAME]
    assert found.source == NONE
    assert found.pocket is NO_POCKET
    assert "no pocket is seen" in found.reason


def readable(stars: PocketStars) -> Readable:
    return Readable(stars.stamps, NO_FLAT, stars.edge, "", 5.0, is_inverted=False)


def test_images_without_a_law_say_why(stars: PocketStars, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "MIN_STARS", 1000)
    cases = {
        "its sky is 2.0 ADU, so it was subtracted": readable(stars)._replace(
            stamps=stars.stamps._replace(sky_level_adu=2.0)
        ),
        "its pixels were freed": readable(stars)._replace(is_inverted=True),
        "no whole quadrant": readable(stars)._replace(edge=None, edge_reason="no whole quadrant"),
        "1000 are needed: give its law from elsewhere": readable(stars),
    }
    for words, image in cases.items():
        law = find_laws({NAME: image}, None, SETTINGS)[NAME]
        assert law.source == NONE
        assert words in law.reason
        assert (law.pocket.drops == 0).all()


def write_laws(path: Path, fit: LawFit) -> None:
    law = Law(MEASURED, "", Pocket(fit.drops, NO_FLAT, np.array(-1.0)), describe_fit(fit))
    write_table(pd.DataFrame([make_row(NAME, law, None)]), path, make_provenance([], {}))


def test_a_law_that_is_not_that_of_the_image(tmp_path: Path, fit: LawFit) -> None:
    path = tmp_path / "x_pocket.parquet"
    wrong = Law(GIVEN, "", Pocket(0.9 * fit.drops, NO_FLAT, np.array(1.0)), {})
    right = wrong._replace(pocket=Pocket(fit.drops, NO_FLAT, np.array(1.0)))
    predicted, _ = predict_edge(fit.drops, SKY_ADU)
    edge = Edge(predicted, np.full(len(predicted), 0.1), SKY_ADU)
    rows = [make_row(NAME, right, edge), make_row(LATER, wrong, edge)]
    rows.append(make_row(NAME._replace(qid=2), no_law("cutout"), edge))
    write_table(pd.DataFrame(rows), path, make_provenance([], {}))
    misfits = read_misfits(path)
    assert misfits[str(NAME)] == 0
    assert misfits[str(LATER)] > 3
    assert np.isnan(misfits.iloc[2])


def test_laws_of_a_table_serve_others(tmp_path: Path, fit: LawFit) -> None:
    path = tmp_path / "x_pocket.parquet"
    write_laws(path, fit)
    pocket = read_pockets(path)[str(NAME)]
    np.testing.assert_allclose(pocket.drops, fit.drops)
    assert pocket.direction == -1
    laws = read_laws(tmp_path)
    found = find_law(laws, NAME, SLOPE, 1.0)
    assert found.source == GIVEN
    # The flat is that of the image.
    np.testing.assert_array_equal(found.pocket.flat, SLOPE)
    np.testing.assert_allclose(found.pocket.drops, fit.drops)
    with pytest.raises(
        InputError, match=r"365 days away, more than measure_pocket\.max_days = 100"
    ):
        find_law(laws, LATER, SLOPE, 100.0)
    with pytest.raises(InputError, match="no law of CCD 13 quadrant 2"):
        find_law(laws, NAME._replace(qid=2), SLOPE, 100.0)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no law that was measured"):
        read_laws(empty)


@pytest.mark.parametrize("direction", [1, -1])
def test_edge_of_an_image(fit: LawFit, direction: int) -> None:
    random = np.random.default_rng(3)
    rows = forward(fit.drops, np.full((400, 60), SKY_ADU), 0.0)
    rows = (rows + random.normal(0, 5, rows.shape)).astype(np.float32)[:, ::direction]
    nothing = np.zeros(rows.shape, bool)
    image = ScienceImage("x", rows, fits.Header(), nothing, nothing, GAIN, 9.5, 5e4)
    edge = measure_edge(image, direction)
    assert edge is not None
    predicted, _ = predict_edge(fit.drops, SKY_ADU)
    assert np.abs((edge.observed_adu - predicted) / edge.error_adu).max() < 4
    saturated = image._replace(saturated=~nothing)
    assert measure_edge(saturated, direction) is None


def test_the_flat_is_in_the_noise_of_the_sky() -> None:
    random = np.random.default_rng(5)
    flat = np.array([1.0, 0.08, -0.03, 0.01, 0.0, 0.0])
    y_px, x_px = np.indices((1280, 1536))
    factor = draw_flat(flat, x_px, y_px, 1536, 1280)
    charge = SKY_ADU * factor
    noise = np.sqrt(charge / GAIN + (9.5 / GAIN) ** 2) * random.standard_normal(charge.shape)
    data = ((charge + noise) / factor).astype(np.float32)
    nothing = np.zeros(data.shape, bool)
    image = ScienceImage("x", data, fits.Header(), nothing, nothing, GAIN, 9.5, 5e4)
    # A block of 256 px tells its flat to 0.8 %.
    np.testing.assert_allclose(measure_flat(image), flat, atol=0.02)
    small = image._replace(data=data[:512], bad=nothing[:512], saturated=nothing[:512])
    np.testing.assert_array_equal(measure_flat(small), NO_FLAT)


def test_stamps_are_fitted_as_the_register_held_them(stars: PocketStars) -> None:
    """A law is that of charge, whatever the flat made of it."""
    stamps = undo_flat(stars.stamps, SLOPE)
    factor = draw_flat(SLOPE, stamps.x_px, stamps.y_px, stamps.nx, stamps.ny)
    np.testing.assert_allclose(stamps.sky_adu, factor * stars.stamps.sky_adu)
    np.testing.assert_allclose(stamps.data, factor[:, None, None] * stars.stamps.data)
    signal = stamps.data / np.sqrt(stamps.variance)
    np.testing.assert_allclose(signal, stars.stamps.data / np.sqrt(stars.stamps.variance))
