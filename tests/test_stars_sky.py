"""Positions on the sky: WCS, proper motion, names."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from quadrants import make_header
from ztfpsf.errors import InputError
from ztfpsf.stars import sky

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(scope="module")
def tpv_header():
    """WCS of the ZTF quadrant ztf_20190606224213_000667_zr_c03_q2."""
    return fits.Header.fromtextfile(REFERENCE / "ztf_tpv_header.txt")


def test_tpv_matches_ipac_detections_with_gaia(tpv_header):
    """IPAC's detections (1-based xpos, ypos) lie where Gaia DR2 (J2015.5) says."""
    pairs = pd.read_csv(REFERENCE / "ztf_gaia_pairs.csv")
    years = sky.get_julian_year(tpv_header["OBSMJD"]) - 2015.5
    ra, dec = sky.apply_proper_motion(
        *(pairs[c].to_numpy() for c in ("ra_deg", "dec_deg", "pmra", "pmdec")), years
    )
    x, y = sky.to_pixels(sky.read_wcs(tpv_header, "header"), ra, dec)
    distance = np.hypot(x - (pairs["xpos"] - 1), y - (pairs["ypos"] - 1))
    assert np.median(distance) < 0.1
    assert distance.max() < 1


def test_tpv_terms_are_used(tpv_header):
    wcs = sky.read_wcs(tpv_header, "header")
    plain = tpv_header.copy()
    plain["CTYPE1"], plain["CTYPE2"] = "RA---TAN", "DEC--TAN"
    del plain["PV?_*"]
    tan = sky.read_wcs(plain, "header")
    corner = np.array([0.0]), np.array([0.0])
    ra, dec = sky.to_sky(wcs, *corner)
    shift = sky.get_separation_deg(ra, dec, *(z[0] for z in sky.to_sky(tan, *corner)))
    assert 0.1 < shift[0] * 3600 < 1.5


def test_pixels_to_sky_and_back(tpv_header):
    wcs = sky.read_wcs(tpv_header, "header")
    x, y = np.random.default_rng(0).uniform(-30, 3100, (2, 500))
    np.testing.assert_allclose(sky.to_pixels(wcs, *sky.to_sky(wcs, x, y)), (x, y), atol=1e-6)


def test_field_of_view_holds_the_corners(tpv_header):
    wcs = sky.read_wcs(tpv_header, "header")
    ra, dec, radius = sky.get_field_of_view(wcs, (3080, 3072))
    assert radius == pytest.approx(0.612, abs=0.001)  # half the diagonal of 3072 x 3080 x 1.0126"
    corners = sky.to_sky(wcs, np.array([0, 3071, 0, 3071]), np.array([0, 0, 3079, 3079]))
    assert (sky.get_separation_deg(*corners, ra, dec) <= radius).all()


# Distortion that folds the image onto itself.
SIP = {
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "A_ORDER": 2,
    "B_ORDER": 2,
    "A_2_0": 0.02,
    "B_0_2": 0.02,
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"CTYPE1": None, "CRVAL2": None}, ["no WCS", "CTYPE1, CRVAL2 missing"]),
        ({"CD1_1": None}, ["no WCS", "CD1_1"]),
        ({"CD1_1": 0.0}, ["WCS of the header is broken"]),
        ({"CTYPE1": "PIXEL", "CTYPE2": "PIXEL"}, ["gives no RA and Dec"]),
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, ["WCS of the header is broken"]),
        ({"CRVAL1": "03:51:59"}, ["CRVAL1 of the WCS is '03:51:59', not a number"]),
        ({"CRPIX2": ""}, ["CRPIX2 of the WCS is '', not a number"]),
        ({"CD1_2": "nan"}, ["CD1_2 of the WCS is 'nan'"]),
        ({"PV1_1": "x"}, ["PV1_1 of the WCS is 'x'"]),
        ({"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"}, ["pixels of 0 to 0 arcsec", "PV cards"]),
        ({"CD1_1": 1.0}, ["pixels of", "CD1_1"]),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, ["no RA and Dec (CTYPE1 is 'GLON-TAN'"]),
        ({"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN"}, ["no RA and Dec (CTYPE1 is 'DEC--TAN'"]),
        ({"RADESYS": "FK4"}, ["not of J2000 (RADESYS is 'FK4'"]),
        ({"EQUINOX": 1950.0}, ["not of J2000", "EQUINOX 1950"]),
        ({"RADESYS": "FK5", "EQUINOX": 1975.0}, ["not of J2000", "EQUINOX 1975"]),
        (SIP, ["does not lead back from the sky (CTYPE1 is 'RA---TAN-SIP'"]),
    ],
)
def test_bad_wcs_is_one_sentence(changes, words):
    header = make_header((100, 100))
    header.update({"NAXIS": 2, "NAXIS1": 100, "NAXIS2": 100})
    for key, value in changes.items():
        if value is None:
            del header[key]
        else:
            header[key] = value
    with pytest.raises(InputError) as info:
        sky.read_wcs(header, "image.fits")
    assert str(info.value).startswith("image.fits: ")
    assert "\n" not in str(info.value)
    for word in words:
        assert word in str(info.value)


@pytest.mark.parametrize("crval1", [418.0, 58.0, -302.0])
def test_right_ascension_is_within_a_turn(crval1):
    header = make_header((100, 100))
    header["CRVAL1"] = crval1
    wcs = sky.read_wcs(header, "image.fits")
    ra, _ = sky.to_sky(wcs, np.array([49.0]), np.array([49.0]))
    assert ra[0] == pytest.approx(58.0)


def test_stars_without_a_pixel_are_nan():
    """Far outside a SIP has no inverse; within the image all come back."""
    header = make_header((100, 100))
    header.update(SIP | {"A_2_0": 1e-4, "B_0_2": 1e-4, "NAXIS": 2, "NAXIS1": 100, "NAXIS2": 100})
    wcs = sky.read_wcs(header, "image.fits")
    x, y = np.array([10.0, 90.0]), np.array([20.0, 80.0])
    ra, dec = sky.to_sky(wcs, x, y)
    found = sky.to_pixels(wcs, np.append(ra, 60.0), np.append(dec, 33.0))
    np.testing.assert_allclose(np.array(found)[:, :2], [x, y], atol=1e-3)
    assert np.isnan(np.array(found)[:, 2]).all()


def test_proper_motion_agrees_with_astropy():
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(0, 360, 50), rng.uniform(-89, 89, 50)
    pmra, pmdec = rng.normal(0, 2000, (2, 50))
    mjd = 59116.4317708
    start, end = Time(2016.0, format="jyear", scale="tdb"), Time(mjd, format="mjd", scale="tdb")
    expected = SkyCoord(
        ra * units.deg,
        dec * units.deg,
        pm_ra_cosdec=pmra * units.mas / units.yr,
        pm_dec=pmdec * units.mas / units.yr,
        distance=10 * units.pc,
        radial_velocity=0 * units.km / units.s,
        obstime=start,
    ).apply_space_motion(end)
    found = sky.apply_proper_motion(ra, dec, pmra, pmdec, sky.get_julian_year(mjd) - 2016.0)
    off = SkyCoord(*found, unit="deg").separation(expected).to_value(units.mas)
    assert off.max() < 0.1  # of a motion of up to 30 arcseconds


def test_missing_proper_motion_counts_as_zero():
    ra, dec = sky.apply_proper_motion(
        np.array([10.0, 10.0]),
        np.array([60.0, 60.0]),
        np.array([np.nan, 1000.0]),
        np.array([np.nan, 0.0]),
        5.0,
    )
    np.testing.assert_allclose(dec, 60, atol=1e-7)
    assert ra[0] == pytest.approx(10, abs=1e-12)
    # pmra holds cos(dec): 5" on the sky are 10" of right ascension at dec 60.
    assert (ra[1] - 10) * 3600 == pytest.approx(10, rel=1e-4)


def test_star_names_cut_digits_off():
    ra = np.array([0.0, 15 * (3 + 45 / 60 + 23.129 / 3600), 359.9999999])
    dec = np.array([-0.5 / 3600, 35 + 31 / 60 + 23.49 / 3600, -89.9999999])
    assert sky.make_star_names(ra, dec) == [
        "J000000.00-000000.5",
        "J034523.12+353123.4",
        "J235959.99-895959.9",
    ]


def test_vectors_and_angles_are_inverse():
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(0, 360, 100), rng.uniform(-90, 90, 100)
    np.testing.assert_allclose(sky.to_angles(sky.to_unit_vectors(ra, dec)), (ra, dec), atol=1e-10)
