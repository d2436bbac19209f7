"""Which images and raw frames there are: sheets, simulated frames, and where their files lie."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ztfpsf.errors import InputError
from ztfpsf.frame_sheet import NO_FRAMES, FrameSheet, read_frames, sort_frames
from ztfpsf.names import QuadrantName
from ztfpsf.sheet import NO_IMAGES, ImageFiles, ImageSheet, add_images, read_sheet
from ztfpsf.simulation.epoch_settings import EpochSettings, list_epochs
from ztfpsf.simulation.plan import list_files
from ztfpsf.simulation.settings import NightSettings, make_settings

SIMULATED = "simulate_raw"  # value of the config key frames
SERIES = "simulate_epochs"  # value of the config keys images and targets
_PATTERN = re.compile(r"\{.*\}|<.*>")


def find_beside(path: str, base: Path) -> str:
    """A relative path, from the working directory or else from that of the Snakefile."""
    return path if Path(path).exists() or not (base / path).exists() else str(base / path)


def is_plain(path: str) -> bool:
    """Whether Snakemake takes a path as it is: {x} would be a wildcard, <x> a variable."""
    return not _PATTERN.search(path)


def list_simulated(block: Mapping[str, Any]) -> dict[str, list[str]]:
    """Files of the simulated night, by the folders raw, sci and truth. Raises InputError."""
    block = {key: value for key, value in block.items() if key != "linearity_tables"}
    night = make_settings(NightSettings, block, "config: simulate_raw")
    return {
        folder: [f"results/simulate_raw/{path}" for path in paths]
        for folder, paths in list_files(night).items()
    }


def list_frames(config: Mapping[str, Any], simulated: list[str], base: Path) -> FrameSheet:
    """The raw frames of the frame sheet, or those of rule simulate_raw. Raises InputError."""
    if config["frames"] == SIMULATED:
        return sort_frames("config key 'simulate_raw'", simulated)
    if not config["frames"]:
        return NO_FRAMES
    return read_frames(find_beside(config["frames"], base), config["frames_root"] or "")


def list_images(config: Mapping[str, Any], frames: FrameSheet, base: Path) -> ImageSheet:
    """The images given, and those that are made from raw frames.

    Raises InputError for a bad sheet, or when there is none.
    """
    sheet = NO_IMAGES
    if config["images"] == SERIES:
        sheet = add_images(sheet, list_series(config["simulate_epochs"]), "config key 'images'")
    elif config["images"]:
        sheet = read_sheet(find_beside(config["images"], base), config["data_root"] or "")
    elif not config["frames"]:
        raise InputError(
            "config: there are no images; name an image sheet in the key 'images' or a frame sheet "
            "in the key 'frames'."
        )
    made = [_calibrated_files(image) for image in frames.images()]
    return add_images(sheet, made, frames.path) if made else sheet


def list_series(block: Mapping[str, Any]) -> list[ImageFiles]:
    """Images of the simulated series of exposures. Raises InputError."""
    stems = (f"results/{SERIES}/{name}" for name in list_epochs(make_series(block)))
    return [
        ImageFiles(Path(stem).name, sciimg=f"{stem}_sciimg.fits", mskimg=f"{stem}_mskimg.fits")
        for stem in stems
    ]


def make_series(block: Mapping[str, Any]) -> EpochSettings:
    """The simulated series of exposures. Raises InputError."""
    return make_settings(EpochSettings, block, f"config: {SERIES}")


def _calibrated_files(image: QuadrantName) -> ImageFiles:
    """Where rule calibrate_science puts a quadrant."""
    stem = f"results/calibrate_science/{image.exposure}/{image}"
    return ImageFiles(
        str(image),
        sciimg=f"{stem}_sciimg.fits",
        mskimg=f"{stem}_mskimg.fits",
        varimg=f"{stem}_varimg.fits",
    )


def find_images(sheet: ImageSheet, unit: str, catalogue: Mapping[str, Any]) -> list[ImageFiles]:
    """Files of the images of a unit, a table of stars among them if need be.

    Raises InputError when the unit has no image, or an image no table.
    """
    return [_with_catalogue(sheet, files, catalogue) for files in sheet.images(unit)]


def _with_catalogue(
    sheet: ImageSheet, files: ImageFiles, catalogue: Mapping[str, Any]
) -> ImageFiles:
    if files.catalogue or catalogue["kind"] != "table":
        return files
    if not catalogue["path"]:
        raise InputError(
            f"{sheet.path}: no catalogue for '{files.image}'; write a table in its column "
            "'catalogue', or in the config key 'catalogue.path'."
        )
    return files._replace(catalogue=catalogue["path"])


def list_true_units(units: Mapping[str, Sequence[str]], frames: FrameSheet) -> list[str]:
    """Units (names of their images by unit) whose images are all made from the frames."""
    made = {str(image) for image in frames.images()}
    return [unit for unit, images in units.items() if made.issuperset(images)]


def find_raw(frames: FrameSheet, ccd: str) -> str:
    """The raw frame of a CCD of an exposure. Raises InputError when the sheet has none."""
    if ccd not in frames.science:
        raise InputError(f"{frames.path}: no raw frame '{ccd}' in this frame sheet; add it.")
    return frames.science[ccd]


def find_ipac_products(root: str, ccd: str, simulated: Iterable[str]) -> list[str]:
    """IPAC's files for the quadrants of a CCD, there already or to be simulated."""
    day = ccd.split("_")[1]
    folder = Path(root) / "sci" / day[:4] / day[4:8] / day[8:]
    there = {
        str(path)
        for kind in ("sciimg", "header", "mskimg")
        for path in folder.glob(f"{ccd}_q[1-4]_{kind}.fits*")
    }
    stem = str(folder / f"{ccd}_q")
    return sorted(there | {path for path in simulated if path.startswith(stem)})
