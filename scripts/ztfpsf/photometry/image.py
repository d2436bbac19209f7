"""The photometry of one image: what goes in, the fit, what comes out."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ztfpsf.cards import get_number
from ztfpsf.errors import InputError
from ztfpsf.photometry.fit import PhotometrySettings, fit_stars
from ztfpsf.photometry.planes import ImagePlanes, find_places, make_planes
from ztfpsf.photometry.tables import make_image_row, make_star_table
from ztfpsf.psf import Psf
from ztfpsf.psf.clock import compile_clock
from ztfpsf.stars.images import ScienceImage, Sky
from ztfpsf.stars.sky import read_wcs

# The area within half maximum of ZTF's PSF: more stars than one in so much are one light.
MIN_AREA_PX2 = 4


class ImagePhotometry(NamedTuple):
    """The stars of an image, measured."""

    stars: pd.DataFrame  # see tables.make_star_table
    row: dict[str, Any]  # of the table of images: how it went
    planes: ImagePlanes
    model: np.ndarray  # plane with margin: sky and stars as they are read out, ADU


def measure_image(
    psf: Psf,
    quadrant: ScienceImage,
    sky: Sky,
    variance: np.ndarray | None,
    stars: pd.DataFrame,
    settings: PhotometrySettings,
    threads: int,
) -> ImagePhotometry:
    """Measure the stars of an image, its rows of select_stars, with its PSF.

    `variance`: (ny, nx) ADU^2, the plane of the calibration if there is one. The seconds in the row
    are those of all this, compilation apart. Raises InputError without world coordinates, and for
    more stars than one in MIN_AREA_PX2.
    """
    check_density(len(stars), quadrant)
    with compile_clock() as clock, ThreadPoolExecutor(threads) as pool:
        places = find_places(stars, read_wcs(quadrant.header, quadrant.path), quadrant.data.shape)
        planes = make_planes(quadrant, sky, variance, psf, settings.size_px)
        fitted = fit_stars(psf, planes, places, settings, pool)
        zero_point_mag = get_number(quadrant.header, "MAGZP")
        table = make_star_table(stars, planes, fitted, psf.flux_error, zero_point_mag)
    row = make_image_row(psf.image, table, fitted, zero_point_mag)
    seconds = {"seconds": clock.run_s, "compile_seconds": clock.compile_s}
    return ImagePhotometry(table, row | seconds, planes, fitted.evaluation.model)


def check_density(n_stars: int, quadrant: ScienceImage) -> None:
    """Raise InputError where stars are so many that their fluxes cannot be told apart."""
    ny, nx = quadrant.data.shape
    if n_stars * MIN_AREA_PX2 > nx * ny:
        raise InputError(
            f"{quadrant.path}: {n_stars} catalogue stars on {nx} x {ny} px, more than one in "
            f"{MIN_AREA_PX2} px, cannot be told apart; give a catalogue of the brighter ones."
        )
