"""Measurements on their way into a data set, and the sky that they are on."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from ztfpsf.errors import InputError
from ztfpsf.survey.airmass import LATITUDE_DEG, LONGITUDE_DEG, find_airmass, find_gradient
from ztfpsf.survey.cells import find_cell, find_limits
from ztfpsf.survey.collection import Image, Reference, add_images, read_exposures, read_images
from ztfpsf.survey.cuts import Cuts, add_flags, cut_image
from ztfpsf.survey.dataset import list_cells, path_of, read_cell
from ztfpsf.survey.fields import find_offsets, find_places, project, read_fields
from ztfpsf.survey.matching import match
from ztfpsf.survey.reference import read_reference

NIGHT = "ztf_202009243{:05d}_000655_zr_c13_o_q{}"
NO_NAMES = {"mag": None, "mag_error": None, "colour": None}
NOTHING = read_reference(None, NO_NAMES, 1.0)
EMPTY = pd.DataFrame({"star_id": np.zeros(0, int), "ra_deg": [], "dec_deg": []})


def make_image(number: int, ra: np.ndarray, dec: np.ndarray, offset_mag: float = 0.0) -> Image:
    n = len(ra)
    table = pd.DataFrame(
        {
            "ra_deg": ra,
            "dec_deg": dec,
            "x_px": np.linspace(10, 3000, n),
            "y_px": np.linspace(20, 3000, n),
            "mag": -10.0 + offset_mag + 0.1 * np.arange(n),
            "mag_error": np.full(n, 0.01),
        }
    )
    return Image(NIGHT.format(number, 1), table, {"n_measured": n, "n_kept": n})


def add(root: Path, *images: Image) -> pd.DataFrame:
    return add_images(root, images, NOTHING, 1.0, {"version": "0", "inputs": [], "settings": {}})


def read_all(root: Path) -> pd.DataFrame:
    return pd.concat([read_cell(root, cell, "measurements") for cell in list_cells(root)])


RA, DEC = 55.0 + 0.01 * np.arange(5), 33.0 + 0.01 * np.arange(5)


def test_stars_of_two_images_are_matched(tmp_path: Path) -> None:
    moved = 0.3 / 3600
    add(tmp_path, make_image(1, RA, DEC), make_image(2, RA[1:] + moved, DEC[1:] - moved))
    table = read_all(tmp_path)
    assert sorted(table.groupby("star_id").size()) == [1, 2, 2, 2, 2]
    assert (np.diff(table["star_id"]) >= 0).all()
    exposures = read_exposures(tmp_path)
    assert list(exposures["field"]) == [655, 655]
    assert exposures["mjd"][0] == pytest.approx(59116.300001)
    stars = pd.concat([read_cell(tmp_path, cell, "stars") for cell in list_cells(tmp_path)])
    assert len(stars) == 5
    np.testing.assert_allclose(np.sort(stars["dec_deg"]), DEC, atol=1e-4)


def test_an_image_is_added_once_and_replaced_when_it_changed(tmp_path: Path) -> None:
    first = make_image(1, RA, DEC)
    assert len(add(tmp_path, first, make_image(2, RA, DEC))) == 2
    assert len(add(tmp_path, first, make_image(2, RA, DEC))) == 0
    assert len(read_all(tmp_path)) == 10
    assert list(add(tmp_path, make_image(1, RA[:3], DEC[:3], 1.0))["image"]) == [first.name]
    table = read_all(tmp_path)
    assert len(table) == 8
    assert sorted(table.loc[table["exposure"] == 0, "mag"]) == pytest.approx([-9.0, -8.9, -8.8])
    assert len(read_images(tmp_path)) == 2


def test_a_night_rewrites_only_the_cells_it_touches(tmp_path: Path) -> None:
    add(tmp_path, make_image(1, RA, DEC), make_image(2, RA + 40.0, DEC))
    files = {path: path.read_bytes() for path in Path(tmp_path, "cells").iterdir()}
    times = {path: path.stat().st_mtime_ns for path in files}
    add(tmp_path, make_image(3, RA, DEC))
    touched = {path for path in files if path.stat().st_mtime_ns != times[path]}
    cell = int(find_cell(RA[:1], DEC[:1])[0])
    assert touched == {path_of(tmp_path, cell, kind) for kind in ("measurements", "stars")}


def test_an_interrupted_collection_finds_nothing_twice(tmp_path: Path) -> None:
    add(tmp_path, make_image(1, RA, DEC))
    record = Path(tmp_path, "images.parquet")
    before = record.read_bytes()
    add(tmp_path, make_image(2, RA, DEC))
    expected = hashlib.sha256(read_all(tmp_path).to_csv().encode()).hexdigest()
    record.write_bytes(before)  # as if killed before the record was written
    add(tmp_path, make_image(2, RA, DEC))
    assert hashlib.sha256(read_all(tmp_path).to_csv().encode()).hexdigest() == expected


def test_a_star_on_the_edge_of_a_cell_is_one_star(tmp_path: Path) -> None:
    west, _, south, _ = find_limits(int(find_cell(RA[:1], DEC[:1])[0]))
    step = 0.2 / 3600
    images = [
        make_image(i + 1, np.array([west + dx, RA[0]]), np.array([DEC[0], south + dy]))
        for i, (dx, dy) in enumerate([(-step, -step), (step, step), (step, -step)])
    ]
    for image in images:
        add(tmp_path, image)
    assert sorted(read_all(tmp_path).groupby("star_id").size()) == [3, 3]


def test_two_sources_that_are_one_star_are_neither(tmp_path: Path) -> None:
    add(tmp_path, make_image(1, np.array([55.0, 55.0, 55.1]), np.array([33.0, 33.0 + 1e-4, 33.0])))
    assert len(read_all(tmp_path)) == 1


def test_matching_knows_right_ascension_wraps() -> None:
    ra, dec = np.array([359.99995, 0.00005]), np.array([10.0, 10.0])
    matched = match(ra, dec, EMPTY, 1.0)
    assert matched.star_id[0] == matched.star_id[1]
    assert matched.new["ra_deg"][0] % 360 == pytest.approx(0.0, abs=1e-6)
    again = match(ra, dec, matched.new, 1.0)
    assert (again.star_id == matched.star_id).all()
    assert not len(again.new)


@pytest.mark.parametrize("name", ["images.parquet", "exposures.parquet", "cells/*.parquet"])
def test_damaged_data_set_is_to_be_collected_anew(tmp_path: Path, name: str) -> None:
    add(tmp_path, make_image(1, RA, DEC))
    for path in tmp_path.glob(name):
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"damaged \(.*\); remove the folder and collect anew"):
        add(tmp_path, make_image(2, RA, DEC))


def test_reference_magnitudes_and_colours_come_with_the_stars(tmp_path: Path) -> None:
    path = tmp_path / "gaia.csv"
    table = pd.DataFrame({"ra": RA[:3], "dec": DEC[:3], "g": [15.0, 16.0, 17.0], "bp_rp": 0.5})
    table.to_csv(path, index=False)
    names = {"mag": "g", "mag_error": None, "colour": "bp_rp"}
    reference = read_reference(str(path), names, 1.0)
    root = tmp_path / "data"
    add_images(root, [make_image(1, RA, DEC)], reference, 1.0, {})
    stars = pd.concat([read_cell(root, cell, "stars") for cell in list_cells(root)])
    stars = stars.sort_values("dec_deg")
    np.testing.assert_array_equal(stars["reference_mag"], [15, 16, 17, np.nan, np.nan])
    np.testing.assert_array_equal(stars["colour_mag"], [0.5, 0.5, 0.5, np.nan, np.nan])
    with pytest.raises(InputError, match="has no column phot_g"):
        read_reference(str(path), {**names, "mag": "phot_g"}, 1.0)
    table.assign(g=["15.0", "--", "17.0"]).to_csv(path, index=False)
    with pytest.raises(InputError, match="ra, dec, g, bp_rp must hold numbers"):
        read_reference(str(path), names, 1.0)


def make_photometry() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "ra_deg": RA,
            "dec_deg": DEC,
            "x_px": 1.0,
            "y_px": 2.0,
            "flux_adu": [1e4, 1e4, np.nan, 1e4, 1e4],
            "flux_error_adu": [100.0, 1000.0, 1.0, 0.0, 100.0],
            "n_neighbours": 0,
            "flags": [0, 0, 0, 0, 1],
        }
    )


def test_every_measurement_that_is_left_out_has_a_reason() -> None:
    cuts = Cuts(reject_flags=("SATURATED",))
    bits = add_flags(cuts.reject_flags, {"SATURATED": 1, "EDGE": 8})
    cut = cut_image(make_photometry(), "good", bits, cuts)
    assert cut.counts == {
        "n_measured": 5, "n_kept": 1, "n_rejected_verdict": 0, "n_rejected_no_flux": 1,
        "n_rejected_no_error": 1, "n_rejected_flags": 1, "n_rejected_snr": 1,
        "n_rejected_neighbours": 0,
    }  # fmt: skip
    assert cut.table["mag"][0] == -10.0
    assert cut.table["mag_error"][0] == pytest.approx(0.010857, rel=1e-4)
    assert cut_image(make_photometry(), "bad", bits, cuts).counts["n_rejected_verdict"] == 5


def test_an_unknown_flag_is_named() -> None:
    with pytest.raises(InputError, match="'SATURATE' is no flag of the photometry; expected"):
        add_flags(["SATURATE"], {"SATURATED": 1})


def test_airmass_is_that_of_astropy() -> None:
    place = EarthLocation.from_geodetic(LONGITUDE_DEG, LATITUDE_DEG, 1700)
    time = Time(59116.3, format="mjd", scale="utc")
    ra, dec = np.array([300.0, 330.0, 20.0, 350.0]), np.array([10.0, -20.0, 60.0, 33.0])
    altitude = SkyCoord(ra, dec, unit="deg").transform_to(AltAz(obstime=time, location=place)).alt
    plane = 1.0 / np.sin(altitude.rad)
    np.testing.assert_allclose(find_airmass(ra, dec, 59116.3), plane, rtol=0.01)
    gradient = find_gradient(ra, dec, np.full(4, 59116.3))
    up = find_airmass(ra, dec + 1.0, 59116.3) - gradient.centre
    assert (np.sign(gradient.to_north) == np.sign(up)).all()


def test_sky_falls_on_the_quadrants() -> None:
    field = read_fields().set_index("field").loc[655]
    assert (field["ra_deg"], field["dec_deg"]) == pytest.approx((55.06, 33.35), abs=0.1)
    random = np.random.default_rng(1)
    east, north = random.uniform(-13000, 13000, (2, 5000))
    places = find_places(east, north)
    on = places.rcid >= 0
    assert 0.85 < on.mean() < 0.95
    assert set(places.rcid[on]) == set(range(64))
    assert places.x_px[on].min() >= -0.5
    assert places.x_px[on].max() <= 3071.5
    back = find_offsets(places.rcid[on], places.x_px[on], places.y_px[on])
    np.testing.assert_allclose(back, [east[on], north[on]])
    # A star to the North-East of the centre is on quadrant 3 of CCD 10, or near it.
    ahead = project(np.array([55.06 + 1.0]), np.array([33.35 + 1.0]), 55.06, 33.35)
    assert ahead[0][0] > 0 < ahead[1][0]


def test_every_place_has_a_cell_that_holds_it() -> None:
    random = np.random.default_rng(2)
    ra, dec = random.uniform(0, 360, 1000), np.degrees(np.arcsin(random.uniform(-1, 1, 1000)))
    for cell, a, d in zip(find_cell(ra, dec), ra, dec, strict=True):
        west, east, south, north = find_limits(int(cell))
        assert west <= a <= east
        assert south <= d <= north


def test_reference_without_a_path_knows_nothing() -> None:
    assert isinstance(NOTHING, Reference)
    assert not len(NOTHING.stars)
