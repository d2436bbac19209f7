"""Which images and frames a run has, and the files of a unit."""

from pathlib import Path

import pytest
import yaml
from ztfpsf.errors import InputError
from ztfpsf.frame_sheet import NO_FRAMES, sort_frames
from ztfpsf.sheet import ImageSheet
from ztfpsf_workflow import inputs

ROOT = Path(__file__).parents[1]
EXPOSURE = "ztf_20200924431759_000655_zr"
CCD = f"{EXPOSURE}_c13_o"
FRAMES = sort_frames("frames.csv", [f"/raw/{CCD}.fits.fz"])
DETECTION = {"kind": "detection", "path": None}


def list_images(**changes: str | None) -> ImageSheet:
    config = {"images": None, "frames": "frames.csv", "data_root": None, **changes}
    return inputs.list_images(config, FRAMES if config["frames"] else NO_FRAMES, ROOT)


def test_images_of_raw_frames_are_those_that_a_rule_makes() -> None:
    (files,) = inputs.find_images(list_images(), f"{CCD}_q3", DETECTION)
    stem = f"results/calibrate_science/{EXPOSURE}/{CCD}_q3"
    assert files == (
        f"{CCD}_q3",
        f"{stem}_sciimg.fits",
        f"{stem}_mskimg.fits",
        "",
        f"{stem}_varimg.fits",
    )


def test_images_of_both_sheets(tmp_path: Path) -> None:
    sheet = tmp_path / "images.csv"
    sheet.write_text("image,sciimg\nztf_20200924431760_000655_zr_c13_o_q3,a.fits\n")
    images = list_images(images=str(sheet))
    units = images.images_by_unit("ccd", 64)
    later = "ztf_20200924431760_000655_zr_c13_o"
    assert units == {CCD: [f"{CCD}_q{q}" for q in range(1, 5)], later: [f"{later}_q3"]}
    assert inputs.list_true_units(units, FRAMES) == [CCD]


def test_no_images_at_all() -> None:
    with pytest.raises(InputError, match="there are no images; name an image sheet in the key"):
        list_images(frames=None)


def test_images_want_a_table() -> None:
    sheet, unit = list_images(), f"{CCD}_q1"
    (files,) = inputs.find_images(sheet, unit, {"kind": "table", "path": "stars.csv"})
    assert files.catalogue == "stars.csv"
    with pytest.raises(InputError, match=f"no catalogue for '{unit}'; write a table"):
        inputs.find_images(sheet, unit, {"kind": "table", "path": None})


def test_frames_of_the_simulation() -> None:
    block = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["simulate_raw"]
    simulated = inputs.list_simulated(block)
    config = {"frames": "simulate_raw", "frames_root": None}
    frames = inputs.list_frames(config, simulated["raw"], ROOT)
    assert len(frames.frames("b", "20200924", "bi", 13)) == block["n_biases"]
    assert len(frames.images()) == 4 * len(frames.science)
    raw = inputs.find_raw(frames, next(iter(frames.science)))
    assert raw.startswith("results/simulate_raw/raw/2020/0924/")


def test_lost_raw_frame_is_named() -> None:
    assert inputs.find_raw(FRAMES, CCD) == f"/raw/{CCD}.fits.fz"
    with pytest.raises(InputError, match=f"no raw frame '{EXPOSURE}_c01_o' in this frame sheet"):
        inputs.find_raw(FRAMES, f"{EXPOSURE}_c01_o")


def test_file_beside_the_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert inputs.find_beside("config/images.csv", ROOT) == str(ROOT / "config/images.csv")
    assert inputs.find_beside("lost.csv", ROOT) == "lost.csv"
    assert inputs.find_beside("", ROOT) == ""
    (tmp_path / "Snakefile").touch()
    assert inputs.find_beside("Snakefile", ROOT) == "Snakefile"


def test_products_of_ipac(tmp_path: Path) -> None:
    folder = tmp_path / "sci" / "2020" / "0924" / "431759"
    folder.mkdir(parents=True)
    names = [f"{CCD}_q1_sciimg.fits.fz", f"{CCD}_q2_mskimg.fits", f"{CCD}_q2_notes.txt"]
    for name in names:
        (folder / name).touch()
    simulated = [f"{folder}/{CCD}_q4_sciimg.fits", f"{folder}/{EXPOSURE}_c14_o_q4_sciimg.fits"]
    found = inputs.find_ipac_products(str(tmp_path), CCD, simulated)
    assert found == sorted([*(f"{folder}/{name}" for name in names[:2]), simulated[0]])


def test_largest_simulated_night_keeps_its_order() -> None:
    """Bias frames, flats and exposures follow one another within the day."""
    schema = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text())
    properties = schema["properties"]["simulate_raw"]["properties"]
    block = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["simulate_raw"]
    block["leds"] = properties["leds"]["items"]["enum"]
    names = ("n_biases", "n_flats_per_led", "n_exposures")
    block |= {name: properties[name]["maximum"] for name in names}
    raw = [Path(path).name for path in inputs.list_simulated(block)["raw"]]
    assert raw == sorted(raw, key=lambda name: name.split("_")[1])
    assert len({name.split("_")[1] for name in raw}) == len(raw)
    assert len(inputs.list_frames({"frames": "simulate_raw"}, raw, ROOT).science) == 1200
