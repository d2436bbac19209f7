"""Where the stars of a catalogue are expected on an image."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from astropy.wcs import WCS

from ztfpsf.stars.sky import to_pixels


class Places(NamedTuple):
    """Positions (n, 2), x and y in px."""

    start_px: np.ndarray  # where the fit begins
    catalogue_px: np.ndarray  # right ascension and declination, by the world coordinates
    shift_px: np.ndarray  # (2,) of the image relative to the catalogue, a first guess


def find_places(stars: pd.DataFrame, wcs: WCS, shape: tuple[int, int]) -> Places:
    """Of the rows of select_stars of an image of `shape` (ny, nx).

    The stars kept for the PSF have centroids, good to begin with, and their median shift tells
    where the others are: a centroid beside a neighbour or in the noise is worth less than that.
    """
    measured = stars[["x_px", "y_px"]].to_numpy(float)
    catalogue = np.stack(
        to_pixels(wcs, stars["ra_deg"].to_numpy(), stars["dec_deg"].to_numpy()), axis=1
    )
    catalogue = np.where(np.isfinite(catalogue), catalogue, measured)
    is_kept = (stars["reason"] == "").to_numpy()
    shift = np.median((measured - catalogue)[is_kept], axis=0) if is_kept.any() else np.zeros(2)
    start = np.where(is_kept[:, None], measured, catalogue + shift)
    ny, nx = shape
    return Places(np.clip(start, -0.5, (nx - 0.5, ny - 0.5)), catalogue, shift)
