"""Names of ZTF images."""

import pytest
from ztfpsf.errors import InputError
from ztfpsf.names import parse_quadrant

NAME = "ztf_20200924431759_000655_zr_c13_o_q3"


def test_fields_of_a_quadrant() -> None:
    name = parse_quadrant(NAME)
    assert name == ("20200924431759", 655, "zr", 13, 3)
    assert name.rcid == 50
    assert name.exposure == "ztf_20200924431759_000655_zr"
    assert name.ccd == "ztf_20200924431759_000655_zr_c13_o"
    assert str(name) == NAME
    assert name.path("sciimg.fits") == f"sci/2020/0924/431759/{NAME}_sciimg.fits"


@pytest.mark.parametrize(
    "name",
    [
        NAME + "_sciimg.fits",
        NAME[:-1],
        NAME.replace("q3", "q5"),
        NAME.replace("c13", "c17"),
        NAME.replace("zr", "zu"),
        NAME.replace("_o_", "_f_"),
        "",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not the name of a ZTF quadrant"):
        parse_quadrant(name)


@pytest.mark.parametrize("day", ["20200230", "20190229", "20201301"])
def test_days_that_are_in_no_calendar(day: str) -> None:
    with pytest.raises(InputError, match=f"there is no day {day}"):
        parse_quadrant(NAME.replace("20200924", day))
