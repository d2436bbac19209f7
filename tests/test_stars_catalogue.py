"""Reading catalogues: tables, LSST shards, Gaia DR3 shards."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import Table
from astropy_healpix import HEALPix
from trixels import find_trixels
from ztfpsf.errors import InputError
from ztfpsf.stars.catalogue import (
    Cone,
    check_catalogue_path,
    read_gaia_dr2_htm,
    read_gaia_dr3_healpix,
    read_user_table,
)
from ztfpsf.stars.htm import cover_cone
from ztfpsf.stars.sky import get_julian_year, get_separation_deg

CONE = Cone(58.0, 35.7, 0.6, 59116.43)


@pytest.fixture
def positions():
    """Stars in and around the cone."""
    rng = np.random.default_rng(5)
    return rng.uniform(57, 59, 400), rng.uniform(35, 36.4, 400)


def in_cone(ra, dec):
    return get_separation_deg(ra, dec, CONE.ra_deg, CONE.dec_deg) <= CONE.radius_deg


@pytest.mark.parametrize("suffix", ["parquet", "csv", "fits", "fits.gz", "csv.gz"])
@pytest.mark.parametrize("name", ["stars", "STARS.FIT", "stars?ra=58"])
def test_table_formats_agree(positions, tmp_path, suffix, name):
    ra, dec = positions
    table = pd.DataFrame({"ra": ra, "dec": dec, "mag": np.linspace(13, 20, len(ra)), "name": "x"})
    path = str(tmp_path / f"stars.{suffix}")
    if suffix == "parquet":
        table.to_parquet(path)
    elif suffix.startswith("csv"):
        table.to_csv(path, index=False)
    else:
        Table.from_pandas(table).write(path)
    path = Path(path).rename(tmp_path / name)  # what a file is does not depend on its name
    found = read_user_table(str(path), CONE)
    assert list(found.columns) == ["star_id", "ra_deg", "dec_deg", "mag"]
    np.testing.assert_allclose(found["ra_deg"], ra[in_cone(ra, dec)], rtol=1e-12)
    np.testing.assert_allclose(found["mag"], table["mag"][in_cone(ra, dec)], rtol=1e-12)


def test_table_with_motion_moves_but_keeps_names(tmp_path):
    path = str(tmp_path / "stars.csv")
    star = {"ra": [58.0, 58.1], "dec": [35.7, 35.7], "mag": [15, 16]}
    pd.DataFrame(star).to_csv(path, index=False)
    still = read_user_table(path, CONE)
    motion = {"pmra": [0, np.nan], "pmdec": [1000, np.nan], "epoch": [2016.0, 2016.0]}
    pd.DataFrame(star | motion).to_csv(path, index=False)
    moving = read_user_table(path, CONE)
    years = get_julian_year(CONE.mjd) - 2016.0
    shift = (moving["dec_deg"] - still["dec_deg"]) * 3600
    np.testing.assert_allclose(shift, [years, 0], atol=1e-6)
    assert list(moving["star_id"]) == list(still["star_id"])


def test_rows_without_position_or_magnitude_are_left_out(tmp_path):
    path = str(tmp_path / "stars.csv")
    rows = {"ra": [58, np.nan, 58, 58], "dec": [35.7, 35.7, 35.7, 99], "mag": [15, 15, np.inf, 15]}
    pd.DataFrame(rows).to_csv(path, index=False)
    assert len(read_user_table(path, CONE)) == 1


def test_values_that_stand_for_none(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text(
        "ra,dec,mag\n58,35.7,15\n58,35.7,-999\n58,35.7,99\n-302.0,35.7,16\n778,35.7,17\n-999,35.7,18"
    )
    found = read_user_table(str(path), CONE)
    assert found["mag"].tolist() == [15, 16]
    assert found["ra_deg"].tolist() == [58.0, 58.0]


def test_null_of_an_integer_column(tmp_path):
    """TNULL: 999999 mas/year would move a star by 4700 arcseconds in 4.7 years."""
    path = str(tmp_path / "stars.fits")
    columns = [
        fits.Column(name, "D", array=values)
        for name, values in {
            "ra": [58.0, 58.1],
            "dec": [35.7, 35.7],
            "mag": [15.0, 16.0],
            "epoch": [2016.0, 2016.0],
        }.items()
    ]
    motions = [
        fits.Column("pmra", "J", null=999999, array=[0, 999999]),
        fits.Column("pmdec", "J", null=32768, bzero=32768, array=np.array([1000, 65536], "u4")),
    ]
    fits.BinTableHDU.from_columns(columns + motions).writeto(path)
    found = read_user_table(path, CONE)
    years = get_julian_year(CONE.mjd) - 2016.0
    np.testing.assert_allclose((found["dec_deg"] - 35.7) * 3600, [years, 0], atol=1e-6)
    np.testing.assert_allclose(found["ra_deg"], [58.0, 58.1], atol=1e-12)


def test_star_without_epoch_stays_where_it_is(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text(
        "ra,dec,mag,pmra,pmdec,epoch\n58,35.7,15,,,\n58.1,35.7,16,0,1000,\n58.2,35.7,17,0,1000,2016"
    )
    found = read_user_table(str(path), CONE)
    years = get_julian_year(CONE.mjd) - 2016.0
    np.testing.assert_allclose((found["dec_deg"] - 35.7) * 3600, [0, 0, years], atol=1e-6)


@pytest.mark.parametrize("commas", ["", ","])
def test_trailing_commas(tmp_path, commas):
    path = tmp_path / "stars.csv"
    path.write_text(f"ra, dec, mag\n58, 35.7, 15{commas}\n58.1, 35.7, 16{commas}\n")
    found = read_user_table(str(path), CONE)
    assert found[["ra_deg", "dec_deg", "mag"]].values.tolist() == [[58, 35.7, 15], [58.1, 35.7, 16]]


def write_shards(directory, ra, dec, flux):
    ids = find_trixels(ra, dec, 7)
    for trixel in cover_cone(*CONE[:3], 7):
        mine = ids == trixel
        columns = [
            fits.Column("id", "K", array=np.arange(mine.sum())),
            fits.Column("coord_ra", "D", array=np.radians(ra[mine])),
            fits.Column("coord_dec", "D", array=np.radians(dec[mine])),
            fits.Column("phot_g_mean_flux", "D", array=flux[mine]),
        ]
        fits.BinTableHDU.from_columns(columns).writeto(directory / f"{trixel}.fits")


def test_htm_shards_cover_the_cone(positions, tmp_path):
    ra, dec = positions
    flux = 3631e9 * 10 ** (-0.4 * np.linspace(13, 20, len(ra)))  # nJy
    flux[:50] = 0
    flux[50:60] = np.nan
    write_shards(tmp_path, ra, dec, flux)
    found = read_gaia_dr2_htm(str(tmp_path), CONE)
    expected = in_cone(ra, dec) & (flux > 0)
    assert len(found) == expected.sum()
    order = np.argsort(found["mag"])
    np.testing.assert_allclose(found["mag"].to_numpy()[order], np.linspace(13, 20, 400)[expected])
    np.testing.assert_allclose(found["ra_deg"].to_numpy()[order], ra[expected], rtol=1e-12)


def test_missing_htm_shard_is_named(tmp_path):
    with pytest.raises(InputError, match=r"\d{6}\.fits: no such file; correct catalogue: path"):
        read_gaia_dr2_htm(str(tmp_path), CONE)


def test_healpix_shards_move_to_the_date(positions, tmp_path):
    ra, dec = positions
    healpix = HEALPix(nside=64, order="nested")
    pixels = healpix.lonlat_to_healpix(ra * units.deg, dec * units.deg)
    needed = healpix.cone_search_lonlat(*(angle * units.deg for angle in CONE[:3]))
    table = pd.DataFrame(
        {
            "source_id": np.arange(len(ra)),
            "ra": ra,
            "dec": dec,
            "pmra": np.nan,
            "pmdec": 100.0,
            "phot_g_mean_mag": np.linspace(13, 20, len(ra)),
        }
    )
    for pixel in needed:
        table[pixels == pixel].to_parquet(tmp_path / f"gaiadr3_pix64_{pixel}.parquet")
    found = read_gaia_dr3_healpix(str(tmp_path), CONE).sort_values("mag")
    expected = in_cone(ra, dec)
    years = get_julian_year(CONE.mjd) - 2016.0
    shift_mas = (found["dec_deg"].to_numpy() - dec[expected]) * 3.6e6
    np.testing.assert_allclose(shift_mas, 100 * years, rtol=1e-3)
    with pytest.raises(InputError, match=r"gaiadr3_pix64_\d+.parquet: no such file"):
        read_gaia_dr3_healpix(str(tmp_path), CONE._replace(ra_deg=200.0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ra,dec,g\n58,35.7,15\n", r"no column mag \(it has ra, dec, g\); rename or add it"),
        ("ra,dec,mag\n", "has no star within 0.60 deg of RA 58.0000, Dec 35.7000"),
        ("ra,dec,mag\n10,10,15\n", "has no star within"),
        ("", "damaged .*; give a parquet, CSV or FITS table"),
        ("ra,dec,mag\n58,35.7,bright\n", "must hold numbers"),
        ("ra,dec,mag,pmra\n58,35.7,15,3\n", "no column pmdec, epoch"),
        (
            "ra,dec,mag\n1,58,35.7,15\n2,58,35.7,16\n",
            "Length of header or names does not match length of data",
        ),
    ],
)
def test_bad_table_is_one_sentence(tmp_path, content, message):
    path = tmp_path / "stars.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as info:
        read_user_table(str(path), CONE)
    assert str(info.value).startswith(f"{path}: ")
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "fits"])
def test_missing_and_damaged_files(tmp_path, suffix):
    path = tmp_path / f"stars.{suffix}"
    with pytest.raises(InputError, match="no such file; correct catalogue: path"):
        read_user_table(str(path), CONE)
    path.write_bytes(b"\x00\xff damaged")
    with pytest.raises(InputError, match=r"damaged|not a FITS|no column"):
        read_user_table(str(path), CONE)


def test_truncated_fits_table(tmp_path):
    path = tmp_path / "stars.fits"
    Table({name: np.full(5000, 58.0) for name in ("ra", "dec", "mag")}).write(path)
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(InputError, match=r"60000 of \d+ bytes are there"):
        read_user_table(str(path), CONE)


def test_other_bad_catalogues(tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "image.fits")
    with pytest.raises(InputError, match="holds no table"):
        read_user_table(str(tmp_path / "image.fits"), CONE)
    with pytest.raises(InputError, match="gaia_dr2_htm needs the directory"):
        check_catalogue_path("gaia_dr2_htm", str(tmp_path / "none"))


def test_motions_need_a_date(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("ra,dec,mag,pmra,pmdec,epoch\n58,35.7,15,3,3,2016\n")
    with pytest.raises(InputError, match="the image no OBSMJD"):
        read_user_table(str(path), CONE._replace(mjd=np.nan))
