"""Stars of a group: matched, with their motion, mapped to pixels, refraction taken out."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from ztfpsf.group.exposures import make_exposures, place_in_sky
from ztfpsf.group.maps import DEGREES, GroupMaps, Map, Refraction, fit_group, fit_maps, locate
from ztfpsf.group.matching import MatchedStars, match_exposures
from ztfpsf.group.places import find_centre, find_places, to_plane
from ztfpsf.group.tables import make_maps_table, read_maps_table

N_STARS, N_EXPOSURES = 120, 24
CENTRE = (0.003, 50.0)  # stars on both sides of RA 0
MJD = 59000.0 + 40.0 * np.arange(N_EXPOSURES)
ERROR_PX = 0.02
MOVING, MOTION_MAS_YR = 5, (150.0, -200.0)
REFRACTION_ARCSEC = 0.04
MAS = 1 / 3.6e6


class Group(NamedTuple):
    tables: dict[int, pd.DataFrame]
    matched: MatchedStars
    plane: np.ndarray  # of the measurements, arcsec
    scale_arcsec: float


def find_pixels(east: np.ndarray, north: np.ndarray, number: int) -> np.ndarray:
    """True map of an exposure: turned, stretched, and bent by a few pixels, (n, 2)."""
    bend = 2e-6 * (number % 3) * east * north
    turn = 1e-3 * np.sin(number)
    x = 1500.0 + 7 * np.sin(3 * number) - east / 1.0125 + turn * north + bend
    return np.stack([x, 1600.0 + 5 * np.cos(number) - north / 1.0125 - turn * east - bend], axis=1)


def make_tables(
    random: np.random.Generator, refraction_arcsec: float
) -> tuple[dict[int, pd.DataFrame], np.ndarray]:
    """Measurements of the exposures; colours of the stars."""
    size = 0.2
    ra = CENTRE[0] + random.uniform(-size, size, N_STARS) / np.cos(np.radians(CENTRE[1]))
    dec = CENTRE[1] + random.uniform(-size, size, N_STARS)
    colour = random.uniform(-1, 1, N_STARS)
    tables = {}
    for number in range(N_EXPOSURES):
        years = (MJD[number] - MJD.mean()) / 365.25
        moved_ra, moved_dec = ra.copy(), dec.copy()
        moved_ra[MOVING] += MOTION_MAS_YR[0] * MAS * years / np.cos(np.radians(dec[MOVING]))
        moved_dec[MOVING] += MOTION_MAS_YR[1] * MAS * years
        where = place_in_sky(pd.DataFrame({"mjd": MJD[number : number + 1]}), *CENTRE)
        refraction = Refraction(refraction_arcsec, 0.0, 0.0)
        sky = (where[name].to_numpy().repeat(N_STARS) for name in ("airmass", "parallactic_deg"))
        plane = to_plane(moved_ra, moved_dec, CENTRE) + refraction.shift(colour, *sky)
        pixels = find_pixels(*plane.T, number) + random.normal(0, ERROR_PX, (N_STARS, 2))
        seen = random.random(N_STARS) < 0.9
        tables[number] = pd.DataFrame(
            {
                "ra_deg": (moved_ra + random.normal(0, 0.03, N_STARS) / 3600) % 360,
                "dec_deg": moved_dec + random.normal(0, 0.03, N_STARS) / 3600,
                "x_px": pixels[:, 0],
                "y_px": pixels[:, 1],
                "x_error_px": ERROR_PX,
                "y_error_px": ERROR_PX,
                "mag": -10.0,
                "mag_error": 0.01,
            }
        )[seen]
    return tables, colour


@pytest.fixture(scope="module")
def group() -> Group:
    tables, _ = make_tables(np.random.default_rng(3), 0.0)
    matched = match_exposures(tables, MJD, 1.0)
    centre = find_centre(matched.stars)
    measured = matched.measurements
    known = matched.stars.set_index("star_id").loc[measured["star_id"]]
    plane = find_places(known, MJD[measured["exposure"]], centre)
    return Group(tables, matched, plane, float(np.abs(plane).max()))


def test_every_star_is_one_star(group: Group) -> None:
    stars, measurements = group.matched
    assert len(stars) == N_STARS
    assert stars["n"].sum() == len(measurements) == sum(map(len, group.tables.values()))
    assert not measurements.duplicated(["star_id", "exposure"]).any()
    assert find_centre(stars) == pytest.approx(CENTRE, abs=0.05)
    assert ((stars["ra_deg"] >= 0) & (stars["ra_deg"] < 360)).all()


def test_the_star_that_moves_and_no_other(group: Group) -> None:
    stars = group.matched.stars
    moves = stars[(stars["pmra_mas_yr"] != 0) | (stars["pmdec_mas_yr"] != 0)]
    assert len(moves) == 1
    # 30 mas in each of 22 exposures over 2.5 yr.
    assert moves["pmra_mas_yr"].item() == pytest.approx(MOTION_MAS_YR[0], abs=40)
    assert moves["pmdec_mas_yr"].item() == pytest.approx(MOTION_MAS_YR[1], abs=40)


def test_two_sources_that_are_one_star_are_none() -> None:
    row = {"ra_deg": 10.0, "dec_deg": 10.0, "x_px": 1.0, "y_px": 1.0}
    near = {**row, "dec_deg": 10.0 + 0.5 / 3600}
    tables = {0: pd.DataFrame([row]), 1: pd.DataFrame([row, near])}
    matched = match_exposures(tables, MJD[:2], 1.0)
    assert matched.measurements["exposure"].tolist() == [0]


def test_no_star_is_no_row() -> None:
    matched = match_exposures({}, MJD, 1.0)
    assert len(matched.stars) == len(matched.measurements) == 0


@pytest.fixture(scope="module")
def maps(group: Group) -> list[Map]:
    return fit_maps(group.matched.measurements, group.plane, group.scale_arcsec, N_EXPOSURES)


def test_maps_lead_to_the_pixels_within_their_errors(group: Group, maps: list[Map]) -> None:
    centre = find_centre(group.matched.stars)
    at = np.array([20.0, -300.0])
    offset = to_plane(np.array([CENTRE[0]]), np.array([CENTRE[1]]), centre)[0]
    plane = np.tile(at + offset, (N_EXPOSURES, 1))
    found = GroupMaps(maps, centre, group.scale_arcsec, Refraction(0.0, np.nan, np.nan))
    places, moved = locate(found, plane), locate(found, plane + np.array([1, 0]))
    true = [find_pixels(at[:1], at[1:], number)[0] for number in range(N_EXPOSURES)]
    difference, step = places.position_px - true, moved.position_px - places.position_px
    assert np.abs(places.jacobian[:, :, 0] - step).max() < 1e-4
    # What all share is in the mean places of the stars, and in the turn of the tangent plane.
    pulls = (difference - np.mean(difference, axis=0)) / places.error_px[:, None]
    assert np.std(pulls) == pytest.approx(1.0, abs=0.3)
    assert all(0.01 < one.rms_px < 0.08 for one in maps)


def test_degree_is_what_the_stars_need(maps: list[Map]) -> None:
    """Exposures 0, 3, 6, ... are not bent; the others by half a pixel at the edge."""
    degrees = np.array([one.degree for one in maps])
    bent = np.arange(N_EXPOSURES) % 3 > 0
    assert (degrees[~bent] == 1).mean() > 0.8
    assert (degrees[bent] >= 2).all()
    assert set(degrees) <= set(DEGREES)


def test_too_few_stars_are_one_sentence(group: Group) -> None:
    few = group.matched.measurements.groupby("exposure").head(5)
    rows = few.index.to_numpy()
    maps = fit_maps(few, group.plane[rows], group.scale_arcsec, N_EXPOSURES)
    assert {one.status for one in maps} == {"5 stars with a fitted position; a map needs 9."}


@pytest.mark.parametrize(
    ("true_arcsec", "known"),
    [(REFRACTION_ARCSEC, 1.0), (0.0, 1.0), (REFRACTION_ARCSEC, np.nan)],
)
def test_refraction_is_found_and_not_invented(true_arcsec: float, known: float) -> None:
    tables, colour = make_tables(np.random.default_rng(4), true_arcsec)
    measured = pd.concat([t.assign(exposure=e, star_id=t.index) for e, t in tables.items()])
    sky = place_in_sky(pd.DataFrame({"mjd": MJD}), *CENTRE).loc[measured["exposure"]]
    for name in ("airmass", "parallactic_deg"):
        measured[name] = sky[name].to_numpy()
    east, north = to_plane(*measured[["ra_deg", "dec_deg"]].to_numpy().T, CENTRE).T
    places = measured.assign(east=east, north=north).groupby("star_id")[["east", "north"]].mean()
    plane = places.loc[measured["star_id"]].to_numpy()
    of_star = known * colour[measured["star_id"]]
    found = fit_group(measured, plane, of_star, CENTRE, N_EXPOSURES).refraction
    if true_arcsec * known > 0:
        assert found.arcsec_per_mag == pytest.approx(true_arcsec, abs=5 * found.error)
        assert found.error < 0.001
    else:
        assert found.arcsec_per_mag == 0.0


def test_maps_are_what_was_written(group: Group, maps: list[Map]) -> None:
    found = GroupMaps(maps, CENTRE, group.scale_arcsec, Refraction(0.02, 0.001, 0.7))
    images = pd.Series([f"image_{number}" for number in range(N_EXPOSURES)])
    back = read_maps_table(make_maps_table(images, found))
    assert back[1:] == found[1:]
    for one, other in zip(back.maps, maps, strict=True):
        assert one._replace(coefficients=0, covariance=0) == other._replace(
            coefficients=0, covariance=0
        )
        assert np.array_equal(one.coefficients, other.coefficients)
        assert np.array_equal(one.covariance, other.covariance, equal_nan=True)


def test_exposures_say_what_is_wrong_with_them() -> None:
    names = [f"ztf_2020092{day}300000_000655_zr_c13_o_q3" for day in (1, 2, 3)]
    double = "ztf_20200922300002_000655_zr_c13_o_q3"
    stamps = pd.DataFrame({"image": names, "status": "ok", "obsmjd": [np.nan, 2.0, 3.0]})
    stamps["exptime_s"] = [np.nan, 30.0, 30.0]
    fits = pd.DataFrame({"image": names[:2], "status": ["not converged", "two stars; no PSF."]})
    verdicts = pd.DataFrame({"image": names, "verdict": "bad", "reason": "seeing"})
    found = make_exposures([*names, double], stamps, fits, verdicts).set_index("image")
    assert found.loc[names[0], "status"] == "ok"
    # 21 September 2020 and 0.3 days, of the name.
    assert found.loc[names[0], "mjd"] == pytest.approx(59113.3)
    assert found.loc[names[1], "status"] == "two stars; no PSF."
    assert found.loc[names[1], "mjd"] == pytest.approx(2.0 + 15 / 86400)
    assert found.loc[names[2], "status"] == "the image was left out before its PSF was fitted."
    both = make_exposures([names[1], double], stamps.iloc[:0], fits, verdicts)
    assert both["status"][1] == f"the same exposure as {names[1]}."
