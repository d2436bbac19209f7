"""Objects in the exposures of several groups; zero points, flags, verdicts of light curves."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ztfpsf.errors import InputError
from ztfpsf.group.maps import OK, GroupMaps, Map, Refraction
from ztfpsf.io import write_table
from ztfpsf.lightcurve.calibration import find_zero_point, take_survey
from ztfpsf.lightcurve.flags import Flag, Limits, find_flags
from ztfpsf.lightcurve.sights import Group, find_sights, find_status, order_groups, tie_groups
from ztfpsf.lightcurve.tables import describe_star, judge

N = 4
CENTRE = (10.0, 20.0)
OFFSET_MAG = 0.3  # of the second group's magnitudes


def make_group(name: str, n_good: int, offset_mag: float, first_star: int) -> Group:
    """Exposures with a map each; 20 stars, of which neighbours share 10."""
    exposures = pd.DataFrame(
        {
            "image": [f"{name}_{number}" for number in range(N)],
            "mjd": 59000.0 + np.arange(N),
            "airmass": 1.2,
            "parallactic_deg": 30.0,
            "verdict": "good",
            "reason": "",
            "status": OK,
        }
    )
    # x to the West, y to the South, a pixel an arcsec.
    coefficients = np.zeros((2, 10))
    coefficients[:, 0], coefficients[0, 1], coefficients[1, 2] = 500.0, -100.0, -100.0
    one = Map(1, coefficients, np.full((2, 10, 10), 1e-6), 0.02, 50, OK)
    maps = GroupMaps([one] * N, CENTRE, 100.0, Refraction(0.0, np.nan, np.nan))
    ratio = np.zeros((N, 6))
    ratio[:, 0], ratio[:, 1] = 0.1 * np.arange(N), 0.05
    covariance = np.zeros((N, 6, 6))
    covariance[:, 0, 0] = 1e-6
    ratios = pd.DataFrame(
        {
            "nx": 1000.0,
            "ny": 1000.0,
            "coefficients": list(ratio),
            "covariance": list(covariance.reshape(N, -1)),
            "n_stars": 20,
            "status": [OK] * n_good
            + ["its 20 stars scatter too much; clouds, or a bad PSF."] * (N - n_good),
        }
    )
    star = np.arange(first_star, first_star + 20)
    error = 0.001 * np.random.default_rng(first_star).normal(size=20)
    stars = pd.DataFrame(
        {
            "ra_deg": CENTRE[0] + 0.01 * star,
            "dec_deg": CENTRE[1],
            "mag": -10.0 + 0.1 * star + offset_mag + error,
            "mag_rms": 0.004,
            "scatter_mag": 0.003,
            "n_used": 16,
        }
    )
    return Group(name, exposures, maps, ratios, stars)


@pytest.fixture
def groups() -> list[Group]:
    second = make_group("second", 3, OFFSET_MAG, 10)
    return order_groups([second, make_group("first", 4, 0.0, 0), make_group("far", 2, 0.0, 90)])


def test_the_group_with_most_exposures_is_the_scale(groups: list[Group]) -> None:
    assert [group.name for group in groups] == ["first", "second", "far"]
    ties = tie_groups(groups, 1.0)
    assert ties[0][:2] == (0.0, 0.0)
    assert ties[1].n_stars == 10
    # 10 stars of 1 mmag in each group.
    assert ties[1].offset_mag == pytest.approx(OFFSET_MAG, abs=4 * ties[1].error_mag)
    assert ties[1].error_mag == pytest.approx(0.001 * np.sqrt(2 / 10), rel=0.3)
    assert np.isnan(ties[2].offset_mag)


def test_object_in_all_groups(groups: list[Group]) -> None:
    ties = tie_groups(groups, 1.0)
    thing = pd.Series(
        {
            "ra_deg": CENTRE[0],
            "dec_deg": CENTRE[1] + 250 / 3600,
            "epoch_mjd": 59000.0,
            "pmra_mas_yr": 0.0,
            "pmdec_mas_yr": -365250.0,
            "colour_mag": np.nan,
        }
    )
    sights = find_sights(groups, ties, thing)
    moved = 250 - np.arange(N)  # an arcsec a day
    assert sights.position_px[:N, 0] == pytest.approx(500.0, abs=1e-3)
    assert sights.position_px[:N, 1] == pytest.approx(500.0 - moved, abs=0.01)
    assert sights.jacobian[0] == pytest.approx(-np.eye(2), abs=1e-9)
    # Ratio 0.1 for each exposure, 0.05 from the middle to the edge in x, where u is 0.001 here.
    expected = np.tile(0.1 * np.arange(N) + 0.05 * 0.001, 2)
    expected[N:] += ties[1].offset_mag
    assert sights.ratio_mag[: 2 * N] == pytest.approx(expected, abs=1e-6)
    assert sights.ratio_error_mag[:N] == pytest.approx(0.001)
    assert (sights.ratio_error_mag[N : 2 * N] > 0.001).all()


def test_first_reason_is_the_status(groups: list[Group]) -> None:
    groups[0].exposures.loc[0, "status"] = "the same exposure as another."
    groups[0].exposures.loc[1, ["verdict", "reason"]] = "bad", "FWHM 6.1 px"
    groups[0].maps.maps[2] = groups[0].maps.maps[2]._replace(status="3 stars; a map needs 9.")
    status = find_status(groups, tie_groups(groups, 1.0), ["good", "usable"])
    assert status[:N] == [
        "the same exposure as another.",
        "its PSF is bad: FWHM 6.1 px.",
        "3 stars; a map needs 9.",
        OK,
    ]
    assert status[N : 2 * N - 1] == [OK] * 3
    assert "clouds" in status[2 * N - 1]
    assert status[2 * N] == "0 stars in common with first; a scale needs 5."


def make_stars(n: int, colour_term: float) -> pd.DataFrame:
    random = np.random.default_rng(2)
    colour, mag = random.uniform(0, 1.5, n), random.uniform(14, 18, n)
    instrumental = mag - 26.1 - colour_term * (colour - 0.7) + random.normal(0, 0.003, n)
    flux = 10 ** (-0.4 * instrumental)
    return pd.DataFrame(
        {
            "mean_flux_adu": flux,
            "mean_flux_error_adu": 0.003 * flux,
            "colour_mag": colour,
            "reference_mag": mag,
            "reference_error_mag": np.nan,
        }
    )


EXPOSURES = pd.DataFrame({"magzp_mag": [26.0, 26.2, 26.1], "ratio_mag": [0.1, -0.1, 0.0]})


@pytest.mark.parametrize("colour_term", [0.05, 0.0])
def test_catalogue_calibrates(colour_term: float) -> None:
    stars = make_stars(40, colour_term)
    found = find_zero_point(stars, EXPOSURES)
    at_mean = 26.1 + colour_term * (found.mean_colour_mag - 0.7)
    assert found.source == "catalogue"
    assert found.zero_point_mag == pytest.approx(at_mean, abs=4 * found.error_mag)
    assert found.error_mag < 0.001
    assert (found.colour_term != 0) == (colour_term != 0)
    if colour_term:
        assert found.colour_term == pytest.approx(colour_term, abs=4 * found.colour_term_error)


def test_without_colours_there_is_a_zero_point_alone() -> None:
    found = find_zero_point(make_stars(40, 0.0).assign(colour_mag=np.nan), EXPOSURES)
    assert (found.source, found.colour_term) == ("catalogue", 0.0)
    assert found.zero_point_mag == pytest.approx(26.1, abs=0.003)


def test_headers_calibrate_where_the_catalogue_does_not() -> None:
    found = find_zero_point(make_stars(4, 0.0), EXPOSURES)
    assert found.source == "header"
    assert found.zero_point_mag == pytest.approx(26.1)
    nothing = find_zero_point(make_stars(4, 0.0), EXPOSURES * np.nan)
    assert np.isnan(nothing.zero_point_mag)


def test_survey_calibrates(tmp_path: Path) -> None:
    """By stars that are constant and tied to its reference; the field's zero is in the error."""
    n, shared_mag, path = 40, 0.002, tmp_path / "zr_stars.parquet"
    random = np.random.default_rng(3)
    stars = make_stars(n, 0.0).assign(
        ra_deg=np.mod(random.uniform(-0.1, 0.1, n), 360), dec_deg=random.uniform(20, 20.2, n)
    )
    survey = pd.DataFrame(
        {
            "ra_deg": stars["ra_deg"],
            "dec_deg": stars["dec_deg"] + 0.2 / 3600,
            "mag": stars["reference_mag"] + 0.05,
            "mag_error": shared_mag,
            "is_variable": np.arange(n) < 3,
            "is_anchored": np.arange(n) > 5,
        }
    )
    survey.loc[survey.index < 6, "mag"] += 9.0
    elsewhere = survey.assign(dec_deg=-survey["dec_deg"])
    write_table(pd.concat([elsewhere, survey]), path, {})
    taken = take_survey(stars, path, 1.0)
    assert list(np.isnan(taken["reference_mag"])) == [k < 6 for k in range(n)]
    found = find_zero_point(taken, EXPOSURES, "survey")
    assert (found.source, found.n_stars) == ("survey", n - 6)
    assert found.zero_point_mag == pytest.approx(26.15, abs=0.003)
    assert shared_mag < found.error_mag < 1.2 * shared_mag
    with pytest.raises(InputError, match=r"zg_stars.parquet.*solve_survey"):
        take_survey(stars, tmp_path / "zg_stars.parquet", 1.0)


def make_rows(n: int = 12) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "status": OK,
            "chi2": 300.0,
            "dof": 300.0,
            "n_masked": 0,
            "ratio_mag": 0.0,
            "ratio_error_mag": 0.001,
            "fwhm_px": 2.0,
            "airmass": 1.2,
            "verdict": "good",
            "in_baseline": np.arange(n) < 6,
            "infobits": 0.0,
        }
    )


@pytest.mark.parametrize(
    ("column", "value", "flag"),
    [
        ("status", "has no PSF.", Flag.NOT_FITTED),
        ("n_masked", 3, Flag.MASKED),
        ("chi2", 500.0, Flag.BAD_CHI2),
        ("ratio_error_mag", np.nan, Flag.BAD_RATIO),
        ("ratio_mag", 0.8, Flag.CLOUDY),
        ("fwhm_px", 4.5, Flag.SEEING),
        ("airmass", 2.3, Flag.AIRMASS),
        ("verdict", "bad", Flag.BAD_PSF),
        ("infobits", 4.0, Flag.INFOBITS),
    ],
)
def test_flag_of_one_exposure(column: str, value: object, flag: Flag) -> None:
    rows = make_rows()
    rows[column] = rows[column].astype(object if column in ("status", "verdict") else float)
    rows.loc[7, column] = value
    found = find_flags(rows, Limits(), 0.0)
    assert found[7] == flag
    assert (np.delete(found, 7) == 0).all()


def test_flags_of_all_exposures() -> None:
    rows = make_rows().assign(in_baseline=False)
    assert (find_flags(rows, Limits(), 0.0) == Flag.NO_BASELINE).all()
    # tan z is 0.66 at airmass 1.2.
    assert (find_flags(make_rows(), Limits(), 0.2) == Flag.DCR_LARGE).all()


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({}, "good", "all numbers as they should be"),
        ({"in_baseline": False}, "usable", "no exposure before or after the dates can be used"),
        ({"chi2": 400.0}, "usable", "chi2 per degree of freedom 1.33, beyond 0.9 to 1.1"),
        ({"status": "has no PSF."}, "bad", "no exposure could be fitted: has no PSF."),
    ],
)
def test_verdict_of_a_light_curve(changes: dict[str, object], verdict: str, reason: str) -> None:
    found = judge(make_rows().assign(**changes))
    assert found[0] == verdict
    assert reason in found[1]


def test_star_that_varies() -> None:
    star = pd.Series(
        dict.fromkeys(("ra_deg", "dec_deg", "distance_arcsec", "colour_mag", "reference_mag"), 1.0)
        | {"name": "J", "reference_error_mag": np.nan}
    )
    random = np.random.default_rng(7)
    for factor, is_constant in ((1.0, True), (3.0, False)):
        flux = 1000.0 + factor * random.normal(0, 10.0, 60)
        rows = pd.DataFrame({"status": OK, "flux_adu": flux, "flux_error_adu": 10.0})
        found = describe_star(star, rows)
        assert found["is_constant"] == is_constant
        assert found["mean_flux_adu"] == pytest.approx(1000.0, abs=4 * factor * 10 / np.sqrt(60))
        assert found["expected_rms_mmag"] == pytest.approx(10.86, rel=0.02)
        assert found["rms_mmag"] == pytest.approx(10.86 * factor, rel=0.3)
    none = describe_star(star, rows.assign(status="not selected."))
    assert none["n_used"] == 0
    assert not none["is_constant"]
