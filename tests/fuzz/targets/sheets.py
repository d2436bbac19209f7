"""Sheets of images, of raw frames and of targets, as the workflow reads them at its start."""

from pathlib import Path

from ztfpsf.errors import InputError
from ztfpsf.frame_sheet import read_frames
from ztfpsf.listing import ImageFiles
from ztfpsf.sheet import read_sheet
from ztfpsf.sheet_parquet import write_parquet_sheet
from ztfpsf.target_sheet import COLUMNS, read_targets

from fuzz.cases import Answer, Target
from fuzz.mutations import raw_bytes, texts

EXPOSURE = "ztf_20200924431759_000655_zr"
NAMES = [f"{EXPOSURE}_c{ccdid:02d}_o_q{qid}" for ccdid in (13, 14) for qid in (1, 2, 3, 4)]
ROWS = [ImageFiles(name, f"{name}_sciimg.fits", f"{name}_mskimg.fits") for name in NAMES]
FRAMES = [
    *(f"ztf_20200924{80000 + k:06d}_000000_bi_c13_b.fits.fz" for k in range(6)),
    *(f"ztf_20200924{120000 + k:06d}_000000_zr_c13_f.fits.fz" for k in range(4)),
    f"{EXPOSURE}_c15_o.fits.fz",
]
PLACES = [
    "SN2020abc,57.9974,35.7463,59110,59250,zg zr,0.1",
    "AT2020xy,10.5,-20.25,59000,59100,,",
]


def make_files(folder: Path) -> None:
    lines = ["image,sciimg,mskimg,catalogue,varimg", *map(",".join, ROWS)]
    (folder / "images.csv").write_text("\n".join(lines) + "\n", "utf-8")
    write_parquet_sheet(ROWS, folder / "images.parquet")
    lines = ["path,remark", *(f"{frame},good" for frame in FRAMES)]
    (folder / "frames.csv").write_text("\n".join(lines) + "\n", "utf-8")
    lines = [",".join(COLUMNS), *PLACES]
    (folder / "targets.csv").write_text("\n".join(lines) + "\n", "utf-8")


def read_images(name: str) -> Answer:
    sheet = read_sheet(name)
    units = sheet.units("exposure", 64)
    return Answer(repr([sheet.images(unit) for unit in units]))


def read_images_csv(folder: Path) -> Answer:
    return read_images("images.csv")


def read_images_parquet(folder: Path) -> Answer:
    return read_images("images.parquet")


def read_frames_csv(folder: Path) -> Answer:
    sheet = read_frames("frames.csv", "")
    sheet.ccds("20200924", "zr")
    kinds = sorted((key, sorted(paths)) for key, paths in sheet.calibration.items())
    return Answer(repr([kinds, sorted(map(str, sheet.images()))]))


def read_targets_csv(folder: Path) -> Answer:
    sheet = read_targets("targets.csv")
    for fault in sheet.faults.values():
        raise InputError(fault)
    return Answer(repr(sheet.targets))


TARGETS = [
    Target(
        "target_sheet",
        make_files,
        "targets.csv",
        (*texts.DAMAGES, *texts.DAMAGES, *raw_bytes.DAMAGES),
        read_targets_csv,
        ["targets.csv"],
    ),
    Target(
        "image_sheet",
        make_files,
        "images.csv",
        (*texts.DAMAGES, *texts.DAMAGES, *raw_bytes.DAMAGES),
        read_images_csv,
        ["images.csv"],
    ),
    Target(
        "image_sheet_parquet",
        make_files,
        "images.parquet",
        raw_bytes.DAMAGES,
        read_images_parquet,
        ["images.parquet"],
    ),
    Target(
        "frame_sheet",
        make_files,
        "frames.csv",
        (*texts.DAMAGES, *texts.DAMAGES, *raw_bytes.DAMAGES),
        read_frames_csv,
        ["frames.csv"],
    ),
]
