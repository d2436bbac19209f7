"""Raw frames, masters and what belongs to them: the rules of the calibration on small frames."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from calibrate_science import calibrate_science
from make_master_bias import make_master_bias
from make_master_flat import make_master_flat
from normalise_flats import normalise_flats
from raw_frames import NIGHT, SHAPE, raw_name, write_raw
from ztfpsf.calibration.pocket import read_pockets
from ztfpsf.fits_files import read_image
from ztfpsf.io import read_json

from fuzz.cases import Answer, Expected, Target
from fuzz.mutations import cards, planes, raw_bytes
from fuzz.targets.settings import SMALL

CCDID = 6
BIAS_ADU, FLAT_ADU, SKY_ADU = 20.0, 9000.0, 300.0
BIASES = [raw_name("b", 80000 + k) for k in range(7)]
FLATS = [raw_name("f", 120000 + k) for k in range(5)]
SCIENCE = raw_name("o", 300000, field=517)
STEM = SCIENCE.removesuffix(".fits.fz")
BIAS, FLAT, FOCAL_PLANE = "bias.fits", "flat.fits", "focal_plane.json"
IPAC = [f"{STEM}_q{qid}_sciimg.fits" for qid in (1, 2, 3, 4)]
IPAC_MASK = f"{STEM}_q1_mskimg.fits"
POCKETS = "pockets.yaml"
PRODUCTS = {
    kind: [f"{STEM}_out_q{qid}_{kind}.fits" for qid in (1, 2, 3, 4)]
    for kind in ("sciimg", "varimg", "mskimg")
}


def make_files(folder: Path) -> None:
    rng = np.random.default_rng(3)
    blank = np.zeros((4, *SHAPE))
    for k, name in enumerate(BIASES):
        write_raw(folder, name, blank + BIAS_ADU, seed=k)
    for k, name in enumerate(FLATS):
        light = rng.poisson(blank + FLAT_ADU * 6) / 6
        write_raw(folder, name, light + BIAS_ADU, seed=100 + k, led=7)
    write_raw(folder, SCIENCE, rng.poisson(blank + SKY_ADU * 6) / 6 + BIAS_ADU, seed=200)
    for path in IPAC:
        fits.writeto(folder / path, np.zeros(SHAPE, np.float32), make_ipac_header())
    fits.writeto(folder / IPAC_MASK, np.zeros(SHAPE, np.int16))
    pars = "{alpha: 0.5, cmax: 10.0, beta: 0.7, nmax: 1000.0}"
    rows = [f"  - {{ccdid: {CCDID}, qid: {qid}, pars: {pars}}}" for qid in (1, 2, 3, 4)]
    (folder / POCKETS).write_text("\n".join(["data:", *rows]) + "\n", "utf-8")
    make_bias(folder)
    make_flat(folder)
    normalise_flats(
        paths_to_flats=[str(folder / FLAT)],
        path_to_focal_plane=str(folder / FOCAL_PLANE),
        ccdids=[CCDID],
        min_ccds=1,
    )


def make_ipac_header() -> fits.Header:
    numbers = {"CRVAL1": 149.0, "CRVAL2": 11.7, "CRPIX1": 64.0, "CRPIX2": 48.0}
    matrix = {"CD1_1": -2.8e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": -2.8e-4}
    kinds = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
    return fits.Header({**kinds, **numbers, **matrix, "SEEING": 2.1, "MAGZP": 26.2})


def make_bias(folder: Path, config: Mapping[str, Any] = SMALL) -> None:
    make_master_bias(
        paths_to_frames=[str(folder / name) for name in BIASES],
        path_to_bias=str(folder / BIAS),
        night=NIGHT,
        ccdid=CCDID,
        detector=config["detector"],
        settings=config["make_master_bias"],
    )


def make_flat(folder: Path, config: Mapping[str, Any] = SMALL) -> None:
    make_master_flat(
        paths_to_frames=[str(folder / name) for name in FLATS],
        path_to_bias=str(folder / BIAS),
        path_to_flat=str(folder / FLAT),
        night=NIGHT,
        filtercode="zr",
        ccdid=CCDID,
        detector=config["detector"],
        settings=config["make_master_flat"],
        missing="",
    )


def run_bias(folder: Path) -> Answer:
    """One of seven frames is in question: the master must be there, and right."""
    make_bias(folder)
    return Answer("", others=tell_level(folder / BIAS, BIAS_ADU, 1.0))


def run_flat(folder: Path) -> Answer:
    """One of five flats."""
    make_flat(folder)
    return Answer("", others=tell_level(folder / FLAT, 1.0, 0.01))


def tell_level(path: Path, expected: float, tolerance: float) -> str:
    """Whether the quadrants of a master are what was drawn."""
    with fits.open(path) as hdus:
        planes = [hdus[f"Q{qid}"] for qid in (1, 2, 3, 4)]
        levels = [float(np.nanmedian(plane.data)) for plane in planes]
        statuses = {plane.header["STATUS"] for plane in planes}
    is_right = np.allclose(levels, expected, rtol=0, atol=tolerance)
    return "right" if is_right and statuses == {"ok"} else f"{levels}, {sorted(statuses)}"


def calibrate(config: Mapping[str, Any] = SMALL) -> None:
    calibrate_science(
        path_to_raw=SCIENCE,
        path_to_bias=BIAS,
        path_to_flat=FLAT,
        path_to_focal_plane=FOCAL_PLANE,
        paths_to_ipac=[*IPAC, IPAC_MASK],
        paths_to_sciimg=PRODUCTS["sciimg"],
        paths_to_varimg=PRODUCTS["varimg"],
        paths_to_mskimg=PRODUCTS["mskimg"],
        path_to_status="status.json",
        detector=config["detector"],
        settings=config["calibrate_science"],
        missing="",
    )


def run_science(folder: Path) -> Answer:
    """All that a science frame is calibrated with."""
    calibrate()
    statuses = {name: row["status"] for name, row in read_json("status.json", "").items()}
    digest = hashlib.sha256()
    for path in (path for paths in PRODUCTS.values() for path in paths):
        pixels, header = read_image(path)
        digest.update(pixels.tobytes() + repr(header.get("CRVAL1")).encode())
    failed = [status for status in statuses.values() if status != "ok"]
    return Answer(digest.hexdigest()[:12], refusal=failed[0] if failed else "")


def run_pockets(folder: Path) -> Answer:
    return Answer(repr(sorted(read_pockets(POCKETS).items())))


RAW = (*raw_bytes.DAMAGES, *cards.DAMAGES, *cards.DAMAGES)
# A master is made, whatever a frame holds.
ONE_OF_MANY = tuple(raw_bytes.expect(Expected.SAME, damage) for damage in RAW)

TARGETS = [
    Target("bias_frame", make_files, BIASES[3], ONE_OF_MANY, run_bias),
    Target("flat_frame", make_files, FLATS[3], ONE_OF_MANY, run_flat),
    Target("science_frame", make_files, SCIENCE, (*RAW, raw_bytes.pack), run_science, [STEM]),
    Target("ipac_header", make_files, IPAC[0], (*RAW, raw_bytes.pack), run_science, [IPAC[0]]),
    Target("ipac_mask", make_files, IPAC_MASK, (*RAW, *planes.DAMAGES), run_science, [IPAC_MASK]),
    # Checksums of the planes are not read.
    Target("master_bias", make_files, BIAS, RAW, run_science, [BIAS]),
    Target("master_flat", make_files, FLAT, RAW, run_science, [FLAT]),
    Target("focal_plane", make_files, FOCAL_PLANE, raw_bytes.INTACT, run_science, [FOCAL_PLANE]),
    Target("pockets", make_files, POCKETS, raw_bytes.DAMAGES, run_pockets, [POCKETS]),
]
