"""Images with masks, variances and catalogues: select_stars and cut_stamps on a unit of two.

The first image is the one in question; whatever its files hold, the second must come out as ever.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.wcs import WCS
from cut_stamps import cut_stamps
from quadrants import GAIN, READ_NOISE_ELECTRON, Scene, make_scene, write_scene
from select_stars import select_stars
from ztfpsf.io import read_json, read_table
from ztfpsf.stamps import Stamps, read_stamps

from fuzz.cases import Answer, Target
from fuzz.mutations import cards, planes, raw_bytes, tables
from fuzz.targets.settings import SMALL

SHAPE = (150, 190)
CCD = "ztf_20200924431759_000655_zr_c13_o"
IMAGE, OTHER = f"{CCD}_q1", f"{CCD}_q2"
SCIENCE, MASK, VARIANCE = (f"{IMAGE}_{kind}.fits" for kind in ("sciimg", "mskimg", "varimg"))
PACKED = f"{IMAGE}_sciimg.fits.fz"
CATALOGUE = "stars"
STARS, COUNTS, STAMPS = "stars_found.parquet", "counts.json", "stamps.fits"
NEEDED = ("GAIN", "READNOI", "SATURATE", "MAGZP", "CRVAL1", "CRPIX2", "CD1_1")
# What is taken over from IPAC's header.
IPAC_CARDS = {
    "STATUS": 1,
    "INFOBITS": 0,
    "FIXAPERS": "2.0,3.0,4.0,6.0,10.0,14.0",
    **{f"APCOR{n}": -0.1 * n for n in range(1, 7)},
    **{f"APCORUN{n}": 0.01 for n in range(1, 7)},
}
UNUSED = ("SEEING", "EXPTIME", "INFOBITS", "FIXAPERS", "APCOR3", "APCORUN6")


def make_files(folder: Path) -> None:
    scenes = {name: make_scene(seed, SHAPE, 30) for seed, name in enumerate((IMAGE, OTHER))}
    for name, scene in scenes.items():
        scene.header.update(IPAC_CARDS)
        write_scene(scene, folder, name)
    scene = scenes[IMAGE]
    variance = np.maximum(scene.data, 150.0) / GAIN + (READ_NOISE_ELECTRON / GAIN) ** 2
    fits.writeto(folder / VARIANCE, variance.astype(np.float32))
    packed = fits.CompImageHDU(
        scene.data, scene.header, compression_type="RICE_1", quantize_level=4
    )
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(folder / PACKED)
    table = make_catalogue(scene)
    for kind, write in tables.WRITERS.items():
        (folder / f"{CATALOGUE}.{kind}").write_bytes(write(table))


def make_catalogue(scene: Scene) -> pd.DataFrame:
    ra, dec = WCS(scene.header).all_pix2world(scene.x, scene.y, 0)
    return pd.DataFrame(
        {"ra": ra, "dec": dec, "mag": scene.mag, "pmra": 1.5, "pmdec": -2.0, "epoch": 2016.0}
    )


class Inputs(NamedTuple):
    """Files of the image in question; "" where there is none."""

    sciimg: str = SCIENCE
    mskimg: str = ""
    varimg: str = ""
    catalogue: str = ""


PLAIN = Inputs()


def select(inputs: Inputs = PLAIN, config: Mapping[str, Any] = SMALL) -> None:
    select_stars(
        images=[IMAGE, OTHER],
        paths_to_sciimg=[inputs.sciimg, f"{OTHER}_sciimg.fits"],
        paths_to_mskimg=[inputs.mskimg, f"{OTHER}_mskimg.fits"],
        paths_to_catalogue=[inputs.catalogue, ""],
        path_to_stars=STARS,
        path_to_counts=COUNTS,
        catalogue=config["catalogue"],
        settings=config["select_stars"],
        size_px=config["cut_stamps"]["size_px"],
        max_failed_fraction=1.0,
    )


def cut(inputs: Inputs = PLAIN, config: Mapping[str, Any] = SMALL) -> None:
    settings = config["select_stars"]
    cut_stamps(
        images=[IMAGE, OTHER],
        paths_to_sciimg=[inputs.sciimg, f"{OTHER}_sciimg.fits"],
        paths_to_mskimg=[inputs.mskimg, f"{OTHER}_mskimg.fits"],
        paths_to_varimg=[inputs.varimg, ""],
        path_to_stars=STARS,
        path_to_counts=COUNTS,
        path_to_stamps=STAMPS,
        size_px=config["cut_stamps"]["size_px"],
        bad_mask_bits=settings["bad_mask_bits"],
        saturation_fraction=settings["saturation_fraction"],
        subtracted_sky=settings["subtracted_sky"],
        max_failed_fraction=1.0,
    )


def run(inputs: Inputs, folder: Path) -> Answer:
    """Both rules, in `folder`, and what their products say of the two images."""
    select(inputs)
    cut(inputs)
    stars, stamps = read_table(STARS, "select_stars"), read_stamps(STAMPS)
    read_json(COUNTS, "select_stars")
    check(stars, stamps)
    statuses = stamps.images.set_index("image")["status"]
    value, others = (describe(image, stars, stamps) for image in (IMAGE, OTHER))
    refusal = "" if statuses[IMAGE] == "ok" else statuses[IMAGE]
    return Answer(value, refusal, others)


def check(stars: pd.DataFrame, stamps: Stamps) -> None:
    """What holds for every product, whatever was read."""
    assert stars["ra_deg"].between(0, 360).all()
    assert stars["dec_deg"].between(-90, 90).all()
    assert np.isfinite(stars[["x_px", "y_px", "mag"]].to_numpy()[stars["reason"] == ""]).all()
    assert np.isfinite(stamps.data).all()
    assert (np.isfinite(stamps.variance) & (stamps.variance > 0)).all()
    good = stamps.images[stamps.images["status"] == "ok"]
    assert (good["gain"].between(0, 1e6) & good["read_noise_electron"].between(0, 1e4)).all()


def describe(image: str, stars: pd.DataFrame, stamps: Stamps) -> str:
    """Table and pixels of an image as a text."""
    mine = (stamps.stars["image"] == image).to_numpy()
    pixels = b"".join(cube[mine].tobytes() for cube in stamps[2:])
    found = stars[stars["image"] == image]
    digest = hashlib.sha256(found.to_csv(index=False).encode() + pixels).hexdigest()[:12]
    return f"{len(found)} stars, {mine.sum()} stamps, {digest}"


HEADER = (*cards.DAMAGES, cards.replace_value(NEEDED, UNUSED), cards.add_comments)
IMAGE_DAMAGES = (*raw_bytes.DAMAGES, raw_bytes.pack, *HEADER, *planes.DAMAGES)
# All that a mask or a variance plane gives is its pixels.
PLANE_DAMAGES = (*raw_bytes.DAMAGES, raw_bytes.pack, *cards.DAMAGES, *planes.DAMAGES)

TARGETS = [
    Target("image", make_files, SCIENCE, IMAGE_DAMAGES, partial(run, PLAIN), [IMAGE]),
    Target(
        "packed_image",
        make_files,
        PACKED,
        (*raw_bytes.DAMAGES, raw_bytes.pack, *HEADER),
        partial(run, Inputs(PACKED)),
        [IMAGE],
    ),
    Target("mask", make_files, MASK, PLANE_DAMAGES, partial(run, Inputs(mskimg=MASK)), [IMAGE]),
    Target(
        "variance",
        make_files,
        VARIANCE,
        PLANE_DAMAGES,
        partial(run, Inputs(varimg=VARIANCE)),
        [IMAGE],
    ),
    *(
        Target(
            f"catalogue_{kind}",
            make_files,
            f"{CATALOGUE}.{kind}",
            (*raw_bytes.DAMAGES, raw_bytes.pack, *damages, *damages),
            partial(run, Inputs(catalogue=f"{CATALOGUE}.{kind}")),
            [CATALOGUE, IMAGE],
        )
        for kind, damages in tables.DAMAGES.items()
    ),
]
