"""Products of our own, read back: what was written, or a sentence that names the rule."""

import contextlib
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from fit_products import IMAGES, make_products
from ztfpsf.calibration.binned import Binned, read_binned, write_binned
from ztfpsf.io import make_provenance, read_provenance, read_table
from ztfpsf.psf import load_psf
from ztfpsf.stamps import open_stamps, read_image_table, read_stamps

from fuzz.cases import Answer, Target
from fuzz.mutations import raw_bytes
from fuzz.targets import images

STAMPS, STARS, TABLE, PSF = "stamps.fits", "stars.parquet", "images.parquet", "psf.fits"
BINNED = "binned.fits"


def make_fits(folder: Path) -> None:
    make_products(folder, IMAGES, n=12)
    ccds = pd.DataFrame(
        {"ccdid": [1, 1], "qid": [1, 2], "status": ["ok", "ok"], "median": [1.0, 2.0]}
    )
    write_binned(
        Binned(ccds, np.ones((2, 8, 9), np.float32)), folder / BINNED, make_provenance([], {})
    )


def make_selection(folder: Path) -> None:
    """What select_stars gives to cut_stamps, beside the images."""
    images.make_files(folder)
    with contextlib.chdir(folder):
        images.select()


def cut(folder: Path) -> Answer:
    images.cut()
    return Answer(tell_stamps(folder, images.STAMPS))


def tell_stamps(folder: Path, name: str = STAMPS) -> str:
    stamps = read_stamps(name)
    return _digest(stamps.images, stamps.stars, *stamps[2:])


def tell_images_of_stamps(folder: Path) -> str:
    """As the fit and the report read them."""
    file, table = open_stamps(STAMPS), read_image_table(STAMPS)
    parts = [file.read(image) for image in file.images["image"]]
    return _digest(table, *(cube for part in parts for cube in part[2:]))


def tell_table(folder: Path, name: str) -> str:
    table = read_table(name, "fit_psf", ["image", "status"])
    return _digest(table) + repr(read_provenance(name))


def tell_psfs(folder: Path) -> str:
    psfs = [load_psf(PSF, image) for image in IMAGES]
    numbers = [np.array([psf.degree, psf.nx, psf.ny]) for psf in psfs]
    return _digest(
        *numbers, *(array for psf in psfs for array in (psf.coefficients, psf.covariance))
    )


def tell_binned(folder: Path) -> str:
    return _digest(*read_binned(BINNED))


def _digest(*parts: pd.DataFrame | np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in parts:
        is_table = isinstance(part, pd.DataFrame)
        digest.update(part.to_csv().encode() if is_table else np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:12]


def answer(tell: Callable[[Path], str], folder: Path) -> Answer:
    return Answer(tell(folder))


def product(name: str, file: str, rule: str, tell: Callable[[Path], str]) -> Target:
    """A file of `make_fits`; a sentence names the rule that makes it."""
    return Target(name, make_fits, file, raw_bytes.INTACT, partial(answer, tell), [rule])


TARGETS = [
    Target("selected_stars", make_selection, images.STARS, raw_bytes.INTACT, cut, ["select_stars"]),
    Target("counts", make_selection, images.COUNTS, raw_bytes.INTACT, cut, ["select_stars"]),
    product("stamps", STAMPS, "cut_stamps", tell_stamps),
    product("stamps_by_image", STAMPS, "cut_stamps", tell_images_of_stamps),
    product("fitted_stars", STARS, "fit_psf", partial(tell_table, name=STARS)),
    product("fitted_images", TABLE, "fit_psf", partial(tell_table, name=TABLE)),
    product("psfs", PSF, "fit_psf", tell_psfs),
    product("binned_masters", BINNED, "bin_masters", tell_binned),
]
