"""A catalogue of the sources seen on the image itself (sep), with the header's zero point."""

import numpy as np
import pandas as pd
import sep
from astropy.wcs import WCS

from ztfpsf.cards import require_keyword
from ztfpsf.errors import InputError
from ztfpsf.stars.images import ScienceImage, Sky
from ztfpsf.stars.measurement import find_centroids, find_typical_radius, measure
from ztfpsf.stars.sky import make_star_names, to_sky

# Detection on the image smoothed to about the seeing; three pixels keep hot pixels out.
KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=np.float32)
MIN_PIXELS = 3
# Parts with this fraction of an object's flux are sources of their own: a fifth of sep's default,
# so that faint neighbours of bright stars get masked. On real images it makes no pieces of stars.
DEBLENDING_CONTRAST = 0.001
# sep's limits of pixels above the threshold and of parts of one object; 50 MB.
MAX_PIXELS = 1_000_000
MAX_PARTS = 10_000
ZERO_POINTS = ("MAGZP", "IPACZP")


def detect_sources(
    image: ScienceImage, sky: Sky, wcs: WCS, detection_threshold: float
) -> pd.DataFrame:
    """Sources above `detection_threshold` times the sky noise.

    Returns star_id, ra_deg, dec_deg, mag, x_px, y_px.
    Magnitudes are those of point sources: the flux within 4 half-light radii, corrected to the
    flux within twice this aperture by the median of the bright sources, and MAGZP; an image
    calibrated here has IPACZP, that of IPAC's image, good enough to select stars. Raises
    InputError where both are missing or nothing is found.
    """
    key = next((key for key in ZERO_POINTS if key in image.header), None)
    if key is None:
        raise InputError(
            f"{image.path}: header keyword MAGZP is missing, so detected stars have no "
            "magnitude; add it, or give a catalogue."
        )
    zero_point = require_keyword(image.header, key, image.path)
    x, y = _find_peaks(image, sky, detection_threshold)
    unsaturated = ~_at(image.saturated, x, y)
    radius = find_typical_radius(image, sky, x[unsaturated], y[unsaturated])
    x, y, _ = find_centroids(image, sky, x, y, radius)
    small = measure(image, sky, x, y, radius)
    bright = unsaturated & (small.snr > 100)
    large, _, _ = sep.sum_circle(sky.subtracted, x, y, 8 * radius, mask=image.bad)
    correction = np.median(large[bright] / small.flux_adu[bright]) if bright.any() else 1.0
    seen = small.flux_adu > 0
    ra, dec = to_sky(wcs, x[seen], y[seen])
    mag = zero_point - 2.5 * np.log10(small.flux_adu[seen] * correction)
    return pd.DataFrame(
        {
            "star_id": make_star_names(ra, dec),
            "ra_deg": ra,
            "dec_deg": dec,
            "mag": mag,
            "x_px": x[seen],
            "y_px": y[seen],
        }
    )


def _find_peaks(image: ScienceImage, sky: Sky, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the sources, deblended; InputError where there are none or far too many."""
    sep.set_extract_pixstack(MAX_PIXELS)
    sep.set_sub_object_limit(MAX_PARTS)
    try:
        found = sep.extract(
            sky.subtracted,
            threshold,
            err=sky.rms_adu,
            mask=image.bad,
            minarea=MIN_PIXELS,
            filter_kernel=KERNEL,
            deblend_cont=DEBLENDING_CONTRAST,
        )
    except Exception as error:  # sep raises nothing more specific
        if "limit of" not in str(error):
            raise
        raise InputError(
            f"{image.path}: too crowded or too disturbed for detection ({error}); "
            "raise select_stars: detection_threshold, or give a catalogue."
        ) from error
    if len(found) == 0:
        raise InputError(
            f"{image.path}: no source above {threshold:g} times the noise "
            f"({sky.rms_adu:.3g} ADU); lower select_stars: detection_threshold, "
            "or take the image out of the sheet."
        )
    return found["x"], found["y"]


def _at(plane: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    ny, nx = plane.shape
    column = np.floor(x + 0.5).astype(int).clip(0, nx - 1)
    row = np.floor(y + 0.5).astype(int).clip(0, ny - 1)
    return plane[row, column]
